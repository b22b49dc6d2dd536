// What decode finds in a frame.
#pragma once

#include <stdint.h>

#include "common/flow.h"

// The key of a flow inside a window, laid out to be hashed and compared as 40 bytes: everything
// that is absent is 0. Addresses in network order (IPv4 in the first four bytes), port in host
// order.
struct flow_key {
    uint8_t src[16];
    uint8_t dst[16];
    uint16_t port;
    uint8_t proto;
    uint8_t ttl;
    uint8_t tcp_flags;
    uint8_t marks;
    uint8_t has_port; // 0 or 1
    uint8_t version;  // 4 or 6
};
_Static_assert(sizeof(struct flow_key) == 40, "no padding in a hashed key");

struct packet {
    struct flow_key key;
    uint8_t has; // enum flow_has
    uint8_t options_len;
    uint16_t src_port;
    uint16_t tcp_window;
    uint16_t ip_id;
    uint32_t ip_len;        // IP total length, host order; see struct flow
    const uint8_t *options; // TCP options as captured, borrowed from the frame; see
                            // tcp_options_parse
};
