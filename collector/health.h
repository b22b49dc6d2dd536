// The health thread, with a database connection of its own: writes what sensors report of
// themselves, every few seconds.
#pragma once

#include "collector/heartbeats.h"

struct health_options {
    const char *conninfo;
    struct heartbeats *heartbeats;
};

struct health;
// Starts the thread; the connection is made in it, and made again when it is lost. *options'
// pointers stay the caller's and must outlive it.
int health_start(const struct health_options *options, struct health **ret, struct errmsg *e);
// Writes what is new once more. NULL is nothing.
void health_stop(struct health *h);
