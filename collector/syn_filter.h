// Connections that the kernel does not begin: a packet filter on listening sockets that looks at
// the first packet of a connection alone.
//
// A program may put such a filter on its own sockets; no right is needed, no firewall is touched.
// Whoever is passed over hears nothing and tries again, as TCP does after 1, 3 and 7 seconds; one
// first packet in SYN_SHARE is let through, whoever sent it, so that nobody is shut out for good.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/util.h"

#define SYN_SHARE     16
#define SYN_SHUT_MAX  64
#define SYN_KNOWN_MAX 192

// Where a connection comes from: an IPv4 address (size 4) or an IPv6 /64 (size 8); size 0: unknown.
struct origin {
    uint8_t bytes[8];
    uint8_t size;
};

// An IPv4 address in IPv6 clothes is an IPv4 address: the filter sees the packet.
struct origin origin_of(const struct sockaddr_storage *a);
bool origin_equals(const struct origin *a, const struct origin *b);

struct syn_rules {
    struct origin shut[SYN_SHUT_MAX]; // seldom let through
    size_t n_shut;
    bool only_known; // so is everybody but those of `known`
    struct origin known[SYN_KNOWN_MAX];
    size_t n_known;
};

// From now on these rules, on connections that are not there yet. Without rules: no filter.
// 0; -errno.
int syn_filter_set(int fd, const struct syn_rules *rules);
