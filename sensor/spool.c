#include "sensor/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "sensor/spool_internal.h"

#define LOSS_SHARE 16 // declared losses take at most this part of the cap
// What is declared on each side when the clock was set back around an unclean end: more than what
// waits in memory covers.
#define UNSURE_MS (20 * 60 * 1000LL)

uint64_t spool_row(const struct spool *s, uint64_t seq)
{
    return seq + s->state.base;
}

static int state_commit(struct spool *s, const struct spool_state *state, int r)
{
    if (r == 0)
        r = db_state_put(s, state);
    r = db_end(s, r);
    if (r == 0) {
        s->state = *state;
        s->state_dirty = false;
    }
    return r;
}

// --- making room ---

static int free_pages(struct spool *s, int64_t *ret)
{
    int64_t pages;
    int64_t unused;
    int r = db_number(s, SQL_PAGES, &pages);
    if (r == 0)
        r = db_number(s, SQL_FREE_PAGES, &unused);
    if (r == 0)
        *ret = MIN(s->max_pages - (pages - unused), s->disk_short ? unused : INT64_MAX);
    return r;
}

int spool_lose(struct spool *s, uint64_t row, const char *reason)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    struct entry e;
    int r = db_entry_at(s, row, &e, &st);
    if (r < 0)
        return r;
    _cleanup_(freep) uint8_t *records = NULL;
    if (r == ENTRY_BROKEN) {
        // Nothing in the row is to be believed: the interval up to the last window is unknown.
        e = (struct entry){.row = row,
                           .last_row = row,
                           .kind = ENTRY_UNKNOWN,
                           .last_ms = MAX(s->state.last_window_ms, 0)};
    } else {
        e.kind = ENTRY_LOST;
        records = malloc(e.records_size + 1);
        if (!records)
            return -ENOMEM;
        if (e.records_size > 0)
            memcpy(records, e.records, e.records_size);
        e.records = records;
        statement_resetp(&st);
    }
    snprintf(e.reason, sizeof e.reason, "%s", reason);
    e.size = 0;
    e.payload = NULL;
    memset(e.sha256, 0, sizeof e.sha256);
    s->loss_bytes += e.records_size + 256;
    return db_entry_put(s, &e);
}

// Rows first..last, all of them losses, become one range whose counts are unknown.
static int range_merge(struct spool *s, uint64_t first, uint64_t last)
{
    struct entry e = {.row = first, .last_row = last, .kind = ENTRY_UNKNOWN};
    snprintf(e.reason, sizeof e.reason,
             "records of dropped batches exceeded their share of the spool");
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_RANGE, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)first);
    sqlite3_bind_int64(st, 2, (int64_t)last);
    if (sqlite3_step(st) == SQLITE_ROW) {
        e.first_ms = sqlite3_column_int64(st, 1);
        e.last_ms = MAX(sqlite3_column_int64(st, 2), e.first_ms);
        e.frames = (uint64_t)sqlite3_column_int64(st, 3);
    } else {
        r = db_error(s);
    }
    statement_resetp(&st);
    if (r == 0)
        r = db_statement(s, SQL_RANGE_DELETE, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)first);
    sqlite3_bind_int64(st, 2, (int64_t)last);
    r = db_run(s, st);
    return r < 0 ? r : db_entry_put(s, &e);
}

// The older half of the losses in rows first..last. 1: there are fewer than two.
static int range_halve(struct spool *s, uint64_t first, uint64_t last)
{
    if (last <= first)
        return 1;
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_RANGE, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)first);
    sqlite3_bind_int64(st, 2, (int64_t)last);
    int64_t n = 0;
    if (sqlite3_step(st) == SQLITE_ROW) {
        n = sqlite3_column_int64(st, 0);
        first = MAX(first, (uint64_t)sqlite3_column_int64(st, 4)); // a range may reach over `first`
    }
    statement_resetp(&st);
    if (n < 2)
        return 1;
    r = db_statement(s, SQL_RANGE_MIDDLE, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)first);
    sqlite3_bind_int64(st, 2, (int64_t)last);
    sqlite3_bind_int64(st, 3, n / 2);
    uint64_t middle = sqlite3_step(st) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
    statement_resetp(&st);
    return middle > first ? range_merge(s, first, middle) : 1;
}

