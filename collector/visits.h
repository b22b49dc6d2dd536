// How often a sensor's key may come: VISITS_MANY times within a minute; where that was not enough,
// half as often in the minute after, and so on, down to VISITS_MANY >> VISITS_HALVED times. A
// sensor that works connects once; enroll --wait looks every two seconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VISITS_MS     60000
#define VISITS_MANY   60U
#define VISITS_HALVED 4U

struct visits { // begins as zeros
    int64_t since_ms;
    unsigned n;      // in this minute, refused ones too
    unsigned halved; // in how many minutes in a row before this one it came too often
};

// It comes once more. False: too often. now_ms: monotonic.
bool visits_allow(struct visits *v, int64_t now_ms);
