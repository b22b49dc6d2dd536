// The spool's reading side: messages for numbers, status.
#include <errno.h>
#include <string.h>

#include "sensor/spool_internal.h"

#define LOSS_MESSAGE_BYTES (64u * 1024u) // records of the losses that go in one message, about

// --- messages ---

int spool_look(struct spool *s, uint64_t seq, struct spool_entry *ret)
{
    if (seq == 0 || seq >= s->state.next_seq)
        return -ENOENT;
    uint64_t end = spool_row(s, s->state.next_seq);
    uint64_t row = spool_row(s, seq);
    struct spool_entry found = {0};
    for (size_t items = 0; row < end && items < WIRE_LOSS_ITEMS_MAX; items++) {
        _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
        struct entry e;
        int r = db_entry_at(s, row, &e, &st);
        if (r < 0 && r != -ENOENT)
            return r;
        if (r == ENTRY_BROKEN && items == 0) {
            if (!s->doubted)
                return -EUCLEAN;
            r = spool_lose(s, row, "its row in the spool was damaged");
            return r < 0 ? r : spool_look(s, seq, ret);
        }
        if (r != 0) { // behind what was found already, or a hole: the file is not what it was
            if (items == 0)
                return -EUCLEAN;
            break;
        }
        bool loss = e.kind != ENTRY_BATCH;
        if (items > 0 && (!loss || found.bytes + e.records_size > LOSS_MESSAGE_BYTES))
            break;
        if (items == 0)
            found = (struct spool_entry){.first = e.row - s->state.base, .loss = loss};
        found.last = e.last_row - s->state.base;
        found.bytes += loss ? e.records_size + 100 : e.size;
        row = e.last_row + 1;
        if (!loss)
            break;
    }
    *ret = found;
    return 0;
}

static void header_from_entry(const struct spool *s, const struct entry *e, struct wire_header *h)
{
    *h = (struct wire_header){
        .kind = e->kind == ENTRY_BATCH ? WIRE_BATCH : WIRE_LOSS,
        .seq = e->row - s->state.base,
        .run_id = e->run_id,
        .counters = e->counters,
        .first_window_ms = e->first_ms,
        .last_window_ms = e->last_ms,
        .frames = e->frames,
        .codec = e->codec,
        .has_sha256 = true,
    };
    memcpy(h->spool_id, s->state.spool_id, sizeof h->spool_id);
    memcpy(h->sha256, e->sha256, sizeof h->sha256);
}

bool spool_is_batch(struct spool *s, uint64_t seq)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    if (db_statement(s, SQL_ENTRY_IS_BATCH, &st) < 0)
        return false;
    sqlite3_bind_int64(st, 1, (int64_t)spool_row(s, seq));
    return sqlite3_step(st) == SQLITE_ROW;
}

static int read_batch(struct spool *s, const struct entry *e, uint8_t **ret, size_t *ret_size)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    int r = db_statement(s, SQL_ENTRY_PAYLOAD, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)e->row);
    int step = sqlite3_step(st);
    if (step != SQLITE_ROW)
        return step == SQLITE_DONE ? -EAGAIN : db_error(s);
    const void *p = sqlite3_column_blob(st, 0);
    size_t size = p ? (size_t)sqlite3_column_bytes(st, 0) : 0;
    uint8_t digest[WIRE_SHA256_SIZE] = {0};
    if (p && size == e->size)
        wire_sha256(p, size, digest);
    if (!p || memcmp(digest, e->sha256, sizeof digest) != 0) {
        statement_resetp(&st);
        if (!s->doubted)
            return -EUCLEAN; // the disk, perhaps: what a second look finds is believed
        r = spool_lose(s, e->row, "its payload in the spool was damaged");
        return r < 0 ? r : -EAGAIN;
    }
    uint8_t *copy = malloc(size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, p, size);
    *ret = copy;
    *ret_size = size;
    return 0;
}

struct losses {
    struct loss_item *items;
    struct window_record **records;
    size_t n;
};

