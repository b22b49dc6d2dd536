// Opening and closing the spool; a file that is damaged, gone, or on a disk that takes nothing now.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "sensor/spool_internal.h"

// What is declared on each side when the clock was set back around an unclean end: more than what
// waits in memory covers.
#define UNSURE_MS  (20 * 60 * 1000LL)
#define FULL_BYTES (64u * 1024u)

// Appends a loss of unknown extent, in the caller's transaction.
static int append_unknown(struct spool *s, struct spool_state *state, int64_t first_ms,
                          int64_t now_ms, const char *reason)
{
    struct spool_item item = {
        .header = {.first_window_ms = first_ms, .last_window_ms = MAX(now_ms, first_ms)},
        .unknown = true,
        .reason = reason,
    };
    return spool_append_one(s, state, &item, now_ms);
}

static int mark_live(struct spool *s, int64_t since_ms)
{
    struct spool_state state = s->state;
    state.live_since_ms = since_ms;
    state.cap_bytes = s->config.cap_bytes;
    int r = db_begin(s);
    return r < 0 ? r : spool_state_commit(s, &state, 0);
}

// Numbers 1..next-1 without a hole, as far as counting tells.
static int check_contiguous(struct spool *s)
{
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_SPAN, &st);
    if (r < 0)
        return r;
    int64_t first = 0;
    int64_t last = 0;
    int64_t span = 0;
    if (sqlite3_step(st) == SQLITE_ROW) {
        first = sqlite3_column_int64(st, 0);
        last = sqlite3_column_int64(st, 1);
        span = sqlite3_column_int64(st, 2);
    } else {
        r = db_error(s);
    }
    statement_resetp(&st);
    if (r < 0 || s->state.next_seq == 1)
        return r;
    bool whole = first == (int64_t)spool_row(s, 1) &&
                 last == (int64_t)spool_row(s, s->state.next_seq - 1) && span == last - first + 1;
    return whole ? 0 : -EUCLEAN;
}

// A new spool, with `lost` (since first_ms) as number 1 when something may be missing: all of it or
// nothing, so that no end of the process between can hide the loss.
static int create(struct spool *s, int64_t first_ms, int64_t now_ms, const char *lost)
{
    s->state = (struct spool_state){0};
    s->loss_bytes = 0;
    int r = db_open(s, true);
    if (r == 0)
        r = db_begin(s);
    if (r < 0)
        return r;
    struct spool_state state = {
        .next_seq = 1,
        .cap_bytes = s->config.cap_bytes,
        .live_since_ms = s->config.live ? now_ms : 0,
    };
    spool_id_new(state.spool_id);
    r = db_make_tables(s);
    if (r == 0 && lost)
        r = append_unknown(s, &state, first_ms, now_ms, lost);
    return spool_state_commit(s, &state, r);
}

static int load_once(struct spool *s)
{
    s->state = (struct spool_state){0};
    s->loss_bytes = 0;
    int r = db_open(s, false);
    int64_t bytes = 0;
    if (r == 0)
        r = db_state_get(s, &s->state);
    if (r == 0)
        r = check_contiguous(s);
    if (r == 0)
        r = db_number(s, SQL_LOSS_BYTES, &bytes);
    s->loss_bytes = (uint64_t)bytes;
    // SQLite takes a file whose header names a later format for read-only.
    if (r == 0 && sqlite3_db_readonly(s->db, "main") == 1)
        r = -EROFS;
    return r == -EROFS && access(s->path, W_OK) == 0 ? -EUCLEAN : r;
}

// A disk that failed once may have looked like a damaged file: that is believed the second time.
int spool_load(struct spool *s)
{
    int r = load_once(s);
    if (r != -EUCLEAN)
        return r;
    db_close(s);
    return load_once(s);
}

// *ret_fresh: the file is new.
static int file_create(const char *path, bool *ret_fresh, struct errmsg *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) {
        int r = -errno;
        return errmsg_set(e, r, "spool %s: %s", path, strerror(-r));
    }
    struct stat st;
    if (fd < 0 && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return errmsg_set(e, -EISDIR, "spool %s is no file: name another in [spool] path", path);
    *ret_fresh = fd >= 0;
    if (fd >= 0)
        close(fd);
    return 0;
}

// That it is live must stand in the file: a log that is damaged or gone leaves the file as it was,
// and must not make it look as if it had been closed.
static void note_live(struct spool *s)
{
    if (s->config.live)
        db_checkpoint(s);
}

// --- the lock file ---