// Keeps declared losses within their share: first the acknowledged ones give up their counts.
static int bound_losses(struct spool *s)
{
    uint64_t bound = (uint64_t)s->config.cap_bytes / LOSS_SHARE;
    while (s->loss_bytes > bound) {
        int64_t oldest;
        int r = db_number(s, SQL_OLDEST_BATCH, &oldest);
        if (r < 0 && r != -ENOENT)
            return r;
        uint64_t end = r == 0 ? (uint64_t)oldest - 1 : spool_row(s, s->state.next_seq - 1);
        uint64_t acked = MIN(end, spool_row(s, s->state.acked));
        r = range_halve(s, spool_row(s, 1), acked);
        if (r == 1)
            r = range_halve(s, acked + 1, end);
        int64_t bytes;
        if (r == 0)
            r = db_number(s, SQL_LOSS_BYTES, &bytes);
        if (r != 0)
            return MIN(r, 0);
        s->loss_bytes = (uint64_t)bytes;
    }
    return 0;
}

static int make_room(struct spool *s, uint64_t bytes)
{
    int64_t need = (int64_t)(bytes / 4000) + 4;
    for (;;) {
        int64_t room = 0;
        int r = free_pages(s, &room);
        if (r < 0 || room >= need)
            return r;
        int64_t oldest;
        r = db_number(s, SQL_OLDEST_BATCH, &oldest);
        if (r < 0)
            return r == -ENOENT ? -ENOSPC : r;
        bool acked = (uint64_t)oldest <= spool_row(s, s->state.acked);
        if (!acked && s->config.keep_all)
            return SPOOL_FULL;
        if (!acked && s->disk_short)
            return -ENOSPC; // unlike the cap, a disk may have room again soon
        r = spool_lose(s, (uint64_t)oldest,
                       acked ? "delivered once and dropped from the spool since"
                             : "the spool was full");
        if (r == -ENOENT)
            r = -EUCLEAN; // the index has what the table has not
        if (r == 0)
            r = bound_losses(s);
        if (r < 0)
            return r;
        if (!acked)
            s->evicted++;
    }
}

// --- append, acknowledge, rewind, fork ---

static int append_one(struct spool *s, struct spool_state *state, const struct spool_item *item,
                      int64_t now_ms)
{
    int r = make_room(s, item->size + item->records_size + 512);
    if (r != 0)
        return r;
    const struct wire_header *h = &item->header;
    struct entry e = {
        .row = state->next_seq + state->base,
        .last_row = state->next_seq + state->base,
        .kind = item->payload   ? ENTRY_BATCH
                : item->unknown ? ENTRY_UNKNOWN
                                : ENTRY_LOST,
        .run_id = h->run_id,
        .counters = h->counters,
        .first_ms = h->first_window_ms,
        .last_ms = h->last_window_ms,
        .frames = h->frames,
        .codec = h->codec,
        .spooled_ms = now_ms,
        .records = item->records,
        .records_size = item->records_size,
        .payload = item->payload,
        .size = item->size,
    };
    if (item->payload)
        wire_sha256(item->payload, item->size, e.sha256);
    if (item->reason)
        snprintf(e.reason, sizeof e.reason, "%s", item->reason);
    r = db_entry_put(s, &e);
    if (r < 0)
        return r;
    if (!item->payload)
        s->loss_bytes += item->records_size + 256;
    state->next_seq++;
    state->last_window_ms = MAX(state->last_window_ms, e.last_ms);
    // In the order of capture, not of time: the clock may have been set.
    if (s->config.live && state->live_since_ms != 0 && e.last_ms > 0)
        state->live_since_ms = e.last_ms;
    return 0;
}

static int append_all(struct spool *s, const struct spool_item *items, size_t n, int64_t now_ms)
{
    struct spool_state state = s->state;
    uint64_t evicted = s->evicted;
    uint64_t loss_bytes = s->loss_bytes;
    int r = db_begin(s);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r == 0; i++)
        r = append_one(s, &state, &items[i], now_ms);
    r = state_commit(s, &state, r);
    if (r != 0) {
        s->evicted = evicted;
        s->loss_bytes = loss_bytes;
    } else {
        s->doubted = false;
    }
    return r;
}

