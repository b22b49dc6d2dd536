// Is it this collector's own clock that is wrong? By it times are accepted, so that one that is
// wrong by days puts good data into quarantine, and each sensor alone looks as if it were at fault.
//
// Two witnesses: the sensors it heard of late, each of which compares the clocks (heartbeats), and
// PostgreSQL. For the health thread alone.
#pragma once

#include "collector/db.h"
#include "collector/heartbeats.h"

// What clock_watch_judge weighs.
struct clock_signs {
    struct heartbeats_clocks sensors;
    int64_t database_ms; // collector's clock less PostgreSQL's, surely so: less half the round trip
    int64_t limit_ms;    // setting clock_off_after
};

enum clock_verdict {
    CLOCK_GOOD,
    CLOCK_OURS,     // most sensors say so, or PostgreSQL does and no sensors tell
    CLOCK_DATABASE, // PostgreSQL's differs, and the sensors agree with ours
};
enum clock_verdict clock_watch_judge(const struct clock_signs *signs);

struct clock_watch {
    enum clock_verdict verdict; // as it was said last
};

// Says in the log what has changed. Returns as db_query.
int clock_watch_look(struct clock_watch *w, struct heartbeats *heartbeats, struct db *db,
                     struct clock_signs *ret_signs, struct errmsg *e);
