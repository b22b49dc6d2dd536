// A report's files: all of them or none, whatever fails and wherever it is killed; what else lies
// in the directory stays; what a killed run left is gone after the next.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "collector/report_page.h"
#include "collector/report_site.h"
#include "tests/unit/fail_alloc.h"

// In place of the program's own, which may not be bundled.
const char *const report_page[3] = {
    "<!doctype html><meta name=\"generator\" content=\"hirundo-collector report\"><html lang=\"",
    "\">", "</html>"};

#define FIGURES 3

static char parent[] = "/tmp/hirundo-site-XXXXXX";
static char out[PATH_MAX];

// ---- calls on files, each of which may fail, or be the last thing the process does

static unsigned kill_at; // the how manieth; 0: none

static bool now(void)
{
    if (kill_at > 0 && --kill_at == 0)
        raise(SIGKILL);
    return fail_alloc_now();
}

int __real_openat64(int dir, const char *name, int flags, mode_t mode);
int __wrap_openat64(int dir, const char *name, int flags, mode_t mode);
int __wrap_openat64(int dir, const char *name, int flags, mode_t mode)
{
    return now() ? -1 : __real_openat64(dir, name, flags, mode);
}

int __real_renameat(int from, const char *name, int to, const char *other);
int __wrap_renameat(int from, const char *name, int to, const char *other);
int __wrap_renameat(int from, const char *name, int to, const char *other)
{
    return now() ? -1 : __real_renameat(from, name, to, other);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return now() ? -1 : __real_fsync(fd);
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
    return now() ? -1 : __real_fchmod(fd, mode);
}

static bool overtaken; // by another report, which makes the directory first

char *__real_mkdtemp(char *path);
char *__wrap_mkdtemp(char *path);
char *__wrap_mkdtemp(char *path)
{
    if (now())
        return NULL;
    if (overtaken) {
        char file[PATH_MAX];
        overtaken = false;
        snprintf(file, sizeof file, "%.3000s/mine", out);
        assert_int_equal(mkdir(out, 0750), 0);
        FILE *f = fopen(file, "we");
        assert_non_null(f);
        assert_int_equal(fclose(f), 0);
    }
    return __real_mkdtemp(path);
}

// Only killed: what cleans up is not asked whether it could.
int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags)
{
    if (kill_at > 0 && --kill_at == 0)
        raise(SIGKILL);
    return __real_unlinkat(dir, name, flags);
}

// ---- a report, as the database makes it

static PGresult *row(const char *json, const char *csv)
{
    char names[3][8] = {"f", "csv", "rows"};
    PGresAttDesc columns[3] = {{.name = names[0]}, {.name = names[1]}, {.name = names[2]}};
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_non_null(result);
    assert_true(PQsetResultAttrs(result, 3, columns));
    const char *const values[3] = {json, csv, "1"};
    for (int i = 0; i < 3; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "%s", values[i]);
        assert_true(PQsetvalue(result, 0, i, text, n));
    }
    return result;
}

// Every file of it says `word`.
static struct report_site report_of(const char *word, bool internal, size_t figures)
{
    char json[64], csv[64];
    struct report_site site = {.out = out, .lang = "en", .internal = internal, .n = figures};
    fail_alloc_exempt(true);
    site.figures = calloc(figures, sizeof *site.figures);
    assert_non_null(site.figures);
    snprintf(json, sizeof json, "{\"word\": \"%s\"}", word);
    snprintf(csv, sizeof csv, "word\r\n%s\r\n", word);
    site.head = row(json, "");
    for (size_t i = 0; i < figures; i++) {
        snprintf(site.figures[i].id, sizeof site.figures[i].id, "figure-%zu", i);
        site.figures[i].made = row(json, csv);
    }
    fail_alloc_exempt(false);
    return site;
}

static int write_report(const char *word, bool internal, struct errmsg *e)
{
    struct report_site site = report_of(word, internal, FIGURES);
    int r = report_site_write(&site, e);
    report_site_release(&site);
    return r;
}

