// The database of a simulation: what hirundo.ledger, hirundo.batch and hirundo.loss would hold.
//
// A transaction takes the ledger rows it moves one by one in key order and holds them until its
// end; another transaction that wants one of them waits. Its rows are seen by nobody before its
// commit. tests/sim/test_ledger.py holds all this to PostgreSQL and the collector's own statements.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/util.h"

// ROW_KNOWN: the same content is there under another spool of the sensor.
enum row_kind { ROW_NONE, ROW_COMMITTED, ROW_LOST, ROW_UNKNOWN, ROW_KNOWN };

// What the table `batch` (and for losses `loss`) says about a number.
struct row {
    enum row_kind kind;
    uint32_t content; // committed, lost, known: which batch of the sensor
    int64_t lo, hi;   // its windows: (lo, hi], ms
};

struct ledger_stream {
    uint32_t spool;
    bool exists; // false: only a place for its lock
    uint64_t next_seq;
    int64_t last_window;
    uint64_t commit;  // which one moved it last
    struct row *rows; // of number i at i - 1
    size_t room;
    uint32_t locked_by; // transaction, 0: none
};

struct ledger_sensor {
    struct ledger_stream *streams;
    size_t n;
    uint32_t *holders; // of content i at i - 1: the spool under which it is committed or lost
    size_t n_holders;
};

struct ledger {
    struct ledger_sensor *sensors;
    uint32_t n_sensors;
    uint64_t commits;
};

int ledger_new(uint32_t n_sensors, struct ledger **ret);
void ledger_free(struct ledger *l);
DEFINE_CLEANUP(struct ledger *, ledger_free)
// What a backup would hold: without locks.
int ledger_copy(const struct ledger *l, struct ledger **ret);

// NULL: there is none.
struct ledger_stream *ledger_find(const struct ledger *l, uint32_t sensor, uint32_t spool);
uint64_t ledger_next_seq(const struct ledger *l, uint32_t sensor, uint32_t spool);
// End of the window that was delivered last over all of a sensor's spools, 0: none. Where that is
// not before the loss that ends at `until`: 20 minutes before it.
int64_t ledger_last_window(const struct ledger *l, uint32_t sensor, int64_t until);
// NULL: nothing is kept for that number.
const struct row *ledger_row(const struct ledger *l, uint32_t sensor, uint32_t spool, uint64_t seq);

// Whether the sensor has that content under another spool.
bool ledger_knows(const struct ledger *l, uint32_t sensor, uint32_t spool, uint32_t content);

// One transaction. Moves must be added in key order.
struct ledger_move {
    uint32_t sensor, spool;
    uint64_t from, next;
    int64_t last_window;
    bool advanced; // after tx_upsert
};

struct tx_row {
    uint32_t sensor, spool;
    uint64_t seq;
    struct row row;
};

struct tx {
    uint32_t id; // not 0
    struct ledger_move *moves;
    size_t n_moves, room_moves;
    size_t n_locked;
    struct tx_row *rows;
    size_t n_rows, room_rows;
};

#define TX_WAIT  1 // another transaction holds a row
#define TX_STALE 2 // some row was not where the move begins: `advanced` says which were

void tx_clear(struct tx *t);
void tx_release(struct tx *t);
int tx_add_move(struct tx *t, struct ledger_move move);
int tx_add_row(struct tx *t, struct tx_row row);
// The conditional upsert; after TX_WAIT call again.
int tx_upsert(struct tx *t, struct ledger *l);
int tx_commit(struct tx *t, struct ledger *l);
void tx_rollback(struct tx *t, struct ledger *l);
