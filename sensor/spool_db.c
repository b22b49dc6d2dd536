// The spool's SQLite file: opening, statements, rows with their seals.
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "sensor/spool_internal.h"

#define DISK_SPARE  (128 * 1024) // bytes left free on the disk, for noting acks and losses
#define SPARE_PAGES 24           // of the cap, for the tables' own pages and for marking losses

// A seal is a keyless BLAKE2b over a row's fields: SQLite does not notice a flipped bit in a value.
static const char schema[] =
    "CREATE TABLE spool("
    " id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, spool_id BLOB NOT NULL,"
    " base INTEGER NOT NULL, next_seq INTEGER NOT NULL, acked INTEGER NOT NULL,"
    " last_window_ms INTEGER NOT NULL, delivered_ms INTEGER NOT NULL, live_since_ms INTEGER NOT "
    "NULL, seal BLOB NOT NULL,"
    " last_ack_ms INTEGER NOT NULL, cap_bytes INTEGER NOT NULL);"
    "CREATE TABLE note("
    " id INTEGER PRIMARY KEY CHECK (id = 1), peer TEXT, last_error TEXT, error_ms INTEGER);"
    "CREATE TABLE entry("
    " row INTEGER PRIMARY KEY, last_row INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " run_id INTEGER NOT NULL, counters BLOB NOT NULL, first_ms INTEGER NOT NULL,"
    " last_ms INTEGER NOT NULL, frames INTEGER NOT NULL, codec INTEGER NOT NULL,"
    " spooled_ms INTEGER NOT NULL, sha256 BLOB NOT NULL, reason TEXT NOT NULL, size INTEGER NOT "
    "NULL,"
    " seal BLOB NOT NULL, records BLOB NOT NULL, payload BLOB);"
    "CREATE INDEX entry_batch ON entry(row, size, spooled_ms) WHERE kind = 1;"
    "CREATE INDEX entry_loss ON entry(row, spooled_ms) WHERE kind <> 1;";

