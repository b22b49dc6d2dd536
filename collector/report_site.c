#include "collector/report_site.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "collector/report_page.h"

#define PAGE      "index.html"
#define DATA      "report.json"
#define OLD       ".old" // behind the name of a file that gives way
#define NAME_SIZE 96

static inline void closedirp(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

void report_site_release(struct report_site *site)
{
    for (size_t i = 0; i < site->n; i++)
        PQclear(site->figures[i].made);
    free(site->figures);
    PQclear(site->head);
    *site = (struct report_site){0};
}

static int fail(const struct report_site *site, const char *name, struct errmsg *e)
{
    int r = errno ? -errno : -EIO;
    return errmsg_set(e, r, "%s%s%s: %s", site->out, *name ? "/" : "", name, strerror(-r));
}

// ---- names

// The files in order; the page is the last: what it links to is there.
static size_t files(const struct report_site *site)
{
    return site->n + 2;
}

static void file_name(const struct report_site *site, size_t i, const char *suffix,
                      char ret[NAME_SIZE])
{
    if (i < site->n)
        snprintf(ret, NAME_SIZE, "%s.csv%s", site->figures[i].id, suffix);
    else
        snprintf(ret, NAME_SIZE, "%s%s", i == site->n ? DATA : PAGE, suffix);
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcmp(name + n - m, suffix) == 0;
}

static bool is_ours(const struct report_site *site, const char *name)
{
    char ours[NAME_SIZE];
    for (size_t i = 0; i < files(site); i++) {
        file_name(site, i, "", ours);
        if (strcmp(name, ours) == 0)
            return true;
    }
    return false;
}

// Of any report: what a run may leave that is killed.
static bool is_of_a_report(const char *name)
{
    size_t n = strlen(name);
    if (ends_in(name, OLD))
        n -= strlen(OLD);
    if ((n == strlen(PAGE) && strncmp(name, PAGE, n) == 0) ||
        (n == strlen(DATA) && strncmp(name, DATA, n) == 0))
        return true;
    size_t stem = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return stem > 0 && n == stem + strlen(".csv") && strncmp(name + stem, ".csv", 4) == 0;
}

// ---- whether it can go there

// The beginning of a file says whether a report wrote it.
static bool begins_as(int dir, const char *name, const char *mark)
{
    char text[4096];
    _cleanup_(closep) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    return strstr(text, mark);
}

static int check_entry(const struct report_site *site, int dir, const char *name, struct errmsg *e)
{
    struct stat st;
    if (!ends_in(name, ".csv") && !is_ours(site, name))
        return 0;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail(site, name, e);
    bool ours = is_ours(site, name) && S_ISREG(st.st_mode);
    if (ours && strcmp(name, PAGE) == 0)
        ours = begins_as(dir, name, "content=\"hirundo-collector report\"");
    else if (ours && strcmp(name, DATA) == 0)
        ours = begins_as(dir, name, "{\"head\": {");
    if (!ours)
        return errmsg_set(e, -EINVAL,
                          "%s/%s is not of this report: remove it, or name another directory",
                          site->out, name);
    if (site->internal && strcmp(name, DATA) == 0 && st.st_mode & S_IROTH)
        return errmsg_set(e, -EINVAL,
                          "%s holds a report that anybody may read: name another directory for "
                          "one for internal use",
                          site->out);
    return 0;
}

// Where a directory is to be made.
static int check_parent(const struct report_site *site, char *target, struct errmsg *e)
{
    char *slash = strrchr(target, '/');
    if (slash)
        slash[slash == target] = '\0';
    return access(slash ? target : ".", W_OK | X_OK) < 0 ? fail(site, "", e) : 0;
}

int report_site_check(const struct report_site *site, struct errmsg *e)
{
    char target[PATH_MAX];
    int r = part_dir_target(site->out, target, e);
    if (r < 0)
        return r;
    _cleanup_(closedirp) DIR *dir = opendir(target);
    if (!dir)
        return errno == ENOENT ? check_parent(site, target, e) : fail(site, "", e);
    r = faccessat(dirfd(dir), ".", W_OK | X_OK, AT_EACCESS) < 0 ? fail(site, "", e) : 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(dir));)
        r = check_entry(site, dirfd(dir), entry->d_name, e);
    return r;
}

// ---- writing

// JSON inside of a script element: '<' occurs in its strings alone, and may be written otherwise
// there.
static void put_json(FILE *f, const char *json, bool in_page)
{
    if (!in_page) {
        fputs(json, f);
        return;
    }
    for (size_t n; *json; json += n) {
        n = strcspn(json, "<");
        fwrite(json, 1, n, f);
        if (json[n] == '<') {
            fputs("\\u003c", f);
            n++;
        }
    }
}

static void put_report(FILE *f, const struct report_site *site, bool in_page)
{
    fputs("{\"head\": ", f);
    put_json(f, PQgetvalue(site->head, 0, 0), in_page);
    fputs(", \"figures\": [", f);
    for (size_t i = 0; i < site->n; i++) {
        fputs(i ? ",\n" : "", f);
        put_json(f, PQgetvalue(site->figures[i].made, 0, 0), in_page);
    }
    fputs("]}\n", f);
}

