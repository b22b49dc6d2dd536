// The sensor put together: batcher -> packer -> queue -> uplink, for `run` and `replay`.
#pragma once

#include <signal.h>

#include "common/keys.h"
#include "common/util.h"
#include "sensor/batch.h"
#include "sensor/packer.h"
#include "sensor/sensor_conf.h"
#include "sensor/uplink.h"

struct sensor_options {
    bool live;                         // false: replay, which loses nothing and waits instead
    int64_t give_up_ms;                // replay; 0: never
    const volatile sig_atomic_t *stop; // set by a signal
};

struct sensor {
    struct queue *queue;
    struct packer *packer;
    struct batcher *batcher;
    struct uplink *uplink;
    const struct capture_exclude *excludes; // the configuration's
    size_t n_excludes;
    uint64_t excluded;              // frames
    struct batcher_report reported; // as of the last sensor_report
};

// Opens the spool and starts the uplink's thread. The configuration must live as long.
int sensor_start(const struct sensor_conf *conf, const struct sensor_keys *keys,
                 const struct sensor_options *options, struct sensor *ret, struct errmsg *e);
// A frame on its way to a batch, unless it is excluded.
int sensor_frame(struct sensor *s, const struct decode_link *link, const struct frame *frame);
// Lines in the log about packet times that cannot be trusted, if there were any since the last
// call.
void sensor_report(struct sensor *s);
// Gives up all system calls but those of a sensor's day; warns where the kernel cannot.
int sensor_confine(struct errmsg *e);
// After the last frame: seals, spools, and lets the uplink end by its own rules.
int sensor_seal(struct sensor *s);
void sensor_clear(struct sensor *s);

// SIGINT, SIGTERM and, where it is not ignored, SIGHUP set the flag (and nothing else) from now on.
const volatile sig_atomic_t *stop_on_signals(void);
