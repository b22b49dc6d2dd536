#include "tests/unit/fail_vfs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#define PATH_SIZE 256

struct file {
    sqlite3_file base;
    char path[PATH_SIZE];
    sqlite3_file *real; // behind this struct
};

// How to take a write back.
struct undo {
    struct undo *before;
    char path[PATH_SIZE];
    sqlite3_int64 at, size; // of the file before it
    int n;
    unsigned char old[];
};

// The VFS of a process is one, and SQLite has no place for a context where it counts.
static struct {
    sqlite3_vfs *real;
    enum vfs_kind kind;
    unsigned at, calls;
    bool failed;
    struct undo *undo;
} plan;

enum { READS = 1, WRITES = 2, OTHERS = 4 };

// Whether this call is to fail.
static bool fails(unsigned what)
{
    static const unsigned counted[VFS_KINDS] = {
        [VFS_EIO] = READS | WRITES | OTHERS, [VFS_FULL] = WRITES,           [VFS_SHORT] = READS,
        [VFS_KILLED] = WRITES | OTHERS,      [VFS_POWER] = WRITES | OTHERS,
    };
    if (plan.failed && plan.kind != VFS_EIO && plan.kind != VFS_SHORT)
        return plan.kind == VFS_FULL ? what == WRITES : true;
    if (!(counted[plan.kind] & what) || plan.failed)
        return false;
    plan.failed = ++plan.calls == plan.at;
    return plan.failed;
}

static int error_of(int ioerr)
{
    return plan.kind == VFS_FULL ? SQLITE_FULL : ioerr;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct file *)f)->real;
}

// ---- taking back

static void remember(struct file *f, int n, sqlite3_int64 at)
{
    if (plan.kind != VFS_POWER)
        return;
    struct undo *u = calloc(1, sizeof *u + (size_t)n);
    assert_non_null(u);
    snprintf(u->path, sizeof u->path, "%s", f->path);
    u->at = at;
    u->n = n;
    f->real->pMethods->xFileSize(f->real, &u->size);
    if (at < u->size)
        (void)f->real->pMethods->xRead(f->real, u->old, n, at);
    u->before = plan.undo;
    plan.undo = u;
}

static void forget(const char *path)
{
    for (struct undo **at = &plan.undo; *at;) {
        struct undo *u = *at;
        if (path && strcmp(u->path, path) != 0) {
            at = &u->before;
            continue;
        }
        *at = u->before;
        free(u);
    }
}

