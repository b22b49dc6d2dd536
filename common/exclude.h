// Networks whose packets a sensor does not look at, as its configuration and its bundle write them.
#pragma once

#include "common/flow.h"
#include "common/util.h"

// Packets that are not looked at: those from an address in net/prefix_len (capture is inbound
// only). With proto and port: only those of that protocol with that port on either side.
struct capture_exclude {
    struct ip_addr net;
    uint8_t prefix_len;
    uint8_t proto; // 6, 17, or 0: any
    uint16_t port; // when has_port
    bool has_port; // needs proto
};

// "CIDR[:proto/port]", proto tcp or udp, e.g. "192.0.2.0/24", "2001:db8::/32:tcp/22". An address
// without /length is a single host. -EINVAL with *e filled.
int capture_exclude_parse(const char *text, struct capture_exclude *ret, struct errmsg *e);