static const char *const statements[SQL_MAX] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_PAGES] = "PRAGMA page_count",
    [SQL_FREE_PAGES] = "PRAGMA freelist_count",
    [SQL_STATE_GET] = "SELECT spool_id, next_seq, acked, last_window_ms, delivered_ms,"
                      " live_since_ms, seal, last_ack_ms, cap_bytes, version, base"
                      " FROM spool WHERE id = 1",
    [SQL_STATE_PUT] = "INSERT OR REPLACE INTO spool(id, spool_id, next_seq, acked,"
                      " last_window_ms, delivered_ms, live_since_ms, seal, last_ack_ms,"
                      " cap_bytes, version, base)"
                      " VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_NOTE_PUT] = "INSERT OR REPLACE INTO note(id, peer, last_error, error_ms)"
                     " VALUES (1, ?1, ?2, ?3)",
    [SQL_NOTE_GET] = "SELECT peer, last_error, error_ms FROM note WHERE id = 1",
    // Made when there is something to note: spools of earlier versions have no such table.
    [SQL_CLOCK_MAKE] = "CREATE TABLE IF NOT EXISTS clock("
                       " id INTEGER PRIMARY KEY CHECK (id = 1), offset_ms INTEGER,"
                       " round_trip_ms INTEGER, at_ms INTEGER)",
    [SQL_CLOCK_PUT] = "INSERT OR REPLACE INTO clock(id, offset_ms, round_trip_ms, at_ms)"
                      " VALUES (1, ?1, ?2, ?3)",
    [SQL_CLOCK_GET] = "SELECT offset_ms, round_trip_ms, at_ms FROM clock WHERE id = 1",
    // Likewise.
    [SQL_RECEIPTS_MAKE] =
        "CREATE TABLE IF NOT EXISTS receipts("
        " id INTEGER PRIMARY KEY CHECK (id = 1), frames INTEGER, seen_ms INTEGER,"
        " taken_seq INTEGER, taken_ms INTEGER, aside_seq INTEGER, aside_ms INTEGER,"
        " aside_reason TEXT)",
    [SQL_RECEIPTS_PUT] = "INSERT OR REPLACE INTO receipts(id, frames, seen_ms, taken_seq, taken_ms,"
                         " aside_seq, aside_ms, aside_reason)"
                         " VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_RECEIPTS_GET] = "SELECT frames, seen_ms, taken_seq, taken_ms, aside_seq, aside_ms,"
                         " aside_reason FROM receipts WHERE id = 1",
    [SQL_ENTRY_PUT] = "INSERT OR REPLACE INTO entry(row, last_row, kind, run_id, counters,"
                      " first_ms, last_ms, frames, codec, spooled_ms, sha256, reason, size, seal,"
                      " records, payload)"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
                      " ?16)",
    [SQL_ENTRY_AT] = "SELECT row, last_row, kind, run_id, counters, first_ms, last_ms, frames,"
                     " codec, spooled_ms, sha256, reason, size, seal, records"
                     " FROM entry WHERE row <= ?1 ORDER BY row DESC LIMIT 1",
    [SQL_ENTRY_PAYLOAD] = "SELECT payload FROM entry WHERE row = ?1",
    [SQL_ENTRY_IS_BATCH] = "SELECT 1 FROM entry WHERE row = ?1 AND kind = 1",
    [SQL_OLDEST_BATCH] = "SELECT row FROM entry WHERE kind = 1 ORDER BY row LIMIT 1",
    [SQL_LOSS_BYTES] = "SELECT coalesce(sum(length(records) + 256), 0) FROM entry"
                       " WHERE kind <> 1",
    [SQL_SPAN] = "SELECT coalesce(min(row), 0), coalesce(max(last_row), 0),"
                 " coalesce(sum(last_row - row + 1), 0) FROM entry",
    [SQL_RANGE] = "SELECT count(*), min(first_ms), max(last_ms),"
                  " sum(frames), min(row) FROM entry WHERE row >= ?1 AND last_row <= ?2",
    [SQL_RANGE_MIDDLE] = "SELECT last_row FROM entry WHERE row >= ?1 AND last_row <= ?2"
                         " ORDER BY row LIMIT 1 OFFSET ?3",
    [SQL_RANGE_DELETE] = "DELETE FROM entry WHERE row >= ?1 AND last_row <= ?2",
    [SQL_RANGE_CUT] = "UPDATE entry SET row = ?1 WHERE row < ?1 AND last_row >= ?1",
    [SQL_WAITING] = "SELECT count(*), coalesce(sum(size), 0), coalesce(min(spooled_ms), 0)"
                    " FROM entry WHERE kind = 1 AND row > ?1",
    [SQL_KEPT] = "SELECT count(*) FROM entry WHERE kind = 1 AND row <= ?1",
    [SQL_LOST] = "SELECT count(*), coalesce(min(spooled_ms), 0) FROM entry"
                 " WHERE kind <> 1 AND row > ?1",
    [SQL_DELIVERED] = "SELECT last_ms FROM entry WHERE row <= ?1 AND kind = 1"
                      " ORDER BY row DESC LIMIT 1",
};

int db_error(const struct spool *s)
{
    switch (sqlite3_errcode(s->db) & 0xff) {
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: // our statements are constant: the schema is not what we made
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG:
        return -EUCLEAN;
    default: // none of them means that what has failed went well
        return -EIO;
    }
}

void statement_resetp(sqlite3_stmt **st)
{
    if (*st) {
        sqlite3_reset(*st);
        sqlite3_clear_bindings(*st);
    }
}

int db_statement(struct spool *s, enum spool_sql which, sqlite3_stmt **ret)
{
    if (!s->db)
        return -EUCLEAN; // a renewal failed half way: it must be tried again
    if (!s->sql[which] &&
        sqlite3_prepare_v3(s->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, &s->sql[which],
                           NULL) != SQLITE_OK)
        return db_error(s);
    *ret = s->sql[which];
    return 0;
}

int db_run(struct spool *s, sqlite3_stmt *st)
{
    int r = 0;
    int step;
    do
        step = sqlite3_step(st);
    while (step == SQLITE_ROW);
    if (step != SQLITE_DONE)
        r = db_error(s);
    statement_resetp(&st);
    return r;
}

int db_simple(struct spool *s, enum spool_sql which)
{
    sqlite3_stmt *st = NULL;
    int r = db_statement(s, which, &st);
    return r < 0 ? r : db_run(s, st);
}

int db_number(struct spool *s, enum spool_sql which, int64_t *ret)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    int r = db_statement(s, which, &st);
    if (r < 0)
        return r;
    int step = sqlite3_step(st);
    if (step == SQLITE_DONE)
        return -ENOENT;
    if (step != SQLITE_ROW)
        return db_error(s);
    *ret = sqlite3_column_int64(st, 0);
    return 0;
}

