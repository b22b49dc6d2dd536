// Accounting of one commit: window records summed per sensor and quarter of an hour.
#pragma once

#include "collector/db.h"
#include "common/flow.h"

#define SLOT_MS 900000LL

struct observations;
int observations_new(struct observations **ret);
void observations_free(struct observations *o);
DEFINE_CLEANUP(struct observations *, observations_free)
void observations_clear(struct observations *o);
size_t observations_count(const struct observations *o);

// A record of a committed batch; a run of empty windows spreads over the slots it covers. 0 or
// -ENOMEM.
int observations_add(struct observations *o, int16_t sensor_id, const struct window_record *r,
                     uint32_t window_ms);
// A record of a batch that was lost: frames and lost, and what was dropped before it; not covered,
// so that no average counts it as watched.
int observations_add_lost(struct observations *o, int16_t sensor_id, const struct window_record *r);
// Frames of a quarantined batch, in the slot that holds at_ms.
int observations_add_quarantined(struct observations *o, int16_t sensor_id, int64_t at_ms,
                                 int64_t frames);
// One upsert, rows in key order; and one that marks the hours (UTC) that got rows as dirty, for the
// rollup job.
int observations_write(struct observations *o, struct db *db, struct errmsg *e);

// Start of the slot that holds a time.
int64_t slot_of(int64_t ms);
