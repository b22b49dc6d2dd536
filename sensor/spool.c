#include "sensor/spool.h"

#include <errno.h>
#include <string.h>

#include "sensor/spool_internal.h"

#define LOSS_SHARE 16 // declared losses take at most this part of the cap

uint64_t spool_row(const struct spool *s, uint64_t seq)
{
    return seq + s->state.base;
}

int spool_state_commit(struct spool *s, const struct spool_state *state, int r)
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

int spool_append_one(struct spool *s, struct spool_state *state, const struct spool_item *item,
                     int64_t now_ms)
{
    // A replay evicts nothing: what it must declare fits into the pages that are left for that.
    bool spare = s->config.keep_all && !item->payload;
    int r = spare ? 0 : make_room(s, item->size + item->records_size + 512);
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
    else if (!item->unknown && item->records_size > 0)
        wire_sha256(item->records, item->records_size, e.sha256);
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
        state->live_since_ms = item->whole_ms != 0 ? item->whole_ms : e.last_ms;
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
        r = spool_append_one(s, &state, &items[i], now_ms);
    r = spool_state_commit(s, &state, r);
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
    if (s->late)
        return -ENOSPC;
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
    return r < 0 ? r : spool_state_commit(s, &state, 0);
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
    return spool_state_commit(s, &state, r);
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
