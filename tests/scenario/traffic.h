// Turns an event of a stream into a packet. The packet depends on the event's seed and part, the
// sensor and the scenario's seed only.
#pragma once

#include <stdint.h>

#include "packet.h"
#include "planned.h"
#include "streams.h"

struct traffic {
    uint64_t seed;
    int sensor;
};

void traffic_build(const struct traffic *traffic, const struct stream *stream,
                   const struct event *event, struct packet *ret_packet);

void traffic_build_planned(const struct traffic *traffic, const struct planned *planned,
                           struct packet *ret_packet);
