// The receiving side of delivery: what to do with a numbered message. No I/O, no clock, no memory.
//
// A spool's messages are numbered from 1. `next_seq` is what the ledger has committed;
// `pending_seq` runs ahead of it over the messages of the open group and falls back when the group
// fails.
#pragma once

#include "common/wire.h"

#define RECEIVER_SEQ_MAX       ((uint64_t)INT64_MAX - 1) // the ledger keeps numbers as bigint
#define RECEIVER_NACK_AGAIN_MS 1000

struct receiver {
    uint64_t next_seq;    // committed: the number that comes next, >= 1
    uint64_t pending_seq; // >= next_seq
    uint64_t told_seq;    // expected number of the last nack, 0: none
    int64_t told_ms;
};

enum receiver_verdict {
    RECEIVER_TAKE,      // next in line: into the group
    RECEIVER_DUPLICATE, // in the ledger or in the open group already: compare digests, then ack
    RECEIVER_GAP,       // a number is missing: nack with pending_seq
    RECEIVER_GAP_TOLD,  // likewise, and the sensor was told a moment ago: drop silently
    RECEIVER_ABSURD,    // no such number
};

void receiver_start(struct receiver *r, uint64_t next_seq);
// The ledger was read again; what the sensor was told stays.
void receiver_reload(struct receiver *r, uint64_t next_seq);
// A batch has first == last; a loss message covers first..last.
enum receiver_verdict receiver_judge(const struct receiver *r, uint64_t first, uint64_t last,
                                     int64_t now_ms);
void receiver_take(struct receiver *r, uint64_t last);  // after RECEIVER_TAKE
void receiver_told(struct receiver *r, int64_t now_ms); // after a nack went out
void receiver_committed(struct receiver *r, uint64_t next_seq);
void receiver_rolled_back(struct receiver *r);

// An item of a loss message against the ledger: only numbers >= next_seq count.
enum receiver_loss {
    RECEIVER_LOSS_COUNT, // all of it is new
    RECEIVER_LOSS_KNOWN, // all of it is in the ledger
    RECEIVER_LOSS_SPLIT, // merged over the border: what is new cannot be told apart, so `unknown`
};
enum receiver_loss receiver_loss_item(uint64_t next_seq, const struct loss_item *item);

// A duplicate's digest against the stored one (NULL: none is kept any more). True: a fork.
bool receiver_is_fork(const uint8_t *stored, const uint8_t digest[WIRE_SHA256_SIZE]);

// What the ledger keeps of a number: its own row, or that of the range of losses it lies in.
struct receiver_kept {
    bool found;
    bool is_batch; // else a declared loss
    uint8_t digest[WIRE_SHA256_SIZE];
    int64_t first_ms, last_ms; // its windows; last_ms 0: not kept
    int64_t latest_ms; // the last window of all that the ledger has of the numbers asked for
};
// What came again, against that. True: a fork, this is other data. A loss has no digest: counted,
// it must lie in what stands there; of unknown extent, it is old news if the ledger knows of
// anything as late.
bool receiver_batch_is_other(const struct receiver_kept *k, const struct wire_header *h);
bool receiver_loss_is_other(const struct receiver_kept *k, const struct loss_item *item);

// One key, its spools. A sensor moves to a new spool now and then and never comes back; two
// machines with one key alternate.
struct receiver_spools {
    bool has_current, has_previous;
    uint8_t current[WIRE_SPOOL_ID_SIZE];
    uint8_t previous[WIRE_SPOOL_ID_SIZE];
};
// True when this message shows the alternation: alarm `clone`.
bool receiver_spool_seen(struct receiver_spools *s, const uint8_t spool_id[WIRE_SPOOL_ID_SIZE]);
