// Who this host talks to over TCP: what a capture would count as unsolicited unless it is excluded.
#pragma once

#include "common/util.h"
#include "sensor/capture.h"

struct peer {
    struct ip_addr remote;
    uint16_t remote_port;
    uint16_t local_port;
};

// The established connections listed in `path` (/proc/net/tcp or tcp6), loopback left out. At most
// max; the value is how many there are, or -errno.
int peers_read(const char *path, struct peer *ret, size_t max);
// Is every packet from that peer excluded from capture?
bool peer_is_excluded(const struct peer *p, const struct capture_exclude *excludes, size_t n);
