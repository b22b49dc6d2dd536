// What an enrolled sensor may put into the database beyond what the wire format checks.
#pragma once

#include "collector/sha256.h"

// Bounds on what one batch may make the collector do. Real batches stay far below; what exceeds
// them goes to quarantine.
#define VALIDATE_COUNT_MAX (1LL << 40) // frames of one window, flood packets, ...
#define VALIDATE_SLOTS_MAX 200000      // quarters of an hour covered: 5.7 years
#define VALIDATE_DAYS_MAX  400         // UTC days with rows, so partitions
#define VALIDATE_SPLIT_MAX 8192        // rows added where packets or bytes overflow an integer

struct validate_limits {
    int64_t accept_from_ms;  // settings accept_from and retention_flow
    int64_t accept_until_ms; // now + setting accept_ahead
};

#define VALIDATE_REFUSED 1 // with *e saying why

// The payload as it came against its header. 0 or VALIDATE_REFUSED, as below; -ENOMEM.
int validate_payload(struct sha256 *sha256, const struct wire_header *h, const uint8_t *payload,
                     size_t size, struct errmsg *e);
int validate_batch(const struct wire_header *h, const struct batch *b,
                   const struct validate_limits *limits, struct errmsg *e);
int validate_loss(const struct wire_header *h, const struct loss_item *items, size_t n,
                  const struct validate_limits *limits, struct errmsg *e);