int db_begin(struct spool *s)
{
    return db_simple(s, SQL_BEGIN);
}

int db_end(struct spool *s, int r)
{
    if (r == 0)
        r = db_simple(s, SQL_COMMIT);
    if (r != 0 && !sqlite3_get_autocommit(s->db))
        (void)db_simple(s, SQL_ROLLBACK);
    return r;
}

static void seal_state(const struct spool_state *state, uint8_t ret[SEAL_SIZE])
{
    uint64_t values[] = {SPOOL_VERSION,
                         state->base,
                         state->next_seq,
                         state->acked,
                         (uint64_t)state->last_window_ms,
                         (uint64_t)state->delivered_ms,
                         (uint64_t)state->live_since_ms};
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, SEAL_SIZE);
    crypto_generichash_update(&h, state->spool_id, sizeof state->spool_id);
    crypto_generichash_update(&h, (const uint8_t *)values, sizeof values);
    crypto_generichash_final(&h, ret, SEAL_SIZE);
}

// row is left out: a fork may cut a range.
static void seal_entry(const struct entry *e, uint8_t ret[SEAL_SIZE])
{
    uint64_t values[] = {e->last_row,          (uint64_t)e->kind, e->run_id, (uint64_t)e->first_ms,
                         (uint64_t)e->last_ms, e->frames,         e->codec,  e->size,
                         e->records_size};
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, SEAL_SIZE);
    crypto_generichash_update(&h, (const uint8_t *)values, sizeof values);
    crypto_generichash_update(&h, (const uint8_t *)&e->counters, sizeof e->counters);
    crypto_generichash_update(&h, e->sha256, sizeof e->sha256);
    crypto_generichash_update(&h, (const uint8_t *)e->reason, strlen(e->reason));
    if (e->records_size > 0)
        crypto_generichash_update(&h, e->records, e->records_size);
    crypto_generichash_final(&h, ret, SEAL_SIZE);
}

static bool column_copy(sqlite3_stmt *st, int column, void *to, size_t size)
{
    const void *p = sqlite3_column_blob(st, column);
    if (!p || sqlite3_column_bytes(st, column) != (int)size)
        return false;
    memcpy(to, p, size);
    return true;
}

int db_state_get(struct spool *s, struct spool_state *ret)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    int r = db_statement(s, SQL_STATE_GET, &st);
    if (r < 0)
        return r;
    int step = sqlite3_step(st);
    if (step == SQLITE_DONE)
        return -EUCLEAN;
    if (step != SQLITE_ROW)
        return db_error(s);
    struct spool_state state = {
        .next_seq = (uint64_t)sqlite3_column_int64(st, 1),
        .acked = (uint64_t)sqlite3_column_int64(st, 2),
        .last_window_ms = sqlite3_column_int64(st, 3),
        .delivered_ms = sqlite3_column_int64(st, 4),
        .live_since_ms = sqlite3_column_int64(st, 5),
        .last_ack_ms = sqlite3_column_int64(st, 7),
        .cap_bytes = sqlite3_column_int64(st, 8),
        .base = (uint64_t)sqlite3_column_int64(st, 10),
    };
    uint8_t seal[SEAL_SIZE];
    uint8_t want[SEAL_SIZE];
    if (sqlite3_column_int64(st, 9) != SPOOL_VERSION ||
        !column_copy(st, 0, state.spool_id, sizeof state.spool_id) ||
        !column_copy(st, 6, seal, sizeof seal))
        return -EUCLEAN;
    seal_state(&state, want);
    if (memcmp(seal, want, sizeof seal) != 0 || state.next_seq <= state.acked)
        return -EUCLEAN;
    *ret = state;
    return 0;
}

