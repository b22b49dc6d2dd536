// A spool whose file was deleted, moved or replaced while it is open: everything is in the open
// file still, and would be gone with the process.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/log.h"
#include "sensor/spool_internal.h"

#define AGAIN_MS 60000 // a copy may be large

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

// The spool's directory is made when only that is missing.
void spool_make_directory(const char *path)
{
    _cleanup_(freep) char *copy = strdup(path);
    if (copy)
        (void)mkdir(dirname(copy), 0700); // what cannot be made shows at the next open
}

static int sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int sync_directory(const char *path)
{
    _cleanup_(freep) char *copy = strdup(path);
    return copy ? sync_path(dirname(copy)) : -ENOMEM;
}

// Private as the spool is: the file is there, and empty, before SQLite writes it.
static int copy_to(struct spool *s, const char *to)
{
    _cleanup_(sqlite3_finalizep) sqlite3_stmt *st = NULL;
    (void)unlink(to);
    int fd = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    if (sqlite3_prepare_v2(s->db, "VACUUM INTO ?1", -1, &st, NULL) != SQLITE_OK ||
        sqlite3_bind_text(st, 1, to, -1, SQLITE_STATIC) != SQLITE_OK)
        return db_error(s);
    return sqlite3_step(st) == SQLITE_DONE ? sync_path(to) : db_error(s);
}

// The lock file goes with the directory.
static int lock_again(struct spool *s)
{
    char path[4096];
    struct stat ours, there;
    snprintf(path, sizeof path, "%s.lock", s->path);
    if (fstat(s->lock_fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
        ours.st_dev == there.st_dev)
        return 0;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, 1) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    close(s->lock_fd);
    s->lock_fd = fd;
    return 0;
}

// From here on the copy is the spool. What the old log holds is in it.
static int change_over(struct spool *s, const char *copy)
{
    static const char *const tails[] = {"-wal", "-shm"};
    char name[4096];
    struct spool_state state = s->state;
    bool dirty = s->state_dirty;
    db_close(s);
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        snprintf(name, sizeof name, "%s%s", s->path, tails[i]);
        (void)unlink(name);
    }
    if (rename(copy, s->path) < 0)
        return -errno;
    int r = sync_directory(s->path);
    if (r == 0)
        r = spool_load(s);
    if (r == 0) {
        s->state = state; // acks that were not noted yet
        s->state_dirty = dirty;
    }
    return r;
}

static bool has_moved(struct spool *s)
{
    int moved = 0;
    return s->db &&
           sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
           moved;
}

int spool_return_moved(struct spool *s, int64_t now_ms)
{
    char copy[4096];
    bool tried = now_ms >= s->moved_ms && now_ms < s->moved_ms + AGAIN_MS;
    if (tried || !has_moved(s))
        return 0;
    s->moved_ms = now_ms;
    snprintf(copy, sizeof copy, "%s.moved", s->path);
    spool_make_directory(s->path);
    int r = lock_again(s); // where another sensor has a spool by now, ours stays what it is
    if (r == 0)
        r = copy_to(s, copy);
    if (r == 0)
        r = change_over(s, copy);
    if (r == 0) {
        s->moved_ms = 0;
        log_warning("spool %s was deleted or moved while in use: it is written again, nothing is "
                    "lost",
                    s->path);
        return 0;
    }
    (void)unlink(copy);
    log_warning("spool %s was deleted or moved while in use and cannot be written again: %s; what "
                "waits in it is lost when this process ends before it is delivered",
                s->path, strerror(-r));
    return s->db ? 0 : -EUCLEAN;
}