static void put_file(FILE *f, const struct report_site *site, size_t i)
{
    if (i < site->n) {
        // the byte order mark tells spreadsheets that it is UTF-8
        fprintf(f, "\xef\xbb\xbf%s", PQgetvalue(site->figures[i].made, 0, 1));
    } else if (i == site->n) {
        put_report(f, site, false);
    } else {
        fprintf(f, "%s%s%s", report_page[0], site->lang, report_page[1]);
        put_report(f, site, true);
        fputs(report_page[2], f);
    }
}

static int write_file(struct report_site *site, int dir, size_t i, struct errmsg *e)
{
    char name[NAME_SIZE];
    file_name(site, i, "", name);
    int fd =
        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, site->internal ? 0600 : 0666);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        int r = fail(site, name, e);
        closep(&fd);
        return r;
    }
    errno = 0;
    put_file(f, site, i);
    bool bad = ferror(f) || fflush(f) != 0 || fsync(fd) < 0;
    long size = ftell(f);
    int r = bad || size < 0 ? fail(site, name, e) : 0;
    if (fclose(f) != 0 && r == 0)
        r = fail(site, name, e);
    site->bytes += r == 0 ? (size_t)size : 0;
    return r;
}

static int write_files(struct report_site *site, int dir, struct errmsg *e)
{
    int r = 0;
    site->bytes = 0;
    for (size_t i = 0; r == 0 && i < files(site); i++)
        r = write_file(site, dir, i, e);
    if (r == 0 && fsync(dir) < 0)
        r = fail(site, "", e);
    return r;
}

// ---- into its place

static int move(int from, const char *name, int to, const char *other)
{
    return renameat(from, name, to, other) < 0 ? -errno : 0;
}

// Back to how it was, the page last.
static void put_back(const struct report_site *site, int part, int dir, const bool *gone, size_t in)
{
    char name[NAME_SIZE], old[NAME_SIZE];
    while (in-- > 0) {
        file_name(site, in, "", name);
        (void)move(dir, name, part, name);
    }
    for (size_t i = 0; i < files(site); i++) {
        file_name(site, i, "", name);
        file_name(site, i, OLD, old);
        if (gone[i])
            (void)move(part, old, dir, name);
    }
}

// The older files out, their page first; the new ones in, their page last. So there is no moment in
// which a page stands beside tables of another one. `gone`: which were there.
static int exchange(const struct report_site *site, int part, int dir, bool *gone, struct errmsg *e)
{
    char name[NAME_SIZE], old[NAME_SIZE];
    size_t in = 0;
    int r = 0;
    for (size_t i = files(site); r == 0 && i-- > 0;) {
        file_name(site, i, "", name);
        file_name(site, i, OLD, old);
        r = move(dir, name, part, old);
        gone[i] = r == 0;
        r = r == -ENOENT ? 0 : r;
    }
    for (; r == 0 && in < files(site); in++) {
        file_name(site, in, "", name);
        r = move(part, name, dir, name);
        if (r < 0)
            break;
    }
    if (r == 0)
        return 0;
    put_back(site, part, dir, gone, in);
    return errmsg_set(e, r, "%s/%s: %s", site->out, name, strerror(-r));
}

// Files of the directory `part`, into one that is there and may hold others. One report at a time.
static int put_into(const struct report_site *site, int part, int dir, struct errmsg *e)
{
    if (flock(dir, LOCK_EX | LOCK_NB) < 0 && errno != ENOLCK && errno != EOPNOTSUPP)
        return errno == EWOULDBLOCK
                   ? errmsg_set(e, -EBUSY, "%s: another report is being put there: try again",
                                site->out)
                   : fail(site, "", e);
    _cleanup_(freep) bool *gone = calloc(MAX(files(site), 1U), sizeof *gone);
    if (!gone)
        return errmsg_set(e, -ENOMEM, "out of memory");
    int r = report_site_check(site, e); // what came while it was written
    if (r == 0)
        r = exchange(site, part, dir, gone, e);
    if (r == 0)
        (void)fsync(dir); // all is there: what may still come is a power failure
    return r;
}

// The mode that mkdir() would give it.
static mode_t public_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0777 & ~mask;
}

// Another report was quicker to make the directory.
static int put_beside(const struct report_site *site, const char *target, int part,
                      struct errmsg *e)
{
    _cleanup_(closep) int dir = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? fail(site, "", e) : put_into(site, part, dir, e);
}

// A directory that is not there yet: whole from the first moment on.
static int put_new(const struct report_site *site, const char *target, struct part_dir *part,
                   struct errmsg *e)
{
    if (!site->internal && fchmod(part->fd, public_mode()) < 0)
        return fail(site, "", e);
    if (rename(part->path, target) < 0)
        return errno == ENOTEMPTY || errno == EEXIST ? put_beside(site, target, part->fd, e)
                                                     : fail(site, "", e);
    part->path[0] = '\0';
    return 0;
}

int report_site_write(struct report_site *site, struct errmsg *e)
{
    char target[PATH_MAX];
    int r = part_dir_target(site->out, target, e);
    if (r < 0)
        return r;
    _cleanup_(closep) int dir = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 && errno != ENOENT)
        return fail(site, "", e);
    struct part_dir part = {.fd = -1};
    r = part_dir_new(target, dir >= 0 ? "/.report" : ".part", is_of_a_report, &part, e);
    if (r == 0)
        r = write_files(site, part.fd, e);
    if (r == 0)
        r = dir >= 0 ? put_into(site, part.fd, dir, e) : put_new(site, target, &part, e);
    part_dir_release(&part);
    return r;
}
