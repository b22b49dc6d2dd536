// A case file's directory: private, whole or not there at all, whatever fails; and what may stand
// in its manifest.
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "collector/case_check.h"
#include "tests/unit/fail_alloc.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-4

static char parent[] = "/tmp/hirundo-case-XXXXXX";
static char out[PATH_MAX];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(parent))
        return -1;
    snprintf(out, sizeof out, "%s/case", parent);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(parent);
}

// How many entries a directory has; -1: there is none.
static int entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(dir);
    return n;
}

static void remove_case(const char *const *names)
{
    char path[PATH_MAX];
    for (; *names; names++) {
        snprintf(path, sizeof path, "%.4000s/%s", out, *names);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(out), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_names(void **state)
{
    (void)state;
    char name[CASE_NAME_MAX + 2];
    static const char *const good[] = {"a", "case.en.html", "A_b-9.x", "a..b"};
    static const char *const bad[] = {"", ".", "..", ".a", "a/b", "/a", "a b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(case_name_is_valid(good[i]));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(case_name_is_valid(bad[i]));
    memset(name, 'x', sizeof name);
    name[CASE_NAME_MAX] = '\0';
    assert_true(case_name_is_valid(name));
    name[CASE_NAME_MAX] = 'x';
    name[CASE_NAME_MAX + 1] = '\0';
    assert_false(case_name_is_valid(name));
}

static int write_case(void *data)
{
    struct case_dir **ret = data;
    struct errmsg e = {""};
    _cleanup_(case_dir_freep) struct case_dir *dir = NULL;
    int r = case_dir_new(out, &dir, &e);
    if (r == 0)
        r = case_dir_begin(dir, "a.csv", &e);
    if (r == 0)
        r = case_dir_put(dir, "a", 1, &e);
    if (r == 0)
        r = case_dir_put(dir, "bc", 2, &e);
    if (r == 0)
        r = case_dir_end(dir, 7, &e);
    if (r == 0)
        r = case_dir_write(dir, "b", "", 0, &e);
    if (r == 0)
        r = case_dir_finish(dir, &e);
    assert_true(r == 0 || e.text[0]);
    if (r == 0) {
        *ret = dir;
        dir = NULL;
    } else {
        assert_int_equal(entries(out), -1);
    }
    return r;
}

static void test_whole_or_nothing(void **state)
{
    (void)state;
    struct case_dir *dir = NULL;
    char path[PATH_MAX + 8];
    size_t n;
    assert_true(fail_alloc_each(write_case, &dir) >= 3); // memory, the directory, its place
    assert_int_equal(entries(parent), 1);
    const struct case_file *files = case_dir_files(dir, &n);
    assert_int_equal(n, 2);
    assert_string_equal(files[0].name, "a.csv");
    assert_string_equal(files[0].sha256, ABC);
    assert_int_equal(files[0].bytes, 3);
    assert_int_equal(files[0].rows, 7);
    assert_int_equal(files[1].bytes, 0);
    assert_int_equal(mode_of(out), 0700);
    snprintf(path, sizeof path, "%s/a.csv", out);
    assert_int_equal(mode_of(path), 0600);
    case_dir_free(dir); // what is in its place stays
    assert_int_equal(entries(out), 2);
    remove_case((const char *const[]){"a.csv", "b", NULL});
}

static void test_unfinished_is_removed(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct case_dir *dir = NULL;
    case_dir_free(NULL);
    assert_int_equal(case_dir_new(out, &dir, &e), 0);
    assert_int_equal(case_dir_write(dir, "a", "x", 1, &e), 0);
    assert_int_equal(case_dir_begin(dir, "../b", &e), -EINVAL);
    assert_int_equal(case_dir_begin(dir, "a", &e), -EEXIST);
    assert_int_equal(case_dir_begin(dir, "b", &e), 0);
    assert_int_equal(case_dir_begin(dir, "c", &e), -EINVAL); // one at a time
    assert_int_equal(case_dir_put(dir, "x", 1, &e), 0);
    assert_int_equal(entries(parent), 1);
    case_dir_free(dir);
    assert_int_equal(entries(parent), 0);
}

static void test_place(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct case_dir *dir = NULL;
    char path[PATH_MAX + 16], longest[PATH_MAX + 16];
    // an empty directory gives way, whatever stands behind its name
    assert_int_equal(mkdir(out, 0755), 0);
    snprintf(path, sizeof path, "%s///", out);
    assert_int_equal(case_dir_new(path, &dir, &e), 0);
    assert_int_equal(case_dir_write(dir, "a", "x", 1, &e), 0);
    assert_int_equal(case_dir_finish(dir, &e), 0);
    case_dir_free(dir);
    assert_int_equal(mode_of(out), 0700);
    assert_int_equal(case_dir_new(out, &dir, &e), -ENOTEMPTY);
    assert_non_null(strstr(e.text, "is not empty"));
    snprintf(path, sizeof path, "%s/a", out);
    assert_int_equal(case_dir_new(path, &dir, &e), -ENOTDIR);
    snprintf(path, sizeof path, "%s/no/case", out);
    assert_int_equal(case_dir_new(path, &dir, &e), -ENOENT);
    remove_case((const char *const[]){"a", NULL});
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(case_dir_new(longest, &dir, &e), -ENAMETOOLONG);
    // somebody else was faster
    assert_int_equal(case_dir_new(out, &dir, &e), 0);
    assert_int_equal(mkdir(out, 0755), 0);
    snprintf(path, sizeof path, "%s/other", out);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(case_dir_finish(dir, &e), -ENOTEMPTY);
    case_dir_free(dir);
    assert_int_equal(entries(parent), 1);
    assert_int_equal(rmdir(path), 0);
    remove_case((const char *const[]){NULL});
}

static void test_no_more_files(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct case_dir *dir = NULL;
    char name[16];
    assert_int_equal(case_dir_new(out, &dir, &e), 0);
    for (int i = 0; i < CASE_FILES_MAX; i++) {
        snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(case_dir_write(dir, name, "x", 1, &e), 0);
    }
    assert_int_equal(case_dir_write(dir, "more", "x", 1, &e), -EINVAL);
    case_dir_free(dir);
    assert_int_equal(entries(parent), 0);
}

#define FILE_OF(name) "{\"name\": \"" name "\", \"bytes\": 3, \"sha256\": \"" ABC "\"}"
#define MANIFEST(files)                                                                            \
    "{\"format\": \"hirundo case 1\", \"organisation\": \"A & B\", \"files\": " files "}"

static void test_manifest(void **state)
{
    (void)state;
    struct case_manifest m;
    struct errmsg e = {""};
    static const char good[] = MANIFEST("[" FILE_OF("a") ", " FILE_OF("b") "]");
    assert_int_equal(case_manifest_parse(good, sizeof good - 1, &m, &e), 0);
    assert_int_equal(m.n, 2);
    assert_string_equal(m.organisation, "A & B");
    assert_string_equal(m.period, "");
    assert_string_equal(m.files[1].name, "b");
    assert_int_equal(m.files[1].bytes, 3);
    assert_string_equal(m.files[1].sha256, ABC);

    static const char *const bad[][2] = {
        {"", "is not JSON"},
        {"{\n\n,", "line 3 is not JSON"},
        {"{} {}", "is not JSON"},
        {"{\"format\": \"hirundo case 1\", \"format\": \"hirundo case 1\"}", "is not JSON"},
        {"[]", "its format is not"},
        {"{\"format\": \"hirundo case 2\"}", "another version made it"},
        {MANIFEST("{}"), "it lists no files"},
        {MANIFEST("[]"), "it lists no files"},
        {MANIFEST("[1]"), "has no name"},
        {MANIFEST("[" FILE_OF("../a") "]"), "has no name, or one that it cannot have"},
        {MANIFEST("[" FILE_OF("manifest.json") "]"), "cannot have"},
        {MANIFEST("[" FILE_OF("manifest.sig") "]"), "cannot have"},
        {MANIFEST("[" FILE_OF("a") ", " FILE_OF("a") "]"), "a is in it twice"},
        {MANIFEST("[{\"name\": \"a\", \"bytes\": -1, \"sha256\": \"" ABC "\"}]"), "a has no size"},
        {MANIFEST("[{\"name\": \"a\", \"bytes\": 1.5, \"sha256\": \"" ABC "\"}]"), "a has no size"},
        {MANIFEST("[{\"name\": \"a\", \"bytes\": 1, \"sha256\": \"ab\"}]"), "a has no SHA-256"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(case_manifest_parse(bad[i][0], strlen(bad[i][0]), &m, &e), -EINVAL);
        assert_non_null(strstr(e.text, bad[i][1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_whole_or_nothing),
        cmocka_unit_test(test_unfinished_is_removed),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_no_more_files),
        cmocka_unit_test(test_manifest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
