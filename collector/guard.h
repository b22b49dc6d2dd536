// Stops ingest before the database's disk is full: PostgreSQL that finds no room for its log ends
// itself, and may not start again without help.
//
// Two things are watched: free space of disks that collector and database share ([database] disk,
// by statvfs), and the database's own size against the setting max_size_database, which works from
// any host. While either is beyond its limit credit is 0, nothing is committed and nothing rolled
// up; sensors keep their data. A little more room than the limit ends it.
#pragma once

#include "collector/db.h"
#include "collector/message.h"
#include "collector/text.h"
#include "common/conf.h"

#define GUARD_WHY_MAX WIRE_TEXT_MAX

struct guard;
// disks is the caller's and must outlive it. budget->paused is set and cleared here.
int guard_new(const struct conf_list *disks, int64_t min_free, struct budget *budget,
              struct guard **ret);
void guard_free(struct guard *g);
DEFINE_CLEANUP(struct guard *, guard_free)

// Both by one thread. guard_look_at_size returns as db_query.
void guard_look_at_disks(struct guard *g);
int guard_look_at_size(struct guard *g, struct db *db, struct errmsg *e);

// Any thread: why ingest is paused; "" where it is not.
void guard_why(struct guard *g, char ret[GUARD_WHY_MAX + 1]);
// For the metrics.
void guard_metrics(struct guard *g, struct text *ret);
