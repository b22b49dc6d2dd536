// The queue between the two threads of the sensor: sealed batches from the capture side, to the
// uplink, which takes them off when they are in the spool. Bounded in bytes and in items.
//
// One producer (push, close), one consumer (front, drop, fd, stop). The queue owns what was pushed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/util.h"
#include "sensor/spool.h"

#define QUEUE_FULL    1
#define QUEUE_STOPPED 2 // the consumer takes nothing any more

// What capture hands over, encoded; the blocks are malloc'ed and belong to the item.
struct queue_item {
    struct wire_header header;
    uint8_t *payload; // NULL: a loss
    size_t size;
    uint8_t *records;
    size_t records_size;
    bool unknown;
    int64_t whole_ms; // as in spool_item
    char reason[WIRE_TEXT_MAX + 1];
};

void queue_item_clear(struct queue_item *item);

struct queue;

int queue_new(size_t max_bytes, size_t max_items, struct queue **ret);
void queue_free(struct queue *q);
DEFINE_CLEANUP(struct queue *, queue_free);

// Takes the item over (and zeroes it) only when it returns 0. Waits at most wait_ms for room. An
// item larger than the whole queue is let in when the queue is empty.
int queue_push(struct queue *q, struct queue_item *item, int wait_ms);
// Nothing more will come.
void queue_close(struct queue *q);

// The first items, oldest first, at most n and max_bytes of payload (but one at least), borrowed
// until queue_drop.
size_t queue_front(struct queue *q, struct spool_item *ret, size_t n, size_t max_bytes);
void queue_drop(struct queue *q, size_t n);
void queue_stop(struct queue *q);
// Readable when something was pushed, or the queue closed, since queue_fd_clear.
int queue_fd(const struct queue *q);
void queue_fd_clear(struct queue *q);

struct queue_state {
    size_t items;
    size_t bytes;
    size_t bytes_max; // the most there were
    bool closed;
};
void queue_state(struct queue *q, struct queue_state *ret);