int db_state_put(struct spool *s, const struct spool_state *state)
{
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_STATE_PUT, &st);
    if (r < 0)
        return r;
    uint8_t seal[SEAL_SIZE];
    seal_state(state, seal);
    sqlite3_bind_blob(st, 1, state->spool_id, sizeof state->spool_id, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, (int64_t)state->next_seq);
    sqlite3_bind_int64(st, 3, (int64_t)state->acked);
    sqlite3_bind_int64(st, 4, state->last_window_ms);
    sqlite3_bind_int64(st, 5, state->delivered_ms);
    sqlite3_bind_int64(st, 6, state->live_since_ms);
    sqlite3_bind_blob(st, 7, seal, sizeof seal, SQLITE_STATIC);
    sqlite3_bind_int64(st, 8, state->last_ack_ms);
    sqlite3_bind_int64(st, 9, state->cap_bytes);
    sqlite3_bind_int64(st, 10, SPOOL_VERSION);
    sqlite3_bind_int64(st, 11, (int64_t)state->base);
    return db_run(s, st);
}

int db_entry_put(struct spool *s, const struct entry *e)
{
    sqlite3_stmt *st;
    int r = db_statement(s, SQL_ENTRY_PUT, &st);
    if (r < 0)
        return r;
    uint8_t seal[SEAL_SIZE];
    seal_entry(e, seal);
    sqlite3_bind_int64(st, 1, (int64_t)e->row);
    sqlite3_bind_int64(st, 2, (int64_t)e->last_row);
    sqlite3_bind_int(st, 3, (int)e->kind);
    sqlite3_bind_int64(st, 4, (int64_t)e->run_id);
    sqlite3_bind_blob(st, 5, &e->counters, sizeof e->counters, SQLITE_STATIC);
    sqlite3_bind_int64(st, 6, e->first_ms);
    sqlite3_bind_int64(st, 7, e->last_ms);
    sqlite3_bind_int64(st, 8, (int64_t)e->frames);
    sqlite3_bind_int64(st, 9, e->codec);
    sqlite3_bind_int64(st, 10, e->spooled_ms);
    sqlite3_bind_blob(st, 11, e->sha256, sizeof e->sha256, SQLITE_STATIC);
    sqlite3_bind_text(st, 12, e->reason, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 13, (int64_t)e->size);
    sqlite3_bind_blob(st, 14, seal, sizeof seal, SQLITE_STATIC);
    sqlite3_bind_blob(st, 15, e->records_size > 0 ? (const void *)e->records : "",
                      (int)e->records_size, SQLITE_STATIC);
    if (e->payload)
        sqlite3_bind_blob(st, 16, e->payload, (int)e->size, SQLITE_STATIC);
    return db_run(s, st);
}

// Fills *ret from a row; false: not as it was written.
static bool entry_from_row(sqlite3_stmt *st, struct entry *ret)
{
    ret->kind = (enum entry_kind)sqlite3_column_int(st, 2);
    ret->run_id = (uint64_t)sqlite3_column_int64(st, 3);
    ret->first_ms = sqlite3_column_int64(st, 5);
    ret->last_ms = sqlite3_column_int64(st, 6);
    ret->frames = (uint64_t)sqlite3_column_int64(st, 7);
    ret->codec = (uint32_t)sqlite3_column_int64(st, 8);
    ret->spooled_ms = sqlite3_column_int64(st, 9);
    const unsigned char *reason = sqlite3_column_text(st, 11);
    snprintf(ret->reason, sizeof ret->reason, "%s", reason ? (const char *)reason : "");
    ret->size = (size_t)sqlite3_column_int64(st, 12);
    ret->records = sqlite3_column_blob(st, 14);
    ret->records_size = ret->records ? (size_t)sqlite3_column_bytes(st, 14) : 0;
    uint8_t seal[SEAL_SIZE];
    uint8_t want[SEAL_SIZE];
    if (!column_copy(st, 4, &ret->counters, sizeof ret->counters) ||
        !column_copy(st, 10, ret->sha256, sizeof ret->sha256) ||
        !column_copy(st, 13, seal, sizeof seal) || ret->size > BATCH_PAYLOAD_MAX)
        return false;
    seal_entry(ret, want);
    return memcmp(seal, want, sizeof seal) == 0 &&
           (ret->kind == ENTRY_UNKNOWN || ret->row == ret->last_row);
}

int db_entry_at(struct spool *s, uint64_t row, struct entry *ret, sqlite3_stmt **ret_statement)
{
    _cleanup_(statement_resetp) sqlite3_stmt *st = NULL;
    int r = db_statement(s, SQL_ENTRY_AT, &st);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)row);
    int step = sqlite3_step(st);
    if (step == SQLITE_DONE)
        return -ENOENT;
    if (step != SQLITE_ROW)
        return db_error(s);
    *ret = (struct entry){.row = (uint64_t)sqlite3_column_int64(st, 0),
                          .last_row = (uint64_t)sqlite3_column_int64(st, 1)};
    if (ret->last_row < row)
        return -ENOENT;
    if (!entry_from_row(st, ret))
        return ENTRY_BROKEN;
    *ret_statement = st;
    st = NULL;
    return 0;
}

