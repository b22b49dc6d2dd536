// Names of sensors towards partners: the same for ever, of one partner alone, from a key that
// nobody else reads.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "collector/pseudonym.h"

static char directory[] = "/tmp/hirundo-pseudonym-XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/key", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void write_key(const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

// Computed elsewhere: HMAC-SHA256 with the key 00 01 .. 1f over the three parts, a zero byte
// between them.
static void test_known_value(void **state)
{
    (void)state;
    struct pseudonym_key key;
    struct errmsg e;
    char name[PSEUDONYM_SIZE], other[PSEUDONYM_SIZE];
    for (unsigned i = 0; i < sizeof key.bytes; i++)
        key.bytes[i] = (unsigned char)i;
    assert_int_equal(pseudonym_make(&key, "cert-xx", "tokyo-1", name, &e), 0);
    assert_string_equal(name, "s-49772d595a3e5c8f");
    assert_int_equal(pseudonym_make(&key, "cert-yy", "tokyo-1", other, &e), 0);
    assert_string_not_equal(name, other);
    assert_int_equal(pseudonym_make(&key, "cert-x", "xtokyo-1", other, &e), 0);
    assert_string_not_equal(name, other);
    key.bytes[31] ^= 1;
    assert_int_equal(pseudonym_make(&key, "cert-xx", "tokyo-1", other, &e), 0);
    assert_string_not_equal(name, other);
}

static void test_too_long_a_name(void **state)
{
    (void)state;
    struct pseudonym_key key = {{0}};
    struct errmsg e;
    char name[PSEUDONYM_SIZE], sensor[300];
    memset(sensor, 'a', sizeof sensor - 1);
    sensor[sizeof sensor - 1] = '\0';
    assert_int_equal(pseudonym_make(&key, "cert-xx", sensor, name, &e), -ENAMETOOLONG);
}

static void test_file(void **state)
{
    (void)state;
    struct pseudonym_key made, read;
    struct errmsg e;
    struct stat st;
    unlink(path);
    assert_int_equal(pseudonym_key_read(path, &read, &e), -ENOENT);
    assert_int_equal(pseudonym_key_make(path, &made, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(pseudonym_key_read(path, &read, &e), 0);
    assert_memory_equal(&made, &read, sizeof made);
    assert_int_equal(pseudonym_key_make(path, &made, &e), -EEXIST);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(pseudonym_key_read(path, &read, &e), -EPERM);
    assert_non_null(strstr(e.text, "chmod 600"));
    assert_int_equal(pseudonym_key_make("/nonexistent/key", &made, &e), -ENOENT);
    pseudonym_key_wipe(&made);
    assert_int_equal(made.bytes[0] | made.bytes[31], 0);
}

static void test_damaged_files(void **state)
{
    (void)state;
    struct pseudonym_key key;
    struct errmsg e;
    char hex[80];
    memset(hex, 'a', 64);
    hex[64] = '\0';
    write_key(hex, 0600); // without a newline it is whole
    assert_int_equal(pseudonym_key_read(path, &key, &e), 0);
    static const char *const bad[] = {"", "aa\n", "\n"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        write_key(bad[i], 0600);
        assert_int_equal(pseudonym_key_read(path, &key, &e), -EINVAL);
    }
    memcpy(hex + 64, "\nmore\n", sizeof "\nmore\n");
    write_key(hex, 0600);
    assert_int_equal(pseudonym_key_read(path, &key, &e), -EINVAL);
    hex[7] = 'g';
    hex[64] = '\0';
    write_key(hex, 0600);
    assert_int_equal(pseudonym_key_read(path, &key, &e), -EINVAL);
    assert_null(strstr(e.text, "aaaa"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_value),
        cmocka_unit_test(test_too_long_a_name),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_damaged_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
