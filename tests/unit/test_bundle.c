// Bundles and requests: what is written reads back, what was changed does not.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/bundle.h"

static uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];

static int set_up(void **state)
{
    (void)state;
    return sodium_init() < 0 ? -1 : crypto_sign_keypair(public_key, secret_key);
}

static struct bundle make(void)
{
    struct bundle b = {
        .name = strdup("au-syd-1"),
        .country = strdup("AU"),
        .issued_s = 1675836000,
        .expires_s = 1676440800,
        .max_kbit = 512,
        .window_ms = 30000,
        .spool_cap = 64 << 20,
    };
    memcpy(b.operator_key, public_key, KEY_SIZE);
    memset(b.server_key, 9, KEY_SIZE);
    assert_int_equal(conf_list_add(&b.endpoints, "tcp://192.0.2.1:4455 tcp://[2001:db8::1]:4455"),
                     0);
    assert_int_equal(conf_list_add(&b.exclude, "192.0.2.9:tcp/22"), 0);
    return b;
}

// The file's text, malloc'ed.
static char *write_signed(const struct bundle *b)
{
    char *text = NULL;
    uint8_t signature[BUNDLE_SIGNATURE];
    assert_int_equal(bundle_format(b, &text), 0);
    size_t size = strlen(text);
    crypto_sign_detached(signature, NULL, (const uint8_t *)text, size, secret_key);
    char *longer = realloc(text, size + 256);
    assert_non_null(longer);
    assert_true(bundle_format_signature(signature, longer + size, 256) > 0);
    return longer;
}

static int parse(char *text, struct bundle *ret, struct errmsg *e)
{
    return bundle_parse("test", text, strlen(text), ret, e);
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct bundle b = make(), back;
    struct errmsg e = {""};
    b.has_next = b.has_key = true;
    assert_int_equal(conf_list_add(&b.next_endpoints, "tcp://192.0.2.1:4456"), 0);
    memset(b.next_server_key, 8, KEY_SIZE);
    assert_int_equal(key_pair_generate(&b.key), 0);
    char *text = write_signed(&b);
    assert_int_equal(parse(text, &back, &e), 0);
    assert_string_equal(back.name, "au-syd-1");
    assert_string_equal(back.country, "AU");
    assert_int_equal(back.issued_s, b.issued_s);
    assert_int_equal(back.expires_s, b.expires_s);
    assert_int_equal(back.endpoints.n, 2);
    assert_string_equal(back.endpoints.items[1], "tcp://[2001:db8::1]:4455");
    assert_memory_equal(back.server_key, b.server_key, KEY_SIZE);
    assert_true(back.has_next);
    assert_memory_equal(back.next_server_key, b.next_server_key, KEY_SIZE);
    assert_int_equal(back.max_kbit, 512);
    assert_int_equal(back.window_ms, 30000);
    assert_int_equal(back.spool_cap, 64 << 20);
    assert_string_equal(back.exclude.items[0], "192.0.2.9:tcp/22");
    assert_memory_equal(&back.key, &b.key, sizeof b.key);
    free(text);
    bundle_free(&back);
    bundle_free(&b);
}

// Every byte of it, every length of it.
static void refuses_what_was_changed(void **state)
{
    (void)state;
    struct bundle b = make(), back;
    char *text = write_signed(&b);
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        struct errmsg e = {""};
        text[i] ^= 1;
        assert_true(parse(text, &back, &e) < 0);
        assert_true(e.text[0]);
        text[i] ^= 1;
    }
    for (size_t n = 0; n < size; n++) {
        char *cut = strndup(text, n);
        assert_non_null(cut);
        assert_true(parse(cut, &back, NULL) < 0);
        free(cut);
    }
    assert_int_equal(parse(text, &back, NULL), 0);
    bundle_free(&back);
    char *longer = NULL;
    assert_true(asprintf(&longer, "%s\n", text) > 0);
    assert_true(parse(longer, &back, NULL) < 0);
    free(longer);
    free(text);
    bundle_free(&b);
}

static void names(void **state)
{
    (void)state;
    char longest[SENSOR_NAME_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[SENSOR_NAME_MAX + 1] = '\0';
    assert_false(sensor_name_is_valid(longest));
    longest[SENSOR_NAME_MAX] = '\0';
    assert_true(sensor_name_is_valid(longest));
    static const char *const bad[] = {"", "-a", "A", "a b", "a:b", "a\nb", "\xe6\x9d\xb1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(sensor_name_is_valid(bad[i]));
    assert_true(sensor_name_is_valid("0"));
}

static void fingerprints(void **state)
{
    (void)state;
    char text[BUNDLE_FINGERPRINT];
    bundle_fingerprint(public_key, text);
    assert_int_equal(strlen(text), BUNDLE_FINGERPRINT - 1);
    assert_true(bundle_fingerprint_is(public_key, text));
    char spaced[2 * BUNDLE_FINGERPRINT] = "";
    for (size_t i = 0, n = 0; text[i]; i++)
        if (text[i] != '-')
            n += (size_t)sprintf(spaced + n, "%c%s",
                                 i % 2 ? text[i] : text[i] - (text[i] > '9' ? 32 : 0),
                                 i % 7 ? "" : " :");
    assert_true(bundle_fingerprint_is(public_key, spaced));
    assert_false(bundle_fingerprint_is(public_key, ""));
    text[BUNDLE_FINGERPRINT - 2] = text[BUNDLE_FINGERPRINT - 2] == '0' ? '1' : '0';
    assert_false(bundle_fingerprint_is(public_key, text));
    text[BUNDLE_FINGERPRINT - 2] = '\0';
    assert_false(bundle_fingerprint_is(public_key, text));
    bundle_fingerprint(public_key, text);
    char longer[BUNDLE_FINGERPRINT + 1];
    snprintf(longer, sizeof longer, "%s0", text);
    assert_false(bundle_fingerprint_is(public_key, longer));
}

static void requests(void **state)
{
    (void)state;
    char text[REQUEST_SIZE], name[SENSOR_NAME_MAX + 1];
    uint8_t key[KEY_SIZE];
    request_format("au-syd-1", public_key, text);
    assert_int_equal(request_parse(text, name, key, NULL), 0);
    assert_string_equal(name, "au-syd-1");
    assert_memory_equal(key, public_key, KEY_SIZE);
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        text[i] ^= 1;
        assert_true(request_parse(text, name, key, NULL) < 0);
        text[i] ^= 1;
    }
    for (size_t n = 0; n < size; n++) {
        char cut[REQUEST_SIZE];
        snprintf(cut, sizeof cut, "%.*s", (int)n, text);
        assert_true(request_parse(cut, name, key, NULL) < 0);
    }
    char longest[SENSOR_NAME_MAX + 1];
    memset(longest, 'a', SENSOR_NAME_MAX);
    longest[SENSOR_NAME_MAX] = '\0';
    request_format(longest, public_key, text);
    assert_int_equal(request_parse(text, name, key, NULL), 0);
    assert_string_equal(name, longest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(refuses_what_was_changed),
        cmocka_unit_test(names),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests_name("bundle", tests, set_up, NULL);
}
