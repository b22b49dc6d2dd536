// What others wrote reaches a terminal without what a terminal obeys; all else as it is.
#include <limits.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include <cmocka.h>

#include "common/printable.h"
#include "common/util.h"
#include "tests/unit/rand_batch.h"

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"", ""},
        {"Example Hosting, \xe6\x97\xa5\xe6\x9c\xac 'x' \\ ~",
         "Example Hosting, \xe6\x97\xa5\xe6\x9c\xac 'x' \\ ~"},
        {"a\x1b[2Jb\r\nc\x7f", "a?[2Jb??c?"},
        {"\xc2\x9b"
         "2J",
         "?2J"}, // CSI as one character
        {"gpj.\xe2\x80\xae"
         "exe",
         "gpj.?exe"},                                              // U+202E
        {"\xe2\x81\xa6x\xe2\x80\xa8y\xef\xbb\xbf", "?x?y?"},       // U+2066, U+2028, U+FEFF
        {"\xf3\xa0\x81\x81\xf0\x9f\x90\xa6", "?\xf0\x9f\x90\xa6"}, // a tag; a bird
        {"\x9b\xff\xc0\x80", "????"},                              // alone, never, overlong
        {"\xe6\x97", "??"},                                        // cut short
        {"\xed\xa0\x80", "???"},                                   // a surrogate
        {"\xf4\x90\x80\x80", "????"},                              // beyond Unicode
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i].text);
        assert_int_equal(is_printable(text), strcmp(cases[i].text, cases[i].shown) == 0);
        printable(text);
        assert_string_equal(text, cases[i].shown);
        assert_true(is_printable(text));
    }
}

// Every character, against what the C library takes for UTF-8 and for a control character.
static void test_every_character(void **state)
{
    (void)state;
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!utf8)
        skip();
    locale_t before = uselocale(utf8);
    size_t kept = 0;
    for (uint32_t code = 1; code <= 0x10ffff; code++) {
        char text[MB_LEN_MAX + 1] = "", shown[MB_LEN_MAX + 1];
        mbstate_t mb = {0};
        if (wcrtomb(text, (wchar_t)code, &mb) == (size_t)-1)
            continue;
        memcpy(shown, text, sizeof shown);
        printable(shown);
        bool same = strcmp(text, shown) == 0;
        assert_true(same || strcmp(shown, "?") == 0);
        if (iswcntrl((wint_t)code))
            assert_false(same);
        kept += same;
    }
    assert_true(kept > 1111000);
    uselocale(before);
    freelocale(utf8);
}

// Any bytes: never longer, and what is shown is UTF-8 by the C library's judgement, too.
static void test_any_bytes(void **state)
{
    (void)state;
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!utf8)
        skip();
    locale_t before = uselocale(utf8);
    struct rand_source source = {20231126};
    for (size_t i = 0; i < 200000; i++) {
        char text[16];
        size_t n = rand_below(&source, sizeof text);
        for (size_t k = 0; k < n; k++)
            text[k] = (char)(1 + rand_below(&source, 255));
        text[n] = '\0';
        printable(text);
        assert_true(strlen(text) <= n);
        assert_true(mbstowcs(NULL, text, 0) != (size_t)-1);
    }
    uselocale(before);
    freelocale(utf8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
