// The uplink with its threads, a real spool and a real CURVE socket, against a collector played by
// the test.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "sensor/packer.h"
#include "sensor/uplink.h"

#define WAIT_MS 20000

// --- the collector ---

enum manner {
    PLAIN,     // acks
    GAP_ONCE,  // asks for number 1 after the third message
    FORK_ONCE, // says once that number 2 was taken
    POOR,      // credit 0 until `rich`
};

struct fake {
    void *context;
    void *socket;
    struct key_pair keys;
    char endpoint[64];
    pthread_t thread;
    atomic_bool stop;
    atomic_bool rich;
    atomic_uint pings;
    atomic_uint batches; // numbered messages received
    enum manner manner;
    void (*on_thread)(void);
    // under the mutex
    pthread_mutex_t mutex;
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    uint64_t next;
    uint64_t frames; // of what was taken, per spool_id
    unsigned spools; // distinct spool_ids in a row
    bool misbehaved;
};

struct fake *fake_new(enum manner manner);
// on_thread runs first in the collector's thread.
struct fake *fake_start(enum manner manner, void (*on_thread)(void));
// After this its figures may be looked at.
void fake_halt(struct fake *f);
void fake_free(struct fake *f);

// --- the sensor ---

struct bench {
    char directory[64];
    char path[128];
    struct key_pair keys;
    struct queue *queue;
    struct packer *packer;
    struct uplink *uplink;
    const char *endpoints[1];
    struct uplink_config config;
};

void bench_open(struct bench *b, const struct fake *f);
void bench_start(struct bench *b);
void bench_close(struct bench *b);
// A batch of one quiet window with i malformed frames.
void bench_seal(struct bench *b, uint64_t i);
