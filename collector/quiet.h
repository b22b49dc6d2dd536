// Which of many lines about peers are written: one for each of them now and then, and few in all,
// whatever they do. The lines left out are counted and told with the next one that is written. Not
// locked: a thread has its own.
#pragma once

#include "common/util.h"

#define QUIET_AGAIN_MS 600000 // for the same one
#define QUIET_MINUTE   10     // lines in a minute
#define QUIET_NAMES    32     // remembered
#define QUIET_WHOM_MAX 64
#define QUIET_MORE_MAX 48

struct quiet {
    struct {
        char whom[QUIET_WHOM_MAX];
        int64_t at_ms;
    } said[QUIET_NAMES];
    int64_t minute_ms;  // when this minute of lines began
    unsigned in_minute; // lines in it
    uint64_t unsaid;    // since the last line
};

// May a line about this one be written? Then ret_more is "" or " (and 17 more such since)", for its
// end. now_ms: monotonic.
bool quiet_allows(struct quiet *q, const char *whom, int64_t now_ms, char ret_more[QUIET_MORE_MAX]);