int spool_append(struct spool *s, const struct spool_item *items, size_t n, int64_t now_ms)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += items[i].size + items[i].records_size + SPOOL_PAGE_SIZE;
    int r = spool_return_moved(s, now_ms);
    if (r < 0)
        return r;
    s->disk_short = db_disk_is_short(s, bytes);
    r = append_all(s, items, n, now_ms);
    if (r != -ENOSPC || s->disk_short)
        return r;
    s->disk_short = true; // a quota, perhaps: acknowledged batches make room
    return append_all(s, items, n, now_ms);
}

int spool_acked(struct spool *s, uint64_t through, int64_t now_ms)
{
    s->state.acked = MIN(through, s->state.next_seq - 1);
    s->state.last_ack_ms = now_ms;
    s->state_dirty = true;
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_DELIVERED, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)spool_row(s, s->state.acked));
    int step = sqlite3_step(st);
    if (step == SQLITE_ROW)
        s->state.delivered_ms = sqlite3_column_int64(st, 0);
    else if (step != SQLITE_DONE)
        r = db_error(s);
    statement_resetp(&st);
    return r;
}

int spool_sync(struct spool *s)
{
    if (!s->state_dirty)
        return 0;
    struct spool_state state = s->state;
    int r = db_begin(s);
    return r < 0 ? r : state_commit(s, &state, 0);
}

int spool_rewind(struct spool *s, uint64_t through)
{
    s->state.acked = MIN(through, s->state.next_seq - 1);
    s->state_dirty = true;
    return spool_sync(s);
}

static int forked_id(struct spool *s, uint64_t from, uint8_t ret[WIRE_SPOOL_ID_SIZE])
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    struct entry e;
    int r = from < s->state.next_seq ? db_entry_at(s, spool_row(s, from), &e, &st) : -ENOENT;
    if (r == 0)
        spool_id_forked(s->state.spool_id, from, &e, ret);
    else if (r == ENTRY_BROKEN || r == -ENOENT)
        spool_id_new(ret);
    return MIN(r == -ENOENT ? 0 : r, 0);
}

int spool_fork(struct spool *s, uint64_t from)
{
    if (from == 0 || from > s->state.next_seq)
        return -EINVAL;
    struct spool_state state = s->state;
    uint64_t row = spool_row(s, from);
    state.base = row - 1;
    state.next_seq -= from - 1;
    state.acked = 0;
    int r = forked_id(s, from, state.spool_id);
    if (r == 0)
        r = db_begin(s);
    if (r < 0)
        return r;
    sqlite3_stmt *st;
    r = db_statement(s, SQL_RANGE_DELETE, &st);
    if (r == 0) {
        sqlite3_bind_int64(st, 1, INT64_MIN);
        sqlite3_bind_int64(st, 2, (int64_t)row - 1);
        r = db_run(s, st);
    }
    if (r == 0)
        r = db_statement(s, SQL_RANGE_CUT, &st);
    if (r == 0) {
        sqlite3_bind_int64(st, 1, (int64_t)row);
        r = db_run(s, st);
    }
    return state_commit(s, &state, r);
}

// --- opening and closing ---

// Appends a loss of unknown extent, in the caller's transaction.
static int append_unknown(struct spool *s, struct spool_state *state, int64_t first_ms,
                          int64_t now_ms, const char *reason)
{
    struct spool_item item = {
        .header = {.first_window_ms = first_ms, .last_window_ms = MAX(now_ms, first_ms)},
        .unknown = true,
        .reason = reason,
    };
    return append_one(s, state, &item, now_ms);
}