// ---- what is there

static void path_of(const char *name, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%.3000s/%s", out, name);
}

static void put(const char *name, const char *text)
{
    char path[PATH_MAX];
    path_of(name, path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static bool says(const char *name, const char *word)
{
    char path[PATH_MAX], text[1024];
    path_of(name, path);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return strstr(text, word);
}

static size_t entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    return n;
}

static bool whole(const char *word)
{
    return says("index.html", word) && says("report.json", word) && says("figure-0.csv", word) &&
           says("figure-1.csv", word) && says("figure-2.csv", word);
}

static void clear(void)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf %s/*", parent);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a path of this test's own
    assert_int_equal(entries(parent), 0);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(parent))
        return -1;
    snprintf(out, sizeof out, "%s/site", parent);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clear();
    return rmdir(parent);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_new(void **state)
{
    (void)state;
    struct errmsg e = {""};
    char path[PATH_MAX];
    umask(022);
    for (int internal = 0; internal < 2; internal++) {
        unsigned n = 1;
        for (;; n++) {
            fail_alloc_at(n);
            int r = write_report("one", internal, &e);
            if (!fail_alloc_end())
                break;
            if (r < 0)
                assert_int_equal(entries(parent), 0);
            else
                clear();
        }
        assert_true(n > 12);
        assert_true(whole("one"));
        assert_int_equal(entries(out), FIGURES + 2);
        assert_int_equal(entries(parent), 1);
        path_of("index.html", path);
        assert_int_equal(mode_of(out), internal ? 0700 : 0755);
        assert_int_equal(mode_of(path), internal ? 0600 : 0644);
        clear();
    }
}

// Each call fails once: the older report, or the new one, and the user's own files.
static void test_over_another(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct stat before, after;
    assert_int_equal(write_report("old", false, &e), 0);
    put("robots.txt", "mine");
    assert_int_equal(chmod(out, 02775), 0);
    assert_int_equal(stat(out, &before), 0);
    unsigned n = 1;
    for (;; n++) {
        fail_alloc_at(n);
        int r = write_report("new", false, &e);
        bool came = fail_alloc_end();
        assert_true(whole(r < 0 ? "old" : "new"));
        assert_int_equal(entries(out), FIGURES + 3);
        assert_true(says("robots.txt", "mine"));
        if (!came)
            break;
        if (r == 0)
            assert_int_equal(write_report("old", false, &e), 0);
    }
    assert_true(n > 20);
    // the directory is the one it was
    assert_int_equal(stat(out, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mode, after.st_mode);
    clear();
}

static bool killed_in(unsigned n, const char *word)
{
    pid_t child = fork();
    if (child == 0) {
        struct errmsg e;
        kill_at = n;
        _exit(write_report(word, false, &e) == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

// A page is never there without the tables it came with, and the next run leaves nothing behind.
static void test_killed(void **state)
{
    (void)state;
    struct errmsg e = {""};
    unsigned n = 1, olds = 0, none = 0, news = 0;
    for (bool killed = true; killed; n++) {
        assert_int_equal(write_report("old", false, &e), 0);
        put(".htaccess", "mine");
        killed = killed_in(n, "new");
        olds += whole("old");
        news += whole("new");
        none += !says("index.html", "");
        assert_true(whole("old") || whole("new") || !says("index.html", ""));
        assert_true(says(".htaccess", "mine"));
        assert_int_equal(write_report("next", false, &e), 0);
        assert_true(whole("next"));
        assert_int_equal(entries(out), FIGURES + 3);
    }
    assert_true(olds > 10 && none > 5 && news > 5);
    clear();
    for (n = 1; killed_in(n, "new"); n++) { // the directory is not there yet
        assert_true(entries(out) == 0 || whole("new"));
        assert_int_equal(write_report("next", false, &e), 0);
        assert_int_equal(entries(parent), 1);
        clear();
    }
    clear();
}

// What looks like it and is somebody else's stays: other files, a link, another's lock.
static void test_leftovers(void **state)
{
    (void)state;
    struct errmsg e = {""};
    char path[PATH_MAX];
    assert_int_equal(write_report("old", false, &e), 0);
    static const struct {
        const char *directory, *file;
        mode_t mode;
        bool goes;
    } cases[] = {
        {".report-aaaaaa", "index.html", 0700, true}, {".report-bbbbbb", "a.csv.old", 0700, true},
        {".report-cccccc", NULL, 0700, true},         {".report-dddddd", "notes.txt", 0700, false},
        {".report-eeeeee", "A.csv", 0700, false},     {".report-ffffff", "index.html", 0755, false},
        {".report-ggggggg", "a.csv", 0700, false},    {".report-hhhh.h", "a.csv", 0700, false},
        {".report-iiiiii", "a.csv/", 0700, false}, // a directory of that name
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[64];
        path_of(cases[i].directory, path);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(name, sizeof name, "%s/%s", cases[i].directory,
                 cases[i].file ? cases[i].file : "");
        path_of(name, path);
        if (cases[i].file && name[strlen(name) - 1] == '/')
            assert_int_equal(mkdir(path, 0700), 0);
        else if (cases[i].file)
            put(name, "x");
        path_of(cases[i].directory, path);
        assert_int_equal(chmod(path, cases[i].mode), 0);
    }
    path_of(".report-zzzzzz", path);
    assert_int_equal(symlink(parent, path), 0);
    assert_int_equal(write_report("new", false, &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        path_of(cases[i].directory, path);
        assert_int_equal(access(path, F_OK) < 0, cases[i].goes);
    }
    path_of(".report-zzzzzz", path);
    assert_int_equal(unlink(path), 0);
    clear();
}

static void test_overtaken(void **state)
{
    (void)state;
    struct errmsg e = {""};
    overtaken = true;
    assert_int_equal(write_report("new", false, &e), 0);
    assert_true(whole("new") && says("mine", ""));
    assert_int_equal(entries(out), FIGURES + 3);
    assert_int_equal(entries(parent), 1);
    assert_int_equal(mode_of(out), 0750);
    clear();
}

static void test_refused(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct report_site site = report_of("new", false, FIGURES);
    char path[PATH_MAX];
    static const char *const names[] = {"index.html", "report.json", "other.csv"};
    assert_int_equal(report_site_check(&site, &e), 0);
    assert_int_equal(entries(parent), 0);
    assert_int_equal(mkdir(out, 0755), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        path_of(names[i], path);
        put(names[i], "mine");
        assert_int_equal(report_site_check(&site, &e), -EINVAL);
        assert_non_null(strstr(e.text, names[i]));
        assert_int_equal(report_site_write(&site, &e), -EINVAL);
        assert_true(says(names[i], "mine"));
        assert_int_equal(unlink(path), 0);
    }
    // a link where a file must be: neither followed nor replaced
    put("mine", "mine");
    path_of("report.json", path);
    assert_int_equal(symlink("mine", path), 0);
    assert_int_equal(report_site_write(&site, &e), -EINVAL);
    assert_true(says("mine", "mine"));
    assert_int_equal(entries(out), 2);
    assert_int_equal(unlink(path), 0);
    // fewer figures than before: what is left of the other would be published along with it
    assert_int_equal(report_site_write(&site, &e), 0);
    report_site_release(&site);
    site = report_of("new", false, FIGURES - 1);
    assert_int_equal(report_site_write(&site, &e), -EINVAL);
    assert_non_null(strstr(e.text, "figure-2.csv"));
    report_site_release(&site);
    site = report_of("new", true, FIGURES);
    assert_int_equal(report_site_write(&site, &e), -EINVAL);
    assert_non_null(strstr(e.text, "anybody may read"));
    report_site_release(&site);
    clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),     cmocka_unit_test(test_over_another),
        cmocka_unit_test(test_killed),  cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_overtaken),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
