// Random but valid batches for tests of the wire and of what stands behind it. Deterministic by
// seed.
#pragma once

#include <stdint.h>

#include "common/flow.h"

struct rand_source {
    uint64_t state;
};

uint64_t rand_next(struct rand_source *r);
uint32_t rand_below(struct rand_source *r, uint32_t n); // 0..n-1; n > 0

enum rand_shape {
    RAND_MIXED,      // everything at once: IPv4 and IPv6, many windows, floods, odd values
    RAND_BACKGROUND, // what one sensor sees: IPv4, one destination, few tools
};

// A valid batch of n_flows flows over n_windows windows (at least 1). rand_batch_free releases its
// arrays.
struct batch rand_batch(struct rand_source *r, enum rand_shape shape, uint32_t n_flows,
                        uint32_t n_windows);
void rand_batch_free(struct batch *b);
// Field by field; returns NULL when equal, else the name of the first field that differs.
const char *batch_difference(const struct batch *a, const struct batch *b);
