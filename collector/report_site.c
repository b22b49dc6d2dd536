#include "collector/report_site.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "collector/report_page.h"

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

static bool is_ours(const struct report_site *site, const char *name, size_t stem)
{
    for (size_t i = 0; i < site->n; i++)
        if (strlen(site->figures[i].id) == stem && strncmp(site->figures[i].id, name, stem) == 0)
            return true;
    return false;
}

int report_site_check(const struct report_site *site, struct errmsg *e)
{
    if (mkdir(site->out, site->internal ? 0700 : 0777) < 0 && errno != EEXIST)
        return fail(site, "", e);
    _cleanup_(closedirp) DIR *dir = opendir(site->out);
    if (!dir)
        return fail(site, "", e);
    struct stat st;
    if (site->internal && fstatat(dirfd(dir), "report.json", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_mode & S_IROTH)
        return errmsg_set(e, -EINVAL,
                          "%s holds a report that anybody may read: name another directory for "
                          "one for internal use",
                          site->out);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".csv") == 0 &&
            !is_ours(site, entry->d_name, (size_t)(dot - entry->d_name)))
            return errmsg_set(e, -EINVAL,
                              "%s/%s is not of this report: remove it, or name another directory",
                              site->out, entry->d_name);
    }
    return 0;
}

struct file {
    FILE *f;
    char path[PATH_MAX], temporary[PATH_MAX];
};

static int file_begin(const struct report_site *site, const char *name, struct file *ret,
                      struct errmsg *e)
{
    int n = snprintf(ret->path, sizeof ret->path, "%s/%s", site->out, name);
    int m = snprintf(ret->temporary, sizeof ret->temporary, "%s/.%s.new", site->out, name);
    if (n < 0 || m < 0 || (size_t)MAX(n, m) >= sizeof ret->path)
        return errmsg_set(e, -ENAMETOOLONG, "%s: the name is too long", site->out);
    // what an interrupted run left may have been made for others to read
    unlink(ret->temporary);
    int fd =
        open(ret->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, site->internal ? 0600 : 0666);
    ret->f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!ret->f) {
        int r = fail(site, name, e);
        if (fd >= 0)
            close(fd);
        return r;
    }
    return 0;
}

static int file_end(struct report_site *site, const char *name, struct file *file, struct errmsg *e)
{
    long size = ftell(file->f);
    bool bad = ferror(file->f) || size < 0;
    if (fclose(file->f) != 0 || bad || rename(file->temporary, file->path) < 0) {
        int r = fail(site, name, e);
        unlink(file->temporary);
        return r;
    }
    site->bytes += (size_t)size;
    return 0;
}

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

static void put_page(FILE *f, const struct report_site *site)
{
    fprintf(f, "%s%s%s", report_page[0], site->lang, report_page[1]);
    put_report(f, site, true);
    fputs(report_page[2], f);
}

static int write_csv(struct report_site *site, const struct report_figure *figure, struct errmsg *e)
{
    char name[80];
    struct file file;
    snprintf(name, sizeof name, "%s.csv", figure->id);
    int r = file_begin(site, name, &file, e);
    if (r < 0)
        return r;
    // the byte order mark tells spreadsheets that it is UTF-8
    fprintf(file.f, "\xef\xbb\xbf%s", PQgetvalue(figure->made, 0, 1));
    return file_end(site, name, &file, e);
}

int report_site_write(struct report_site *site, struct errmsg *e)
{
    struct file file;
    int r = 0;
    for (size_t i = 0; r == 0 && i < site->n; i++)
        r = write_csv(site, &site->figures[i], e);
    if (r == 0)
        r = file_begin(site, "report.json", &file, e);
    if (r == 0) {
        put_report(file.f, site, false);
        r = file_end(site, "report.json", &file, e);
    }
    // the page last: what it links to is there
    if (r == 0)
        r = file_begin(site, "index.html", &file, e);
    if (r == 0) {
        put_page(file.f, site);
        r = file_end(site, "index.html", &file, e);
    }
    return r;
}
