// What one collector counts, for Prometheus: added to by any thread, told by metrics_text.
#pragma once

#include <libpq-fe.h>
#include <stdatomic.h>

#include "collector/text.h"
#include "common/wire.h"

#define METRICS_BUCKETS 9 // of the time a commit takes

struct metrics {
    int64_t started_ms;                // wall clock
    atomic_ullong received[WIRE_PING]; // messages by kind, WIRE_BATCH first
    atomic_ullong received_bytes;      // of their payloads
    atomic_ullong cut;                 // connections
    atomic_ullong dropped_memory;      // messages
    atomic_ullong dropped_credit;      // messages
    atomic_uint connections;           // open now, handshake or not
    atomic_ullong batches;             // committed
    atomic_ullong losses;              // loss messages committed
    atomic_ullong quarantined;         // messages
    atomic_ullong rows;                // of flow and flood
    atomic_ullong duplicates, gaps, forks, clones;
    atomic_ullong commits, commit_failures;
    atomic_ullong commit_us;
    atomic_ullong commit_buckets[METRICS_BUCKETS]; // each alone, not cumulative
    atomic_ullong connects;                        // writers' connections to the database
};

struct metrics *metrics_new(void); // NULL: no memory
void metrics_free(struct metrics *m);
DEFINE_CLEANUP(struct metrics *, metrics_free)

static inline void metrics_add(atomic_ullong *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
void metrics_committed(struct metrics *m, int64_t us, size_t rows);

// What else is told, of the moment.
struct metrics_view {
    const struct metrics *metrics;
    size_t n_writers;
    const bool *writers_up;
    uint64_t queue_bytes, queue_limit;
    size_t keys;
    uint64_t refused; // handshakes
    uint64_t failed_handshakes;
    bool paused; // ingest
    struct guard *guard;
    bool clock_known, clock_off; // this collector's own
    int64_t clock_less_database_ms;
    // As the database had it: one row, columns named as their metrics are (metrics.c has the
    // list); a row for each sensor, and for each surge of the last days. NULL: not known. They were
    // read at read_ms.
    const PGresult *database;
    const PGresult *sensors;
    const PGresult *surges;
    int64_t read_ms;
};

// Prometheus' text format, version 0.0.4.
void metrics_text(const struct metrics_view *view, struct text *ret);

// What the three results are read with.
extern const char metrics_database_sql[];
extern const char metrics_sensors_sql[];
extern const char metrics_surges_sql[];