// The lock file holds what a full disk may not let the spool hold: its first byte, whether there
// was a spool ('-': never), behind it the time since when a run has captured that could not open
// it, and then what a replay has read.
static void read_mark(struct spool *s)
{
    char text[128] = "";
    long long numbers[4] = {0};
    ssize_t n = pread(s->lock_fd, text, sizeof text - 1, 0);
    char *end = text + 1;
    for (size_t i = 0; n > 1 && i < ARRAY_SIZE(numbers) && *end; i++)
        numbers[i] = strtoll(end, &end, 10);
    s->had_spool = n > 0 && text[0] != '-';
    s->late_since_ms = MAX(numbers[0], 0);
    if (numbers[1] > 0 && numbers[2] > 0 && numbers[3] > 0)
        s->reading = (struct spool_reading){(uint64_t)numbers[1], numbers[2], numbers[3]};
}

static int write_mark(const struct spool *s, bool had_spool, int64_t since_ms)
{
    char text[128];
    const struct spool_reading *r = &s->reading;
    int n = snprintf(text, sizeof text, "%c", had_spool ? 's' : '-');
    if (since_ms != 0 || r->last_ms != 0)
        n += snprintf(text + n, sizeof text - (size_t)n, "%lld", (long long)since_ms);
    if (r->last_ms != 0)
        n += snprintf(text + n, sizeof text - (size_t)n, " %llu %lld %lld",
                      (unsigned long long)r->row, (long long)r->first_ms, (long long)r->last_ms);
    if (pwrite(s->lock_fd, text, (size_t)n, 0) != n || ftruncate(s->lock_fd, n) < 0 ||
        fdatasync(s->lock_fd) < 0)
        return -errno;
    return 0;
}

// It is open, or anew.
static int opened(struct spool *s)
{
    if (s->config.live)
        s->late_since_ms = 0;
    s->late = false;
    s->reading = (struct spool_reading){.row = spool_row(s, s->state.next_seq)};
    note_live(s);
    return write_mark(s, true, s->late_since_ms);
}

static int lock(struct spool *s, struct errmsg *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.lock", s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        int r = -errno;
        return errmsg_set(e, r, "spool lock %s: %s", path, strerror(-r));
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        close(s->lock_fd);
        s->lock_fd = -1; // or a later attempt would take it for locked
        return errmsg_set(e, -EBUSY,
                          "spool %s is in use by another hirundo-sensor; stop it, or give this one "
                          "a spool of its own",
                          s->path);
    }
    read_mark(s);
    return 0;
}

static int set_aside(struct spool *s, struct errmsg *e)
{
    static const char *const tails[] = {"", "-wal"};
    char from[4096];
    char to[4096];
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        snprintf(from, sizeof from, "%s%s", s->path, tails[i]);
        snprintf(to, sizeof to, "%s.damaged%s", s->path, tails[i]);
        if (rename(from, to) < 0 && errno != ENOENT) {
            int r = -errno;
            return errmsg_set(e, r, "damaged spool %s cannot be set aside: %s", s->path,
                              strerror(-r));
        }
    }
    snprintf(from, sizeof from, "%s-shm", s->path);
    (void)unlink(from);
    return 0;
}

static void remove_half_made(const struct spool *s)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    char name[4096];
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        snprintf(name, sizeof name, "%s%s", s->path, tails[i]);
        (void)unlink(name);
    }
}

static int set_aside_and_create(struct spool *s, int64_t now_ms, struct errmsg *e)
{
    db_close(s);
    int r = set_aside(s, e);
    bool fresh = false;
    if (r == 0)
        r = file_create(s->path, &fresh, e);
    if (r < 0)
        return r;
    r = fresh ? create(s, 0, now_ms, "the spool file was damaged") : -EBUSY;
    if (r < 0) {
        db_close(s);
        if (fresh)
            remove_half_made(s);
        return errmsg_set(e, r, "spool %s: %s", s->path, strerror(-r));
    }
    errmsg_set(e, 0,
               "spool %s was damaged: set aside as %s.damaged, a new one begun; what was not "
               "delivered is declared as unknown",
               s->path, s->path);
    return 0;
}

static bool file_is_missing(const char *path)
{
    return access(path, F_OK) < 0 && errno == ENOENT;
}

int spool_renew(struct spool *s, int64_t now_ms, struct errmsg *e)
{
    if (s->late && !s->db)
        return spool_open_late(s, e);
    db_close(s);
    int r = s->doubted || file_is_missing(s->path) ? -EUCLEAN : spool_load(s);
    if (r == 0) {
        s->doubted = true;
        return errmsg_set(e, 0, "spool %s could not be read right once; the file is sound",
                          s->path);
    }
    if (r != -EUCLEAN) {
        db_close(s);
        return errmsg_set(e, r, "spool %s: %s", s->path, strerror(-r));
    }
    s->doubted = true;
    r = set_aside_and_create(s, now_ms, e);
    s->doubted = r < 0;
    if (r == 0)
        (void)opened(s); // else the next start declares what is declared already
    return r;
}

