// Messages as a sensor would seal them, made beforehand.
#pragma once

#include "common/wire.h"

struct payload {
    struct wire_header header; // spool_id, seq and sent_ms are the sender's to fill in
    uint8_t *bytes;
    size_t size;
};

// One window of random background flows that begins at from_ms (0: where rand_batch begins). 0 or
// -errno.
int payload_batch(uint64_t seed, uint32_t flows, int64_t from_ms, struct payload *ret);
// A loss of the numbers seq..last with the batch's windows. last > seq, or unknown: of unknown
// extent, from the batch's first window (0: since the last window delivered) to the end of its
// last.
int payload_loss(uint64_t seq, uint64_t last, bool unknown, const struct payload *batch,
                 struct payload *ret);
void payload_release(struct payload *p);
