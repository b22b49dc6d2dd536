// Flood rows: where packets go that found no place in the flow table. A fixed number of rows with
// exact packets and bytes; some of them estimate their sources.
//
// A row is (dst, proto, port, tcp_flags). When FLOOD_PORT_ROWS are taken, further ones fold to
// (dst, proto), port null and flags 0; when FLOOD_DST_ROWS of those are taken too, to (no dst,
// proto) for TCP, UDP, ICMP and ICMPv6 and one for the rest, whose proto is 255 (reserved by IANA).
#pragma once

#include "common/flow.h"
#include "common/util.h"
#include "sensor/packet.h"

#define FLOOD_ROWS_MAX   256
#define FLOOD_OTHER_ROWS 10
#define FLOOD_DST_ROWS   54
#define FLOOD_PORT_ROWS  (FLOOD_ROWS_MAX - FLOOD_DST_ROWS - FLOOD_OTHER_ROWS)
#define FLOOD_ESTIMATES  32 // rows with an estimate, 8 of them kept for folded rows
#define FLOOD_PROTO_REST 255

struct flood_table;

int flood_table_new(struct flood_table **ret);
void flood_table_free(struct flood_table *t);
DEFINE_CLEANUP(struct flood_table *, flood_table_free);

// Counts packets of one key. source_hash: 64 bits that depend on the source alone.
void flood_table_add(struct flood_table *t, const struct flow_key *key, uint64_t packets,
                     uint64_t bytes, uint64_t source_hash);
// Rows into ret (room for FLOOD_ROWS_MAX), with ts_ms as their time, sorted by key; how many.
uint32_t flood_table_rows(const struct flood_table *t, int64_t ts_ms, struct flood *ret);
uint64_t flood_table_packets(const struct flood_table *t);
void flood_table_clear(struct flood_table *t);
