// The health thread, with a database connection of its own: writes what sensors report of
// themselves, every few seconds, and reads what the metrics tell of database and sensors. Drives
// the guard of the database's disk.
#pragma once

#include "collector/clock_watch.h"
#include "collector/guard.h"
#include "collector/heartbeats.h"
#include "collector/metrics.h"
#include "common/pulse.h"

struct health_options {
    const char *conninfo;
    struct heartbeats *heartbeats;
    struct guard *guard;
    bool reads; // for the metrics
};

struct health;
// Starts the thread; the connection is made in it, and made again when it is lost. *options'
// pointers stay the caller's and must outlive it.
int health_start(const struct health_options *options, struct health **ret, struct errmsg *e);
// Any thread. Calls use with what was read last in view->database, sensors, surges and read_ms,
// which stay as they are until it returns.
void health_view(struct health *h, struct metrics_view *view,
                 void (*use)(const struct metrics_view *view, void *data), void *data);
// Beaten a few times a second.
const struct pulse *health_pulse(const struct health *h);
// Writes what is new once more. NULL is nothing.
void health_stop(struct health *h);