static void losses_clear(struct losses *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->records[i]);
    free(l->records);
    free(l->items);
}

static int losses_add(struct losses *l, const struct spool *s, const struct entry *e)
{
    struct loss_item *items = realloc(l->items, (l->n + 1) * sizeof *items);
    if (!items)
        return -ENOMEM;
    l->items = items;
    struct window_record **records = realloc(l->records, (l->n + 1) * sizeof *records);
    if (!records)
        return -ENOMEM;
    l->records = records;
    struct loss_item *item = &l->items[l->n];
    *item = (struct loss_item){
        .seq_first = e->row - s->state.base,
        .seq_last = e->last_row - s->state.base,
        .unknown = e->kind == ENTRY_UNKNOWN,
        .first_ms = e->first_ms,
        .last_ms = e->last_ms,
    };
    memcpy(item->reason, e->reason, sizeof item->reason);
    if (!item->unknown)
        memcpy(item->sha256, e->sha256, sizeof item->sha256);
    l->records[l->n] = NULL;
    l->n++;
    if (item->unknown || e->records_size == 0)
        return 0;
    size_t n;
    int r = wire_records_decode(e->records, e->records_size, &l->records[l->n - 1], &n, NULL);
    if (r != 0)
        return r < 0 ? r : -EUCLEAN;
    item->records = l->records[l->n - 1];
    item->n_records = (uint32_t)n;
    return 0;
}

static int read_losses(struct spool *s, uint64_t row, uint64_t last, struct wire_header *h,
                       uint8_t **ret, size_t *ret_size)
{
    _cleanup_(losses_clear) struct losses l = {0};
    while (row <= last) {
        _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
        struct entry e;
        int r = db_entry_at(s, row, &e, &st);
        if (r != 0 || e.kind == ENTRY_BATCH)
            return r < 0 ? r : -EAGAIN;
        r = losses_add(&l, s, &e);
        if (r < 0)
            return r;
        if (l.n > 1 && e.first_ms < h->first_window_ms && e.first_ms != 0)
            h->first_window_ms = e.first_ms;
        h->last_window_ms = MAX(h->last_window_ms, e.last_ms);
        if (l.n > 1)
            h->frames += e.frames;
        h->run_id = e.run_id;
        h->counters = e.counters;
        row = e.last_row + 1;
    }
    return wire_loss_encode(l.items, l.n, ret, ret_size);
}

int spool_read(struct spool *s, uint64_t first, uint64_t last, struct wire_header *ret_header,
               uint8_t **ret_payload, size_t *ret_size)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    struct entry e;
    int r = db_entry_at(s, spool_row(s, first), &e, &st);
    if (r == ENTRY_BROKEN || r == -ENOENT)
        return -EAGAIN;
    if (r < 0)
        return r;
    struct wire_header h;
    header_from_entry(s, &e, &h);
    statement_resetp(&st);
    bool batch = e.kind == ENTRY_BATCH;
    e.records = NULL;
    if (batch && first != last)
        return -EAGAIN;
    if (batch)
        r = read_batch(s, &e, ret_payload, ret_size);
    else
        r = read_losses(s, e.row, spool_row(s, last), &h, ret_payload, ret_size);
    if (r < 0)
        return r;
    if (!batch)
        wire_sha256(*ret_payload, *ret_size, h.sha256);
    *ret_header = h;
    return 0;
}

// --- status ---

