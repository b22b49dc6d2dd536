// Configuration files: what is read, and what each kind of mistake says.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/conf.h"

struct example {
    char *key;
    struct conf_list list;
    bool flag;
    int64_t integer, bytes, duration;
};

static const struct conf_key keys[] = {
    {"sensor", "key", CONF_TEXT, offsetof(struct example, key), NULL, true, 0, 0, "key file"},
    {"a", "list", CONF_LIST, offsetof(struct example, list), "x,y", false, 0, 0, "some items"},
    {"a", "flag", CONF_BOOL, offsetof(struct example, flag), "yes", false, 0, 0, "a switch"},
    {"a", "integer", CONF_INTEGER, offsetof(struct example, integer), "128", false, 64, 65535, "n"},
    {"a", "bytes", CONF_BYTES, offsetof(struct example, bytes), "256M", false, 1 << 20, 1LL << 40,
     "cap"},
    {"a", "duration", CONF_DURATION, offsetof(struct example, duration), "60s", false, 1000, 900000,
     "window"},
};

static char path[] = "/tmp/hirundo-conf-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static int read_text(const char *text, struct example *ret, struct errmsg *e)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
    return conf_read(keys, ARRAY_SIZE(keys), path, ret, e);
}

static void test_defaults(void **state)
{
    (void)state;
    struct example c;
    struct errmsg e;
    assert_int_equal(read_text("[sensor]\nkey = /etc/k\n", &c, &e), 0);
    assert_string_equal(c.key, "/etc/k");
    assert_int_equal(c.list.n, 2);
    assert_string_equal(c.list.items[1], "y");
    assert_true(c.flag);
    assert_true(c.integer == 128 && c.bytes == 256LL << 20 && c.duration == 60000);
    conf_free(keys, ARRAY_SIZE(keys), &c);
}

static void test_values(void **state)
{
    (void)state;
    struct example c;
    struct errmsg e;
    assert_int_equal(read_text("; a comment\n[sensor]\nkey = #a=b:c$d\n[a]\nlist = p q\nlist=r\n"
                               "flag=off\nbytes = 2GiB\nduration = 5m\ninteger = 64\n",
                               &c, &e),
                     0);
    assert_string_equal(c.key, "#a=b:c$d");
    assert_int_equal(c.list.n, 3);
    assert_string_equal(c.list.items[2], "r");
    assert_false(c.flag);
    assert_true(c.integer == 64 && c.bytes == 2LL << 30 && c.duration == 300000);
    conf_free(keys, ARRAY_SIZE(keys), &c);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says[3];
    } cases[] = {
        {"[a]\nflag = yes\n", {"[sensor] key is missing"}},
        {"[sensor]\nkey=1\nkye=2\n", {"line 3", "unknown key \"kye\"", "[sensor]"}},
        {"key=1\n[sensor]\n", {"line 1", "\"key\" stands before any [section]"}},
        {"[sensors]\nkey=1\n", {"line 2", "unknown section [sensors]", "there are: sensor a"}},
        {"[sensor]\nkey=1\nkey=2\n", {"line 3", "given twice"}},
        {"[sensor]\nkey=1\n[a]\nduration=5\n", {"line 4", "duration = 5", "from 1s to 15m"}},
        {"[sensor]\nkey=1\n[a]\nduration=16m\n", {"line 4", "from 1s to 15m"}},
        {"[sensor]\nkey=1\n[a]\ninteger=99999999999999999999\n", {"line 4", "from 64 to 65535"}},
        {"[sensor]\nkey=1\n[a]\ninteger=12x\n", {"line 4", "whole number"}},
        {"[sensor]\nkey=1\n[a]\nbytes=99999999999G\n", {"line 4", "from 1MiB to 1024GiB"}},
        {"[sensor]\nkey=1\n[a]\nflag=maybe\n", {"line 4", "yes or no"}},
        {"[sensor]\nkey=1\nwhat is this\n", {"line 3", "neither"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct example c;
        struct errmsg e = {""};
        assert_true(read_text(cases[i].text, &c, &e) < 0);
        assert_non_null(strstr(e.text, path));
        for (size_t k = 0; k < 3 && cases[i].says[k]; k++) {
            if (!strstr(e.text, cases[i].says[k]))
                fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].says[k]);
        }
    }
}

static void test_long_line_and_missing_file(void **state)
{
    (void)state;
    char text[1000] = "[sensor]\nkey = ";
    memset(text + strlen(text), 'x', 900);
    struct example c;
    struct errmsg e = {""};
    text[strlen(text)] = '\n';
    assert_int_equal(read_text(text, &c, &e), -EINVAL);
    assert_non_null(strstr(e.text, "line 2: longer than"));
    assert_int_equal(conf_read(keys, ARRAY_SIZE(keys), "/nonexistent/c", &c, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/c"));
}

// What is dumped reads back as the same configuration.
static void test_dump_reads_back(void **state)
{
    (void)state;
    struct example c, again;
    struct errmsg e = {""};
    assert_int_equal(
        read_text("[sensor]\nkey=k\n[a]\nbytes=1500K\nduration=1500ms\nlist=1 2\n", &c, &e), 0);
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    conf_dump(keys, ARRAY_SIZE(keys), &c, f);
    fclose(f);
    assert_int_equal(read_text(text, &again, &e), 0);
    assert_string_equal(again.key, c.key);
    assert_true(again.bytes == c.bytes && again.bytes == 1500 * 1024);
    assert_true(again.duration == 1500 && again.list.n == 2 && again.flag == c.flag);
    free(text);
    conf_free(keys, ARRAY_SIZE(keys), &c);
    conf_free(keys, ARRAY_SIZE(keys), &again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_values),
        cmocka_unit_test(test_mistakes),        cmocka_unit_test(test_long_line_and_missing_file),
        cmocka_unit_test(test_dump_reads_back),
    };
    return cmocka_run_group_tests_name("conf", tests, set_up, tear_down);
}
