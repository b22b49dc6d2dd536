// A captured frame, as the capture backends hand it on.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Times outside this range cannot be written as RFC 3339 (years 0001 to 9999); the capture backends
// clamp to it and say so in frame.time_clamped (docs/decisions/0011-time.md).
#define FRAME_TS_MIN (-62135596800000)
#define FRAME_TS_MAX 253402300799999

struct frame {
    int64_t ts_ms;       // packet time, ms since 1970-01-01T00:00:00Z
    uint32_t caplen;     // bytes at data
    uint32_t wirelen;    // bytes the frame had on the wire, as the capture says (not trusted)
    bool time_clamped;   // its time was outside FRAME_TS_MIN..FRAME_TS_MAX
    const uint8_t *data; // borrowed for the call
};
