// The hot part of a flow in the table: one cache line. Internal to the flow table.
#pragma once

#include <stdint.h>

#include "sensor/packet.h"

struct flow_node {
    struct flow_key key;
    uint32_t hash;
    uint32_t packets;
    uint64_t bytes;
    uint32_t first_ms; // since the window's start
    uint32_t last_ms;
};
_Static_assert(sizeof(struct flow_node) == 64, "a flow's hot part is one cache line");

// Written once, with a flow's first packet.
struct flow_first {
    uint32_t ip_len;
    uint16_t src_port;
    uint16_t tcp_window;
    uint16_t ip_id;
    uint8_t has;
    struct tcp_options options;
};
_Static_assert(sizeof(struct flow_first) == 32, "a flow's cold part is half a cache line");
