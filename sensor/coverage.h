// Which time capture files cover, so that no window's time is counted twice, whatever order packets
// and files come in. Replay only. Times in ms; spans are half open.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define COVERAGE_SPANS_MAX 64

struct span {
    int64_t lo;
    int64_t hi;
};

struct coverage {
    struct span covered[COVERAGE_SPANS_MAX]; // sorted, apart from each other
    uint32_t n;
    struct span file; // first to last window of the open file since its last leap; empty: none yet
};

// What a window adds: is it covered for the first time, and the parts of the gap between it and
// what its file covered before, if any, that were not covered yet.
struct coverage_added {
    bool window;
    bool leap; // more than leap_ms away from the rest of its file: the gap was not observed
    uint32_t n_gaps;
    struct span gaps[COVERAGE_SPANS_MAX + 1];
};

// A file begins: nothing between the one before and this one was observed.
void coverage_begin(struct coverage *c);
void coverage_add(struct coverage *c, struct span window, int64_t leap_ms,
                  struct coverage_added *ret);
