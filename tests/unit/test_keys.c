// CURVE keys and the files that hold them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/keys.h"

static char directory[] = "/tmp/hirundo-keys-XXXXXX";
static char path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/key", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(directory);
}

static void write_text(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct key_pair pair, back;
    struct errmsg e = {""};
    struct stat st;
    assert_int_equal(key_pair_generate(&pair), 0);
    assert_int_equal(key_file_write(path, &pair, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(key_file_write(path, &pair, &e), -EEXIST);
    assert_int_equal(key_file_read(path, &back, &e), 0);
    assert_memory_equal(&pair, &back, sizeof pair);
    key_pair_wipe(&back);
    assert_memory_not_equal(&pair, &back, sizeof pair);
    unlink(path);
}

static void test_text_forms(void **state)
{
    (void)state;
    struct key_pair pair;
    uint8_t back[KEY_SIZE];
    char z85[KEY_Z85_SIZE], hex[2 * KEY_SIZE + 1];
    assert_int_equal(key_pair_generate(&pair), 0);
    key_format(pair.public_key, z85);
    assert_int_equal(strlen(z85), 40);
    assert_int_equal(key_parse(z85, back), 0);
    assert_memory_equal(back, pair.public_key, KEY_SIZE);
    for (int i = 0; i < KEY_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", pair.public_key[i]);
    assert_int_equal(key_parse(hex, back), 0);
    assert_memory_equal(back, pair.public_key, KEY_SIZE);
    hex[5] = 'g';
    assert_int_equal(key_parse(hex, back), -EINVAL);
    z85[3] = '"'; // not of the alphabet
    assert_int_equal(key_parse(z85, back), -EINVAL);
    assert_int_equal(key_parse("", back), -EINVAL);
    assert_int_equal(key_parse("short", back), -EINVAL);
}

static void test_refused_files(void **state)
{
    (void)state;
    struct key_pair pair, other;
    struct errmsg e = {""};
    char text[200], public_text[KEY_Z85_SIZE], secret_text[KEY_Z85_SIZE];
    assert_int_equal(key_pair_generate(&pair), 0);
    assert_int_equal(key_pair_generate(&other), 0);
    key_format(other.public_key, public_text);
    key_format(pair.secret_key, secret_text);
    assert_int_equal(key_file_read(path, &pair, &e), -ENOENT);
    assert_non_null(strstr(e.text, "keygen"));
    snprintf(text, sizeof text, "public = %s\nsecret = %s\n", public_text, secret_text);
    write_text(text, 0640);
    assert_int_equal(key_file_read(path, &pair, &e), -EPERM);
    assert_non_null(strstr(e.text, "chmod 600"));
    chmod(path, 0600);
    assert_int_equal(key_file_read(path, &pair, &e), -EINVAL);
    assert_non_null(strstr(e.text, "do not belong together"));
    write_text("public = x\n", 0600);
    assert_int_equal(key_file_read(path, &pair, &e), -EINVAL);
    assert_non_null(strstr(e.text, "line 1"));
    write_text("# nothing\n", 0600);
    assert_int_equal(key_file_read(path, &pair, &e), -EINVAL);
    unlink(path);
    assert_int_equal(key_file_read(directory, &pair, &e), -EINVAL);
    assert_null(strstr(e.text, secret_text));
}

// As systemd leaves credentials: mode 0400, or 0440 where an access list lets one reader in.
static void test_credentials(void **state)
{
    (void)state;
    struct key_pair pair, read;
    struct errmsg e = {""};
    char place[96], small[12];
    assert_int_equal(key_pair_generate(&pair), 0);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", directory, 1), 0);
    assert_int_equal(key_file_place("/elsewhere/key", place, sizeof place), 0);
    assert_string_equal(place, "/elsewhere/key"); // no such credential
    assert_int_equal(key_file_write(path, &pair, &e), 0);
    assert_int_equal(key_file_place("/elsewhere/key", place, sizeof place), 0);
    assert_string_equal(place, path);
    assert_int_equal(key_file_place("/elsewhere/key", small, sizeof small), -ENAMETOOLONG);
    assert_int_equal(chmod(path, 0440), 0);
    assert_int_equal(key_file_read(place, &read, &e), 0);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(key_file_read(place, &read, &e), -EPERM);
    assert_int_equal(chmod(path, 0440), 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(key_file_place("/elsewhere/key", place, sizeof place), 0);
    assert_string_equal(place, "/elsewhere/key");
    assert_int_equal(key_file_read(path, &read, &e), -EPERM); // anywhere else it is open to a group
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_text_forms),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_credentials),
    };
    return cmocka_run_group_tests_name("keys", tests, set_up, tear_down);
}