// What was captured since then and not spooled, in the caller's transaction. With a clock that was
// set back nobody knows whether that was before the end or after it: then it may carry either time.
static int declare_unclean_end(struct spool *s, struct spool_state *state, int64_t since,
                               int64_t now_ms)
{
    if (now_ms >= since)
        return append_unknown(s, state, since, now_ms, "the sensor ended without a clean stop");
    static const char reason[] = "the sensor ended without a clean stop and its clock was set back";
    int r = append_unknown(s, state, since, since + UNSURE_MS, reason);
    return r == 0 ? append_unknown(s, state, MAX(now_ms - UNSURE_MS, 1), now_ms, reason) : r;
}

// Where the last window of a row begins, more of which may have been to follow. 1: nobody can tell.
static int last_window_start(struct spool *s, uint64_t row, int64_t *ret_ms)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    _cleanup_(freep) struct window_record *records = NULL;
    struct entry e;
    size_t n = 0;
    int r = db_entry_at(s, row, &e, &st);
    if (r != 0)
        return r == -ENOENT ? 1 : r;
    if (e.records_size > 0)
        r = wire_records_decode(e.records, e.records_size, &records, &n, NULL);
    if (r != 0 || n == 0)
        return r < 0 ? r : 1;
    *ret_ms = records[n - 1].start_ms;
    return 0;
}

// What a replay had read and not spooled, in the caller's transaction.
static int declare_unread(struct spool *s, struct spool_state *state)
{
    const struct spool_reading *reading = &s->reading;
    int64_t first = reading->first_ms;
    uint64_t end = state->next_seq + state->base;
    int r = end > reading->row ? last_window_start(s, end - 1, &first) : 0;
    if (r < 0)
        return r;
    return append_unknown(s, state, first, reading->last_ms,
                          "a replay ended before all that it had read was in the spool");
}

int spool_note_reading(struct spool *s, int64_t first_ms, int64_t last_ms, bool in_order)
{
    struct spool_reading before = s->reading, *now = &s->reading;
    if (s->late || s->lock_fd < 0)
        return 0;
    if (!in_order)
        now->row = INT64_MAX; // no row tells
    now->first_ms = MAX(first_ms, 1);
    now->last_ms = last_ms == 0 ? 0 : MAX(last_ms, 1);
    bool same = now->row == before.row && now->first_ms == before.first_ms;
    if (now->last_ms == before.last_ms && (same || now->last_ms == 0))
        return 0; // it stands there
    int r = write_mark(s, true, s->late_since_ms);
    if (r < 0)
        s->reading = before; // that is what stands there, as far as anybody knows
    return r;
}

// Since when runs before this one may have captured what is not spooled; 0: they have not.
static int64_t undeclared_since(const struct spool *s)
{
    int64_t live = s->state.live_since_ms, late = s->late_since_ms;
    return live == 0 || late == 0 ? MAX(live, late) : MIN(live, late);
}

// What a live run that did not end cleanly had in memory is declared, and this one noted.
static int begin(struct spool *s, struct errmsg *e)
{
    struct spool_state state = s->state;
    int64_t since = undeclared_since(s);
    uint64_t evicted = s->evicted, loss_bytes = s->loss_bytes;
    s->disk_short = db_disk_is_short(s, SPOOL_PAGE_SIZE);
    int r = db_begin(s);
    if (r == 0) {
        if (s->config.live && since != 0)
            r = declare_unclean_end(s, &state, since, s->opened_ms);
        if (r == 0 && s->reading.last_ms != 0)
            r = declare_unread(s, &state);
        if (s->config.live)
            state.live_since_ms = s->opened_ms;
        state.cap_bytes = s->config.cap_bytes;
        r = spool_state_commit(s, &state, r);
    }
    if (r == 0)
        return 0;
    s->evicted = evicted;
    s->loss_bytes = loss_bytes;
    return errmsg_set(e, r, "spool %s: %s", s->path, strerror(-r));
}

