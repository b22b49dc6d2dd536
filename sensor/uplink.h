// The uplink: the thread that takes sealed batches off the queue into the spool and delivers them.
//
// Drives the sender (sensor/sender.h) with the spool, the socket and the clock. Everything here but
// the functions marked "any thread" is for the thread that made it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/keys.h"
#include "common/util.h"
#include "sensor/queue.h"
#include "sensor/spool.h"

#define UPLINK_ENDPOINTS_MAX 8

struct uplink_config {
    const char *const *endpoints; // tcp://ADDRESS:PORT, numeric; kept by the caller
    uint32_t n_endpoints;
    uint32_t n_next; // so many of them, the last ones, have next_server_key
    uint8_t server_key[KEY_SIZE];
    uint8_t next_server_key[KEY_SIZE];
    const struct key_pair *keys;      // copied
    const struct key_pair *next_keys; // copied; NULL: none. Tried first at each connection
    struct spool_config spool;
    uint32_t max_kbit;
    uint64_t run_id;
    bool until_delivered; // end when the queue has ended and everything is acknowledged (replay)
    int64_t grace_ms;     // else: when the queue has ended, so long for what waits
    int64_t give_up_ms;   // until_delivered: end when no ack came for so long; 0: never
};

struct uplink;

// Opens the spool; warnings (a damaged spool set aside) are logged.
int uplink_new(const struct uplink_config *config, struct queue *queue, struct uplink **ret,
               struct errmsg *e);
void uplink_free(struct uplink *u);
DEFINE_CLEANUP(struct uplink *, uplink_free);

int uplink_start(struct uplink *u);
// The capture's thread, in replay. What was read up to this packet is not in the queue yet.
void uplink_note_read(struct uplink *u, int64_t ts_ms);
// All that was read is in the queue: before queue_close.
void uplink_all_sealed(struct uplink *u);
// Something found no room in the queue, and is lost: the next start declares it.
void uplink_left_behind(struct uplink *u);
// Any thread, signal handlers too: end soon, without waiting for acks; the queue is spooled first.
void uplink_stop(struct uplink *u);

enum {
    UPLINK_UNDELIVERED = 1, // ended by uplink_stop or after grace_ms: the rest stays in the spool
    UPLINK_GAVE_UP = 2,     // give_up_ms
};
// After uplink_start: waits at most so long for the end, or for a signal. True: it has ended.
bool uplink_wait(struct uplink *u, int timeout_ms);
// After uplink_start: waits for the end. 0: all that was spooled is acknowledged.
int uplink_join(struct uplink *u, struct errmsg *e);

// Any thread.
struct uplink_view {
    uint64_t spooled;   // batches and losses appended since uplink_new
    uint64_t delivered; // numbers acknowledged since uplink_new
    uint64_t waiting;   // numbers not acknowledged
    bool connected;
    uint64_t lost; // frames that ended with the process: they could not be spooled
    bool ended;
};
void uplink_view(struct uplink *u, struct uplink_view *ret);
