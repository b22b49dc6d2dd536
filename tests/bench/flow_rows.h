// What gen_flows.c writes as rows of hirundo.flow and gen_rollups.c adds up: a day of SENSORS
// sensors of one address, always the same for the same arguments, in the order of time.
//
// Shares follow tests/scenario: bots that come and go (a twentieth is new each day) with one to
// three ports each, scanners that stay and walk over all ports, backscatter, forged sources; one
// row in a hundred is IPv6, and a row holds 1.19 packets as in the scenario. From 3 February 2023
// on 310 hosts in 198.18.0.0/22 send to 22/TCP as the scenario's hosting company does.
#pragma once

#include <stdint.h>

#define MINUTE_US INT64_C(60000000)
#define IPV6_BIT  ((uint64_t)1 << 63)

struct flow_row {
    int64_t ts; // microseconds since 2000-01-01 (UTC)
    int32_t duration, packets, bytes, port, src_port, window, ip_id, ip_len,
        options; // negative: null
    int16_t sensor, dst_no, proto, ttl, flags, marks;
    uint64_t source; // IPv4; with IPV6_BIT the low half of an address in 2001:db8::/64
};

typedef void flow_row_fn(const struct flow_row *row, void *data);
// day: since 2000-01-01 (UTC)
void flow_rows(uint32_t sensors, uint32_t packets, uint32_t day, flow_row_fn *fn, void *data);
