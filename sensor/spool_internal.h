// What spool.c (operations), spool_open.c, spool_db.c (SQLite) and spool_read.c share. Not for
// others.
#pragma once

#include <sqlite3.h>

#include "sensor/spool.h"

#define SPOOL_VERSION   1
#define SEAL_SIZE       16
#define SPOOL_PAGE_SIZE 4096
#define REASON_MAX      WIRE_TEXT_MAX

#define ENTRY_BROKEN 1 // db_entry_at: its seal does not fit; only row and last_row are filled

enum entry_kind { ENTRY_BATCH = 1, ENTRY_LOST = 2, ENTRY_UNKNOWN = 3 };

// One row of table entry; pointers are SQLite's, valid until the statement moves on, or the
// caller's.
struct entry {
    uint64_t row;
    uint64_t last_row; // a batch: row
    enum entry_kind kind;
    uint64_t run_id;
    struct counters counters;
    int64_t first_ms;
    int64_t last_ms;
    uint64_t frames;
    uint32_t codec;
    int64_t spooled_ms;
    // Of the payload; in a loss, of the batch that it was; zero: not known.
    uint8_t sha256[WIRE_SHA256_SIZE];
    char reason[REASON_MAX + 1];
    const uint8_t *records;
    size_t records_size;
    const uint8_t *payload;
    size_t size;
};

enum spool_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_PAGES,
    SQL_FREE_PAGES,
    SQL_STATE_GET,
    SQL_STATE_PUT,
    SQL_NOTE_PUT,
    SQL_NOTE_GET,
    SQL_CLOCK_MAKE,
    SQL_CLOCK_PUT,
    SQL_CLOCK_GET,
    SQL_RECEIPTS_MAKE,
    SQL_RECEIPTS_PUT,
    SQL_RECEIPTS_GET,
    SQL_ENTRY_PUT,
    SQL_ENTRY_AT,
    SQL_ENTRY_PAYLOAD,
    SQL_ENTRY_IS_BATCH,
    SQL_OLDEST_BATCH,
    SQL_LOSS_BYTES,
    SQL_SPAN,
    SQL_RANGE,
    SQL_RANGE_MIDDLE,
    SQL_RANGE_DELETE,
    SQL_RANGE_CUT,
    SQL_WAITING,
    SQL_KEPT,
    SQL_LOST,
    SQL_DELIVERED,
    SQL_MAX,
};

// The guarded part of table spool.
struct spool_state {
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    uint64_t base; // seq + base = row: a fork moves numbers, not rows
    uint64_t next_seq;
    uint64_t acked;
    int64_t last_window_ms;
    int64_t delivered_ms;
    int64_t live_since_ms; // what was captured from here on may be in memory only; 0: ended cleanly
    int64_t last_ack_ms;
    int64_t cap_bytes;
};

// What a replay had read, as the lock file says.
struct spool_reading {
    uint64_t row; // what it spooled has this number of a row and those after it; INT64_MAX: it read
                  // out of order, so that these do not tell how far it came
    int64_t first_ms;
    int64_t last_ms; // 0: nothing that is not in the spool
};

struct spool {
    struct spool_config config;
    char *path;
    int lock_fd;
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_MAX];
    int64_t max_pages;
    bool doubted;     // what was read was wrong once, and the file was found to be sound
    int64_t moved_ms; // when a file that was gone could not be written again; 0: never
    bool disk_short;  // the file may not grow now: only its unused pages are room
    struct spool_state state;
    bool state_dirty;      // state.acked and what goes with it are ahead of the file
    int64_t opened_ms;     // by the wall clock of spool_open
    bool late;             // spool_open could not: no file is open, or it can only be read
    bool had_spool;        // as the lock file says
    int64_t late_since_ms; // likewise: a run before this one captured from then on; 0: none
    struct spool_reading reading;
    bool marked; // late, and the lock file says so
    uint64_t evicted;
    uint64_t loss_bytes; // about: rows and records of losses, against their bound
};

// spool_db.c
int db_error(const struct spool *s);
void spool_id_new(uint8_t ret[WIRE_SPOOL_ID_SIZE]);
// The id of what goes on from number `from` of the spool `old`, which is e. Not random: a machine
// that is set back to before a fork comes to the same id again, so that the collector knows what it
// has.
void spool_id_forked(const uint8_t old[WIRE_SPOOL_ID_SIZE], uint64_t from, const struct entry *e,
                     uint8_t ret[WIRE_SPOOL_ID_SIZE]);
// fresh: the file is new and empty: db_make_tables comes next.
int db_open(struct spool *s, bool fresh);
int db_make_tables(struct spool *s); // in the caller's transaction
// Whether the file system has too little to spare for `bytes` more, in the WAL and in the file. If
// it seems so, what the WAL holds is moved into the file first, which makes its room usable again.
bool db_disk_is_short(struct spool *s, uint64_t bytes);
// What the log holds goes into the file, if the disk allows.
void db_checkpoint(struct spool *s);
void db_close(struct spool *s);
// A statement ready to bind; NULL: *ret_r is set.
int db_statement(struct spool *s, enum spool_sql which, sqlite3_stmt **ret);
// Runs a bound statement to its end and resets it.
int db_run(struct spool *s, sqlite3_stmt *st);
int db_simple(struct spool *s, enum spool_sql which);
int db_number(struct spool *s, enum spool_sql which, int64_t *ret);
int db_begin(struct spool *s);
// Commits when r is 0, else rolls back and returns r.
int db_end(struct spool *s, int r);
int db_state_get(struct spool *s, struct spool_state *ret);
int db_state_put(struct spool *s, const struct spool_state *state);
int db_entry_put(struct spool *s, const struct entry *e);
// The row that covers this number of a row. *ret_statement must be reset by the caller when it is
// done with the pointers. -ENOENT: none.
int db_entry_at(struct spool *s, uint64_t row, struct entry *ret, sqlite3_stmt **ret_statement);
void statement_resetp(sqlite3_stmt **st);

// spool_moved.c
void spool_make_directory(const char *path);
// Where the file is not the open one any more, a copy of the open one takes its place; while that
// cannot be written the open one serves. -EUCLEAN: neither can be used.
int spool_return_moved(struct spool *s, int64_t now_ms);

// spool.c
uint64_t spool_row(const struct spool *s, uint64_t seq);
// In the caller's transaction; *state moves on.
int spool_append_one(struct spool *s, struct spool_state *state, const struct spool_item *item,
                     int64_t now_ms);
// Ends the transaction: with r 0 and the state written it is committed, and is the spool's.
int spool_state_commit(struct spool *s, const struct spool_state *state, int r);
// Makes a batch a declared loss, in the caller's transaction.
int spool_lose(struct spool *s, uint64_t row, const char *reason);

// spool_open.c
int spool_load(struct spool *s);
