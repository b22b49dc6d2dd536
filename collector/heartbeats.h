// What sensors report of themselves: the latest of each, from the listener to the database.
//
// The listener puts them in, the health thread writes what is new every few seconds, many in one
// statement. While the database is away only the latest of each sensor is kept.
#pragma once

#include "collector/db.h"
#include "collector/message.h"

struct heartbeat {
    int16_t sensor_id;
    bool is_new;              // not written yet
    int64_t received_mono_ms; // CLOCK_MONOTONIC
    char peer[PEER_MAX];
    uint64_t run_id;
    struct counters counters;
    struct wire_heartbeat beat;
};

struct heartbeats;
int heartbeats_new(struct heartbeats **ret);
void heartbeats_free(struct heartbeats *h);
DEFINE_CLEANUP(struct heartbeats *, heartbeats_free)

// Any thread. Numbers are cut to what the database's columns and their sums can hold. 0 or -ENOMEM.
int heartbeats_put(struct heartbeats *h, const struct heartbeat *beat);
// Of the sensors heard since then: whose clock is behind this collector's, or ahead of it, by more
// than that, and the median of the differences (the collector's less the sensor's).
struct heartbeats_clocks {
    unsigned heard, behind, ahead;
    int64_t median_ms;
};
void heartbeats_clocks(struct heartbeats *h, int64_t since_mono_ms, int64_t limit_ms,
                       struct heartbeats_clocks *ret);
// Writes what is new. Returns as db_query; what could not be written stays new, unless the database
// refuses it (DB_REFUSED).
int heartbeats_write(struct heartbeats *h, struct db *db, struct errmsg *e);
