#include "common/printable.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/util.h"

// The length of the character at p and what it is; 0: no UTF-8 (RFC 3629). Reads no further than
// the NUL that ends the text.
static size_t character(const unsigned char *p, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;
    uint32_t code = n == 1 ? *p : *p & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fU);
    }
    if (n == 0 || code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret = code;
    return n;
}

// hirundo.export_clean has the like.
static bool misleads(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x01, 0x1f},       {0x7f, 0x9f},     // C0 and C1
        {0xad, 0xad},       {0x61c, 0x61c},   // soft hyphen; Arabic letter mark
        {0x200b, 0x200f},   {0x2028, 0x202e}, // no width, direction; line and paragraph
        {0x2060, 0x206f},   {0xfeff, 0xfeff}, // isolates and their like; byte order mark
        {0xfff9, 0xfffb},                     // annotations
        {0xe0000, 0xe007f},                   // tags
    };
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

void printable(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        uint32_t code;
        size_t n = character((const unsigned char *)from, &code);
        if (n == 0 || misleads(code))
            *to++ = '?';
        else
            to = (char *)memmove(to, from, n) + n;
        from += n ? n : 1;
    }
    *to = '\0';
}

bool is_printable(const char *text)
{
    uint32_t code;
    for (size_t n; *text; text += n) {
        n = character((const unsigned char *)text, &code);
        if (n == 0 || misleads(code))
            return false;
    }
    return true;
}