static int exec(struct spool *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(s);
}

// First column of the first row, as text, equals want?
static int pragma_is(struct spool *s, const char *sql, const char *want)
{
    sqlite3_stmt *st;
    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK)
        return db_error(s);
    int r = 0;
    if (sqlite3_step(st) != SQLITE_ROW)
        r = db_error(s);
    else if (strcmp((const char *)sqlite3_column_text(st, 0), want) != 0)
        r = -EUCLEAN;
    sqlite3_finalize(st);
    return r;
}

void spool_id_new(uint8_t ret[WIRE_SPOOL_ID_SIZE])
{
    randombytes_buf(ret, WIRE_SPOOL_ID_SIZE);
}

void spool_id_forked(const uint8_t old[WIRE_SPOOL_ID_SIZE], uint64_t from, const struct entry *e,
                     uint8_t ret[WIRE_SPOOL_ID_SIZE])
{
    uint64_t values[] = {from, (uint64_t)e->kind, e->last_row - e->row, (uint64_t)e->first_ms,
                         (uint64_t)e->last_ms};
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, WIRE_SPOOL_ID_SIZE);
    crypto_generichash_update(&h, old, WIRE_SPOOL_ID_SIZE);
    crypto_generichash_update(&h, (const uint8_t *)values, sizeof values);
    crypto_generichash_update(&h, e->sha256, sizeof e->sha256);
    crypto_generichash_final(&h, ret, WIRE_SPOOL_ID_SIZE);
}

int db_make_tables(struct spool *s)
{
    return exec(s, schema);
}

int db_open(struct spool *s, bool fresh)
{
    if (sodium_init() < 0)
        return -EIO;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
        return s->db ? db_error(s) : -ENOMEM;
    sqlite3_busy_timeout(s->db, 2000); // `status` and its checkpoint, not another writer
    sqlite3_extended_result_codes(s->db, 1);
    // Not quick_check: that does not compare the indexes with the table.
    int r = fresh ? exec(s, "PRAGMA page_size = 4096")
                  : pragma_is(s, "PRAGMA integrity_check(1)", "ok");
    if (r == 0)
        r = pragma_is(s, "PRAGMA journal_mode = WAL", "wal");
    if (r == 0)
        r = exec(s, "PRAGMA synchronous = FULL; PRAGMA cache_size = -512;"
                    "PRAGMA wal_autocheckpoint = 512; PRAGMA journal_size_limit = 4194304;"
                    "PRAGMA temp_store = MEMORY");
    s->max_pages = s->config.cap_bytes / SPOOL_PAGE_SIZE - SPARE_PAGES;
    char limit[64];
    snprintf(limit, sizeof limit, "PRAGMA max_page_count = %lld",
             (long long)(s->config.cap_bytes / SPOOL_PAGE_SIZE));
    return r == 0 ? exec(s, limit) : r;
}

void db_checkpoint(struct spool *s)
{
    (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

static int64_t wal_size(const struct spool *s)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s-wal", s->path);
    return stat(path, &st) < 0 ? 0 : st.st_size;
}

bool db_disk_is_short(struct spool *s, uint64_t bytes)
{
    struct statvfs disk;
    if (!s->db || statvfs(s->path, &disk) < 0)
        return false; // the write itself will tell
    int64_t need = (int64_t)bytes * 2 + DISK_SPARE;
    if ((int64_t)(disk.f_bavail * disk.f_frsize) - wal_size(s) >= need)
        return false;
    int frames = -1;
    int moved = -1;
    if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_RESTART, &frames, &moved) !=
            SQLITE_OK ||
        frames != moved || statvfs(s->path, &disk) < 0)
        return true;
    return (int64_t)(disk.f_bavail * disk.f_frsize) + MIN(wal_size(s), (int64_t)bytes) < need;
}

void db_close(struct spool *s)
{
    for (size_t i = 0; i < SQL_MAX; i++) {
        sqlite3_finalize(s->sql[i]);
        s->sql[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
}
