// From a frame to the outermost IP header and what a flow summary wants of the packet behind it.
//
// No state, no allocation: one layer a function over a bounded cursor, decode_link.c for what is
// below IP, decode_ip.c for IP and above.
#pragma once

#include <stdint.h>

#include "sensor/frame.h"
#include "sensor/packet.h"

enum decode_result {
    DECODE_IP,        // *ret is filled
    DECODE_NON_IP,    // the link layer says that no IP is in the frame
    DECODE_MALFORMED, // no complete valid outer IP header was captured, though the link layer
                      // announced one, or was itself cut before it could say
};

struct decode_link;

// NULL: this link type (a DLT_* value of libpcap) is not known.
const struct decode_link *decode_link_find(int link_type);

enum decode_result decode_frame(const struct decode_link *link, const struct frame *frame,
                                struct packet *ret);

// Options of n bytes (at most 40) into the layout a flow carries.
void tcp_options_parse(const uint8_t *options, uint8_t n, struct tcp_options *ret);
