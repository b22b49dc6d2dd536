#include "collector/part_dir.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RANDOM "XXXXXX"
#define TRIES  10

static int fail(const char *target, struct errmsg *e)
{
    int r = errno ? -errno : -EIO;
    return errmsg_set(e, r, "%s: %s", target, strerror(-r));
}

static int too_long(const char *name, struct errmsg *e)
{
    return errmsg_set(e, -ENAMETOOLONG, "%.100s...: the name is too long", name);
}

int part_dir_target(const char *out, char ret[PATH_MAX], struct errmsg *e)
{
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/')
        n--;
    if (n >= PATH_MAX)
        return too_long(out, e);
    memcpy(ret, out, n);
    ret[n] = '\0';
    return 0;
}

// Entries of the directory, from the first one on; its descriptor stays open.
static DIR *list(int fd)
{
    int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (dir)
        rewinddir(dir);
    else if (again >= 0)
        close(again);
    return dir;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

// Files alone, whose names are known.
static bool holds_only(int fd, part_name_fn holds)
{
    DIR *dir = list(fd);
    bool only = dir;
    struct stat st;
    for (struct dirent *entry; only && (entry = readdir(dir));)
        only = is_dots(entry->d_name) ||
               (holds(entry->d_name) && fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISREG(st.st_mode));
    if (dir)
        closedir(dir);
    return only;
}

// Removes the files whose names are known; `holds` NULL: whatever they are called.
static void empty(int fd, part_name_fn holds)
{
    DIR *dir = list(fd);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (!is_dots(entry->d_name) && (!holds || holds(entry->d_name)))
            unlinkat(fd, entry->d_name, 0);
    if (dir)
        closedir(dir);
}

// Removed where it is certain that a killed run left it.
static void sweep_one(int parent, const char *name, part_name_fn holds)
{
    struct stat st;
    _cleanup_(closep) int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 0777) != 0700 ||
        flock(fd, LOCK_EX | LOCK_NB) < 0 || !holds_only(fd, holds))
        return;
    empty(fd, holds);
    unlinkat(parent, name, AT_REMOVEDIR);
}

static bool is_of(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0 || name[n] != '-' || strlen(name) != n + strlen("-" RANDOM))
        return false;
    for (const char *p = name + n + 1; *p; p++)
        if (!isalnum((unsigned char)*p))
            return false;
    return true;
}

static void sweep(const char *stem, part_name_fn holds)
{
    const char *slash = strrchr(stem, '/'), *base = slash ? slash + 1 : stem;
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - stem) + 1 : 1,
             slash ? stem : ".");
    DIR *dir = opendir(parent);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (is_of(entry->d_name, base))
            sweep_one(dirfd(dir), entry->d_name, holds);
    if (dir)
        closedir(dir);
}

// Between its making and its lock another run may have taken it for one that was left: then it is
// gone. 0; 1: gone; -errno.
static int lock(const struct part_dir *d)
{
    struct stat mine, there;
    if (flock(d->fd, LOCK_EX | LOCK_NB) < 0 && errno != ENOLCK && errno != EOPNOTSUPP)
        return errno == EWOULDBLOCK ? 1 : -errno;
    if (fstat(d->fd, &mine) < 0)
        return -errno;
    return stat(d->path, &there) < 0 || mine.st_ino != there.st_ino || mine.st_dev != there.st_dev;
}

static int make(const char *target, const char *stem, struct part_dir *ret, struct errmsg *e)
{
    struct part_dir d = {.fd = -1};
    int n = snprintf(d.path, sizeof d.path, "%s-" RANDOM, stem);
    if (n < 0 || (size_t)n >= sizeof d.path)
        return too_long(target, e);
    if (!mkdtemp(d.path))
        return fail(target, e);
    d.fd = open(d.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = d.fd < 0 ? (errno == ENOENT ? 1 : -errno) : lock(&d);
    if (r == 0) {
        *ret = d;
        return 0;
    }
    errno = -r;
    if (r < 0)
        fail(target, e);
    part_dir_release(&d);
    return r;
}

int part_dir_new(const char *target, const char *suffix, part_name_fn holds, struct part_dir *ret,
                 struct errmsg *e)
{
    char stem[PATH_MAX];
    int r = 1, n = snprintf(stem, sizeof stem, "%s%s", target, suffix);
    if (n < 0 || (size_t)n >= sizeof stem)
        return too_long(target, e);
    sweep(stem, holds);
    for (int i = 0; r > 0 && i < TRIES; i++)
        r = make(target, stem, ret, e);
    return r > 0 ? errmsg_set(e, -EBUSY, "%s: others remove what is made beside it", target) : r;
}

void part_dir_release(struct part_dir *d)
{
    if (*d->path && d->fd >= 0)
        empty(d->fd, NULL);
    if (*d->path)
        rmdir(d->path);
    closep(&d->fd);
    *d = (struct part_dir){.fd = -1};
}