// The newest writes first; where the number of the call is odd some of the oldest stay, as a disk
// may have it.
static void take_back(void)
{
    unsigned n = 0;
    for (const struct undo *u = plan.undo; u; u = u->before)
        n++;
    unsigned keep = plan.at % 2 ? n / 3 : 0;
    for (const struct undo *u = plan.undo; u && n > keep; u = u->before, n--) {
        int fd = open(u->path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (u->at < u->size && pwrite(fd, u->old, (size_t)u->n, u->at) != u->n)
            fail_msg("cannot take a write to %s back", u->path);
        if (ftruncate(fd, u->size) < 0)
            fail_msg("cannot cut %s", u->path);
        close(fd);
    }
}

// ---- files

static int file_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    bool bad = fails(READS);
    if (bad && plan.kind != VFS_SHORT)
        return SQLITE_IOERR_READ;
    int r = real_of(f)->pMethods->xRead(real_of(f), p, n, at);
    if (!bad)
        return r;
    memset((char *)p + n / 2, 0, (size_t)(n - n / 2));
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    bool before = plan.failed;
    bool bad = fails(WRITES);
    if (!bad || (!before && plan.kind >= VFS_KILLED)) {
        remember((struct file *)f, n, at);
        int r = real_of(f)->pMethods->xWrite(real_of(f), p, bad ? (n + 1) / 2 : n, at);
        if (!bad)
            return r;
    }
    return error_of(SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    if (fails(WRITES))
        return error_of(SQLITE_IOERR_TRUNCATE);
    sqlite3_int64 was;
    real_of(f)->pMethods->xFileSize(real_of(f), &was);
    if (size < was && was - size < 64 * 1024 * 1024)
        remember((struct file *)f, (int)(was - size), size);
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
    if (fails(WRITES))
        return plan.kind == VFS_FULL ? SQLITE_FULL : SQLITE_IOERR_FSYNC;
    forget(((struct file *)f)->path);
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return fails(OTHERS) ? SQLITE_IOERR_FSTAT : real_of(f)->pMethods->xFileSize(real_of(f), ret);
}

static int file_lock(sqlite3_file *f, int level)
{
    return fails(OTHERS) ? SQLITE_IOERR_LOCK : real_of(f)->pMethods->xLock(real_of(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int file_check_lock(sqlite3_file *f, int *ret)
{
    return fails(OTHERS) ? SQLITE_IOERR_CHECKRESERVEDLOCK
                         : real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_characteristics(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    return fails(extend ? WRITES : OTHERS)
               ? error_of(SQLITE_IOERR_SHMMAP)
               : real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    if (!(flags & SQLITE_SHM_UNLOCK) && fails(OTHERS))
        return SQLITE_IOERR_SHMLOCK;
    return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}

static void file_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int file_shm_unmap(sqlite3_file *f, int delete)
{
    bool dead = plan.failed && plan.kind >= VFS_KILLED;
    return real_of(f)->pMethods->xShmUnmap(real_of(f), dead ? 0 : delete);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, // no memory mapping: every read is a call
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

// ---- the VFS

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *to, int flags, int *ret_flags)
{
    (void)v;
    struct file *f = (struct file *)to;
    memset(f, 0, sizeof *f);
    if (fails(OTHERS))
        return SQLITE_CANTOPEN;
    f->real = (sqlite3_file *)(f + 1);
    snprintf(f->path, sizeof f->path, "%s", name ? name : "");
    int r = plan.real->xOpen(plan.real, name, f->real, flags, ret_flags);
    if (f->real->pMethods)
        f->base.pMethods = &methods;
    return r;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int sync)
{
    (void)v;
    if (fails(WRITES))
        return error_of(SQLITE_IOERR_DELETE);
    forget(name);
    return plan.real->xDelete(plan.real, name, sync);
}

static int vfs_access(sqlite3_vfs *v, const char *name, int flags, int *ret)
{
    (void)v;
    return fails(OTHERS) ? SQLITE_IOERR_ACCESS : plan.real->xAccess(plan.real, name, flags, ret);
}

static int vfs_path(sqlite3_vfs *v, const char *name, int n, char *to)
{
    (void)v;
    return plan.real->xFullPathname(plan.real, name, n, to);
}

void vfs_install(void)
{
    static sqlite3_vfs ours;
    if (plan.real)
        return;
    plan.real = sqlite3_vfs_find(NULL);
    assert_non_null(plan.real);
    ours = *plan.real;
    ours.zName = "failing";
    ours.szOsFile = (int)sizeof(struct file) + plan.real->szOsFile;
    ours.xOpen = vfs_open;
    ours.xDelete = vfs_delete;
    ours.xAccess = vfs_access;
    ours.xFullPathname = vfs_path;
    assert_int_equal(sqlite3_vfs_register(&ours, 1), SQLITE_OK);
}

void vfs_fail_at(enum vfs_kind kind, unsigned n)
{
    plan.kind = kind;
    plan.at = n;
    plan.calls = 0;
    plan.failed = false;
}

bool vfs_failed(void)
{
    return plan.failed;
}

unsigned vfs_fail_end(void)
{
    if (plan.failed && plan.kind == VFS_POWER)
        take_back();
    forget(NULL);
    unsigned calls = plan.calls;
    vfs_fail_at(VFS_EIO, 0);
    return calls;
}
