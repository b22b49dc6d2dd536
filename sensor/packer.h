// From sealed batches to queue items: encodes on the capture thread (an encoded batch takes a tenth
// of the room), and keeps account of what the queue has no room for. No disk, no network.
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/flow.h"
#include "common/util.h"
#include "sensor/queue.h"

#define PACKER_STOPPED 1 // the uplink has ended, or *stop was set while waiting for room

struct packer_config {
    struct queue *queue;
    uint64_t run_id;
    bool wait;                         // for room in the queue (replay); else drop and declare
    const volatile sig_atomic_t *stop; // checked while waiting; NULL: none
};

struct packer;

int packer_new(const struct packer_config *config, struct packer **ret);
void packer_free(struct packer *p);
DEFINE_CLEANUP(struct packer *, packer_free);

// A batcher_sealed_fn; ctx is the packer. 0, PACKER_STOPPED, -errno. A batch that finds no room is
// declared as lost with its window records when there is room again; more than a thousand windows
// of them become one interval whose counts are unknown.
int packer_sealed(void *ctx, const struct batch *batch, const struct counters *counters);
// Tries to hand over what packer_sealed still holds.
int packer_flush(struct packer *p, int wait_ms);
uint64_t packer_batches(const struct packer *p);
uint64_t packer_undeclared(const struct packer *p); // frames that it still holds
uint64_t packer_dropped(const struct packer *p);