static int mark_live(struct spool *s, int64_t since_ms)
{
    struct spool_state state = s->state;
    state.live_since_ms = since_ms;
    state.cap_bytes = s->config.cap_bytes;
    int r = db_begin(s);
    return r < 0 ? r : state_commit(s, &state, 0);
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

// A new spool, with `lost` as number 1 when something may be missing: all of it or nothing, so that
// no end of the process between can hide the loss.
static int create(struct spool *s, int64_t now_ms, const char *lost)
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
        r = append_unknown(s, &state, 0, now_ms, lost);
    return state_commit(s, &state, r);
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

static int lock(struct spool *s, struct errmsg *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.lock", s->path);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        int r = -errno;
        return errmsg_set(e, r, "spool lock %s: %s", path, strerror(-r));
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return errmsg_set(e, -EBUSY,
                          "spool %s is in use by another hirundo-sensor; stop it, or give this one "
                          "a spool of its own",
                          s->path);
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
    r = fresh ? create(s, now_ms, "the spool file was damaged") : -EBUSY;
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

// That it is live must stand in the file: a log that is damaged or gone leaves the file as it was,
// and must not make it look as if it had been closed.
static void note_live(struct spool *s)
{
    if (s->config.live)
        db_checkpoint(s);
}

static bool file_is_missing(const char *path)
{
    return access(path, F_OK) < 0 && errno == ENOENT;
}

int spool_renew(struct spool *s, int64_t now_ms, struct errmsg *e)
{
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
        note_live(s);
    return r;
}

// What was captured since live_since_ms and not spooled, in the caller's transaction. With a clock
// that was set back nobody knows whether that was before the end or after it: then it may carry
// either time.
static int declare_unclean_end(struct spool *s, struct spool_state *state, int64_t now_ms)
{
    int64_t since = state->live_since_ms;
    if (now_ms >= since)
        return append_unknown(s, state, since, now_ms, "the sensor ended without a clean stop");
    static const char reason[] = "the sensor ended without a clean stop and its clock was set back";
    int r = append_unknown(s, state, since, since + UNSURE_MS, reason);
    return r == 0 ? append_unknown(s, state, MAX(now_ms - UNSURE_MS, 1), now_ms, reason) : r;
}

// What a live run that did not end cleanly had in memory is declared, and this one noted.
static int begin(struct spool *s, int64_t now_ms)
{
    struct spool_state state = s->state;
    int r = db_begin(s);
    if (r < 0)
        return r;
    if (s->config.live && state.live_since_ms != 0)
        r = declare_unclean_end(s, &state, now_ms);
    if (s->config.live)
        state.live_since_ms = now_ms;
    state.cap_bytes = s->config.cap_bytes;
    return state_commit(s, &state, r);
}

// A lock file with a byte in it says that there was a spool before.
static bool had_spool(const struct spool *s)
{
    struct stat st;
    return fstat(s->lock_fd, &st) == 0 && st.st_size > 0;
}

static int open_fresh(struct spool *s, int64_t now_ms, struct errmsg *e)
{
    bool gone = had_spool(s);
    int r = create(s, now_ms, gone ? "the spool file was gone" : NULL);
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

static int open_old(struct spool *s, int64_t now_ms, struct errmsg *e)
{
    int r = spool_load(s);
    if (r == -EUCLEAN) {
        r = set_aside_and_create(s, now_ms, e);
        return r < 0 ? r : SPOOL_RENEWED;
    }
    if (r == 0)
        r = begin(s, now_ms);
    return r < 0 ? errmsg_set(e, r, "spool %s: %s", s->path, strerror(-r)) : 0;
}

static int open_file(struct spool *s, int64_t now_ms, struct errmsg *e)
{
    bool fresh = false;
    int r = file_create(s->path, &fresh, e);
    if (r == 0)
        r = fresh ? open_fresh(s, now_ms, e) : open_old(s, now_ms, e);
    if (r < 0 || ftruncate(s->lock_fd, 1) == 0)
        return r;
    r = -errno;
    return errmsg_set(e, r, "spool lock %s.lock: %s", s->path, strerror(-r));
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
    s->path = strdup(config->path);
    if (!s->path)
        return errmsg_set(e, -ENOMEM, "out of memory");
    s->config.path = s->path;
    spool_make_directory(s->path);
    int r = lock(s, e);
    if (r == 0)
        r = open_file(s, now_ms, e);
    if (r < 0)
        return r;
    note_live(s);
    *ret = s;
    s = NULL;
    return r;
}

int spool_close_clean(struct spool *s)
{
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

const uint8_t *spool_id(const struct spool *s)
{
    return s->state.spool_id;
}

uint64_t spool_acked_through(const struct spool *s)
{
    return s->state.acked;
}

uint64_t spool_next_seq(const struct spool *s)
{
    return s->state.next_seq;
}

uint64_t spool_evicted(const struct spool *s)
{
    return s->evicted;
}