static int open_fresh(struct spool *s, struct errmsg *e)
{
    bool gone = s->had_spool;
    const char *lost = gone                    ? "the spool file was gone"
                       : s->late_since_ms != 0 ? "the sensor ended before its spool could be made"
                                               : NULL;
    int r = create(s, gone ? 0 : s->late_since_ms, s->opened_ms, lost);
    if (r < 0) {
        db_close(s);
        remove_half_made(s);
        return errmsg_set(e, r, "spool %s: %s", s->path, strerror(-r));
    }
    return gone ? errmsg_set(e, SPOOL_RENEWED,
                             "spool %s was gone: a new one begun; what was not delivered is "
                             "declared as unknown",
                             s->path)
                : 0;
}

static int open_old(struct spool *s, struct errmsg *e)
{
    int r = spool_load(s);
    if (r == 0)
        return begin(s, e);
    if (r == -EUCLEAN) {
        r = set_aside_and_create(s, s->opened_ms, e);
        return r < 0 ? r : SPOOL_RENEWED;
    }
    db_close(s);
    return errmsg_set(e, r, "spool %s: %s", s->path, strerror(-r));
}

// From nothing, or from where the last attempt failed: with s->db the file is open, and can be
// read.
static int open_or_go_on(struct spool *s, struct errmsg *e)
{
    bool fresh = false;
    int r = s->lock_fd < 0 ? lock(s, e) : 0;
    if (r == 0 && s->db)
        return begin(s, e);
    if (r == 0)
        r = file_create(s->path, &fresh, e);
    if (r == 0)
        r = fresh ? open_fresh(s, e) : open_old(s, e);
    if (r < 0 && !s->db)
        s->state = (struct spool_state){.next_seq = 1};
    return r;
}

static bool disk_is_full(const struct spool *s)
{
    struct statvfs disk;
    return statvfs(s->path, &disk) == 0 && disk.f_bavail * disk.f_frsize < FULL_BYTES;
}

static int complete(struct spool *s, struct errmsg *e)
{
    int r = open_or_go_on(s, e);
    if (r == -EIO && disk_is_full(s)) // that is how it shows in the index of the log
        return errmsg_set(e, -ENOSPC, "spool %s: %s", s->path, strerror(ENOSPC));
    // SQLite's words for a file of somebody else's are those for a bad disk, which may get well.
    if ((r == -EIO || r == -EROFS) && access(s->path, R_OK | W_OK) < 0 && errno == EACCES)
        return errmsg_set(e, -EACCES,
                          "spool %s may not be read and written: it has to belong to the user that "
                          "the sensor runs as",
                          s->path);
    if (r < 0)
        return r;
    int marked = opened(s);
    if (marked < 0 && !s->config.later)
        return errmsg_set(e, marked, "spool lock %s.lock: %s", s->path, strerror(-marked));
    return r;
}

// What the disk is to blame for, and may give up doing.
static bool is_of_disk(int r)
{
    return r == -ENOSPC || r == -EROFS || r == -EIO || r == -EDQUOT;
}

int spool_open(const struct spool_config *config, int64_t now_ms, struct spool **ret,
               struct errmsg *e)
{
    if (config->cap_bytes < SPOOL_CAP_MIN)
        return errmsg_set(e, -EINVAL, "a spool needs at least %lld bytes", SPOOL_CAP_MIN);
    _cleanup_(spool_freep) struct spool *s = calloc(1, sizeof *s);
    if (!s)
        return errmsg_set(e, -ENOMEM, "out of memory");
    s->config = *config;
    s->lock_fd = -1;
    s->opened_ms = now_ms;
    s->path = strdup(config->path);
    if (!s->path)
        return errmsg_set(e, -ENOMEM, "out of memory");
    s->config.path = s->path;
    spool_make_directory(s->path);
    int r = complete(s, e);
    if (r < 0 && config->later && is_of_disk(r)) {
        s->late = true;
        if (s->lock_fd >= 0) // not even that may be possible
            s->marked = s->late_since_ms != 0 || write_mark(s, s->had_spool, now_ms) == 0;
        r = SPOOL_LATER;
    }
    if (r < 0)
        return r;
    *ret = s;
    s = NULL;
    return r;
}

bool spool_is_late(const struct spool *s)
{
    return s->late;
}

bool spool_will_declare(const struct spool *s)
{
    return s->state.live_since_ms != 0 || (s->late ? s->marked : s->reading.last_ms != 0);
}

int spool_open_late(struct spool *s, struct errmsg *e)
{
    return s->late ? complete(s, e) : 0;
}

int spool_close_clean(struct spool *s)
{
    if (s->late)
        return 0; // the lock file has what is to be said
    return s->config.live ? mark_live(s, 0) : spool_sync(s);
}

void spool_free(struct spool *s)
{
    if (!s)
        return;
    db_close(s);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->path);
    free(s);
}
