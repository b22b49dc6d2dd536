#include "collector/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static bool reserve(struct text *t, size_t more)
{
    if (t->bad)
        return false;
    if (t->size - t->used > more)
        return true;
    size_t size = MAX(t->size * 2, t->used + more + 256);
    char *p = realloc(t->p, size);
    if (!p) {
        t->bad = true;
        return false;
    }
    t->p = p;
    t->size = size;
    return true;
}

void text_add(struct text *t, const char *format, ...)
{
    for (size_t room = 64;;) {
        if (!reserve(t, room))
            return;
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(t->p + t->used, t->size - t->used, format, ap);
        va_end(ap);
        if (n < 0) {
            t->bad = true;
            return;
        }
        if ((size_t)n < t->size - t->used) {
            t->used += (size_t)n;
            return;
        }
        room = (size_t)n + 1;
    }
}

static void open_item(struct text *t)
{
    if (reserve(t, 2))
        t->p[t->used] = t->used == 0 ? '{' : ',', t->used++;
}

void text_array_int(struct text *t, int64_t value)
{
    open_item(t);
    text_add(t, "%" PRId64, value);
}

void text_array_word(struct text *t, const char *value)
{
    if (!value) {
        text_array_null(t);
        return;
    }
    open_item(t);
    text_add(t, "\"%s\"", value);
}

void text_array_null(struct text *t)
{
    open_item(t);
    text_add(t, "NULL");
}

void text_array_end(struct text *t)
{
    text_add(t, t->used == 0 ? "{}" : "}");
}

int text_within(const char *text, int max)
{
    int n = (int)strnlen(text, (size_t)max + 1);
    if (n <= max)
        return n;
    for (n = max; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
        n--;
    return n;
}

void text_clear(struct text *t)
{
    t->used = 0;
    if (t->p)
        t->p[0] = '\0';
}

void text_release(struct text *t)
{
    free(t->p);
    *t = (struct text){0};
}
