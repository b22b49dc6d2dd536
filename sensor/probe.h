// Is this sensor let in? A knock at the collectors' doors, for people who wait for an answer; it
// sends nothing but a ping.
#pragma once

#include "sensor/sensor_conf.h"

enum probe_answer { // from worst to best
    PROBE_UNREACHABLE,
    PROBE_REVOKED, // the key was let in once
    PROBE_REFUSED,
    PROBE_SILENT, // let in, but no pong
    PROBE_NO_DATABASE,
    PROBE_GOOD,
};

struct probe {
    enum probe_answer answer;
    const char *endpoint;    // that gave it; the configuration's
    int64_t clock_offset_ms; // the collector's clock less ours; with PROBE_NO_DATABASE, PROBE_GOOD
};

// Of all collectors the best answer, within PROBE_MS each. -ENOMEM with *e filled.
#define PROBE_MS 12000
int probe_collectors(const struct sensor_conf *conf, const struct key_pair *keys, struct probe *ret,
                     struct errmsg *e);