static int status_waiting(struct spool *s, struct spool_status *ret)
{
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_WAITING, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)spool_row(s, ret->acked_through));
    if (sqlite3_step(st) == SQLITE_ROW) {
        ret->waiting = (uint64_t)sqlite3_column_int64(st, 0);
        ret->waiting_bytes = (uint64_t)sqlite3_column_int64(st, 1);
        ret->oldest_ms = sqlite3_column_int64(st, 2);
    }
    statement_resetp(&st);
    r = db_statement(s, SQL_LOST, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)spool_row(s, ret->acked_through));
    if (sqlite3_step(st) == SQLITE_ROW) {
        ret->lost = (uint64_t)sqlite3_column_int64(st, 0);
        int64_t oldest = sqlite3_column_int64(st, 1);
        if (oldest != 0 && (ret->oldest_ms == 0 || oldest < ret->oldest_ms))
            ret->oldest_ms = oldest;
    }
    statement_resetp(&st);
    r = db_statement(s, SQL_KEPT, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)spool_row(s, ret->acked_through));
    if (sqlite3_step(st) == SQLITE_ROW)
        ret->kept = (uint64_t)sqlite3_column_int64(st, 0);
    statement_resetp(&st);
    return 0;
}

static int status_note(struct spool *s, struct spool_status *ret)
{
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_NOTE_GET, &st);
    if (r < 0)
        return r;
    if (sqlite3_step(st) == SQLITE_ROW) {
        const unsigned char *peer = sqlite3_column_text(st, 0);
        const unsigned char *error = sqlite3_column_text(st, 1);
        snprintf(ret->peer, sizeof ret->peer, "%s", peer ? (const char *)peer : "");
        snprintf(ret->last_error, sizeof ret->last_error, "%s", error ? (const char *)error : "");
        ret->error_ms = sqlite3_column_int64(st, 2);
    }
    statement_resetp(&st);
    return 0;
}

static void status_clock(struct spool *s, struct spool_status *ret)
{
    sqlite3_stmt *st;
    if (db_statement(s, SQL_CLOCK_GET, &st) < 0)
        return; // no such table yet
    if (sqlite3_step(st) == SQLITE_ROW) {
        ret->clock_offset_ms = sqlite3_column_int64(st, 0);
        ret->round_trip_ms = sqlite3_column_int64(st, 1);
        ret->clock_ms = sqlite3_column_int64(st, 2);
    }
    statement_resetp(&st);
}

static void status_receipts(struct spool *s, struct spool_status *ret)
{
    sqlite3_stmt *st;
    if (db_statement(s, SQL_RECEIPTS_GET, &st) < 0)
        return; // no such table yet
    if (sqlite3_step(st) == SQLITE_ROW) {
        const unsigned char *reason = sqlite3_column_text(st, 6);
        ret->has_receipts = true;
        ret->receipts = (struct spool_receipts){
            .frames = (uint64_t)sqlite3_column_int64(st, 0),
            .seen_ms = sqlite3_column_int64(st, 1),
            .taken_seq = (uint64_t)sqlite3_column_int64(st, 2),
            .taken_ms = sqlite3_column_int64(st, 3),
            .aside_seq = (uint64_t)sqlite3_column_int64(st, 4),
            .aside_ms = sqlite3_column_int64(st, 5),
        };
        snprintf(ret->receipts.aside_reason, sizeof ret->receipts.aside_reason, "%s",
                 reason ? (const char *)reason : "");
    }
    statement_resetp(&st);
}

int spool_status(struct spool *s, struct spool_status *ret)
{
    struct spool_status status = {
        .next_seq = s->state.next_seq,
        .acked_through = s->state.acked,
        .cap_bytes = s->state.cap_bytes,
        .last_window_ms = s->state.last_window_ms,
        .delivered_ms = s->state.delivered_ms,
        .last_ack_ms = s->state.last_ack_ms,
        .live = s->state.live_since_ms != 0,
    };
    memcpy(status.spool_id, s->state.spool_id, sizeof status.spool_id);
    int64_t pages = 0;
    int64_t unused = 0;
    int r = db_number(s, SQL_PAGES, &pages);
    if (r == 0)
        r = db_number(s, SQL_FREE_PAGES, &unused);
    if (r == 0)
        r = status_waiting(s, &status);
    if (r == 0)
        r = status_note(s, &status);
    if (r < 0)
        return r;
    status_clock(s, &status);
    status_receipts(s, &status);
    status.used_bytes = (uint64_t)(pages - unused) * SPOOL_PAGE_SIZE;
    *ret = status;
    return 0;
}

