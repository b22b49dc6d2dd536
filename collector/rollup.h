// The rollup job: one thread, one database connection. Rolls up what ingest marked as dirty and
// raises new surges, every minute, and drops what is past retention, every hour. Apart from the
// keeper, since a step may take long and a revoked key must not wait for it.
#pragma once

#include <stdatomic.h>

#include "collector/db.h"

#define ROLLUP_TIMEOUT_MS (30 * 60 * 1000) // one step: a day of all sensors at most

struct rollup;
// Starts the thread; the connection is made in it, and made again when it is lost. conninfo and
// paused stay the caller's and must outlive it. While *paused (the database's disk is nearly full)
// nothing is rolled up, and retention is looked after every minute.
int rollup_start(const char *conninfo, const atomic_bool *paused, struct rollup **ret,
                 struct errmsg *e);
// Ends a running step (it begins anew another time). NULL is nothing.
void rollup_stop(struct rollup *j);

// One unit of work in a transaction of its own: *ret is how many marks it worked on, 0: nothing is
// left to do, -1: another session is at it. Returns as db_query.
int rollup_step(struct db *db, int *ret, struct errmsg *e);

// Judges the days that are rolled up anew, each in a transaction of its own, and raises their new
// surges (hirundo.surge_step); `say` gets a line for each. *ret is how many. Returns as db_query.
int rollup_surges(struct db *db, void (*say)(const char *line), int *ret, struct errmsg *e);

struct rollup_dropped {
    int flow_days;
    int64_t rollup_rows;
    int64_t other_rows; // of batch, quarantine, heartbeat_hour
};
// Drops what is past retention or beyond its size; `say` gets a line for each table that lost
// something. Returns as db_query.
int rollup_retention(struct db *db, void (*say)(const char *line), struct rollup_dropped *ret,
                     struct errmsg *e);