void spool_note(struct spool *s, const char *peer, const char *last_error, int64_t now_ms)
{
    sqlite3_stmt *st;
    if (db_statement(s, SQL_NOTE_PUT, &st) < 0)
        return;
    sqlite3_bind_text(st, 1, peer, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, last_error, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, now_ms);
    (void)db_run(s, st);
}

void spool_note_clock(struct spool *s, int64_t offset_ms, int64_t round_trip_ms, int64_t now_ms)
{
    sqlite3_stmt *st;
    if (db_statement(s, SQL_CLOCK_PUT, &st) < 0 &&
        (db_simple(s, SQL_CLOCK_MAKE) < 0 || db_statement(s, SQL_CLOCK_PUT, &st) < 0))
        return;
    sqlite3_bind_int64(st, 1, offset_ms);
    sqlite3_bind_int64(st, 2, round_trip_ms);
    sqlite3_bind_int64(st, 3, now_ms);
    (void)db_run(s, st);
}

void spool_note_receipts(struct spool *s, const struct spool_receipts *receipts)
{
    sqlite3_stmt *st;
    if (db_statement(s, SQL_RECEIPTS_PUT, &st) < 0 &&
        (db_simple(s, SQL_RECEIPTS_MAKE) < 0 || db_statement(s, SQL_RECEIPTS_PUT, &st) < 0))
        return;
    sqlite3_bind_int64(st, 1, (int64_t)receipts->frames);
    sqlite3_bind_int64(st, 2, receipts->seen_ms);
    sqlite3_bind_int64(st, 3, (int64_t)receipts->taken_seq);
    sqlite3_bind_int64(st, 4, receipts->taken_ms);
    sqlite3_bind_int64(st, 5, (int64_t)receipts->aside_seq);
    sqlite3_bind_int64(st, 6, receipts->aside_ms);
    sqlite3_bind_text(st, 7, receipts->aside_reason, -1, SQLITE_STATIC);
    (void)db_run(s, st);
}

// A file: URI that says immutable: needed where the directory cannot be written to.
static int uri(const char *path, char *ret, size_t size)
{
    size_t used = (size_t)snprintf(ret, size, "file:");
    for (; *path; path++) {
        bool plain = (*path >= '0' && *path <= '9') || (*path >= 'a' && *path <= 'z') ||
                     (*path >= 'A' && *path <= 'Z') || strchr("/._-~", *path);
        if (used + 24 > size)
            return -ENAMETOOLONG;
        used += (size_t)snprintf(ret + used, size - used, plain ? "%c" : "%%%02X",
                                 (unsigned char)*path);
    }
    snprintf(ret + used, size - used, "?immutable=1");
    return 0;
}

static int open_read_only(struct spool *s, const char *name, int flags)
{
    if (sqlite3_open_v2(name, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | flags, NULL) !=
        SQLITE_OK)
        return s->db ? db_error(s) : -ENOMEM;
    sqlite3_busy_timeout(s->db, 2000);
    return db_state_get(s, &s->state);
}

int spool_status_read(const char *path, struct spool_status *ret, struct errmsg *e)
{
    if (access(path, F_OK) < 0)
        return errmsg_set(e, -errno, "spool %s: %s", path, strerror(errno));
    struct spool s = {.lock_fd = -1};
    int r = open_read_only(&s, path, 0);
    char name[4096 * 3];
    if ((r == -EIO || r == -EROFS) && uri(path, name, sizeof name) == 0) {
        db_close(&s);
        r = open_read_only(&s, name, SQLITE_OPEN_URI);
    }
    if (r == 0)
        r = spool_status(&s, ret);
    db_close(&s);
    if (r == -EUCLEAN)
        return errmsg_set(e, r, "spool %s is damaged; run sets it aside and begins a new one",
                          path);
    return r < 0 ? errmsg_set(e, r, "spool %s: %s", path, strerror(-r)) : 0;
}
