// The flow summary and what accompanies it: the one in-memory shape that sensor, wire and collector
// share.
//
// Units: times are signed milliseconds since 1970-01-01T00:00:00Z, by the sensor's packet clock.
// Addresses are in network order. Everything else is in host order. Plain data: no ownership, no
// thread rules.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// An address: IPv4 in b[0..3] with the rest zero (version 4), or IPv6 (version 6). Two addresses
// are equal when all 17 bytes are.
struct ip_addr {
    uint8_t version; // 4, 6, or 0 for none (a flood row has no source)
    uint8_t b[16];
};

// flow.marks: what only the sensor can test (DESIGN "What a flow summary is").
enum flow_mark {
    MARK_MIRAI = 1,    // TCP sequence number == destination address
    MARK_MASSCAN = 2,  // ip.id == (dst ^ dport ^ seq) & 0xffff
    MARK_FRAGMENT = 4, // part of a fragmented packet, first fragment included
    MARK_CUT = 8,    // cut short by snaplen or by its own header: fields behind the cut are absent
    MARK_LOCAL = 16, // multicast, broadcast or link-local source or destination
    MARK_ALL = 31,
};

// flow.has: which of the raw columns of the first packet are there.
enum flow_has {
    HAS_PORT = 1,       // port: TCP and UDP destination port; ICMP, ICMPv6: type * 256 + code
    HAS_SRC_PORT = 2,   // src_port
    HAS_TCP_WINDOW = 4, // tcp_window and, for TCP, options
    HAS_IP_ID = 8,      // ip_id: IPv4 only
    HAS_ALL = 15,
};

// TCP options of the first packet. kinds[] holds the option kinds in their order on the wire, one
// byte an option (NOP = 1 each time; EOL = 0 ends the list and is kept when bytes follow it). A
// list longer than the array, or one whose lengths do not add up, ends with OPT_KIND_MORE.
#define OPT_KINDS_MAX 15
#define OPT_KIND_MORE 255
struct tcp_options {
    uint8_t n; // kinds used; 0: no options; the rest of kinds[] is 0
    uint8_t kinds[OPT_KINDS_MAX];
    uint16_t mss;   // 0: no MSS option
    uint8_t wscale; // shift; WSCALE_NONE: no window scale option
};
#define WSCALE_NONE 255

// One flow summary: all packets of one key in one window.
struct flow {
    // key
    struct ip_addr src;
    struct ip_addr dst;
    uint8_t proto; // IANA protocol number (IPv6: of the upper layer, extension headers peeled)
    uint8_t ttl;   // IPv4 TTL or IPv6 hop limit, exact
    uint8_t tcp_flags;
    uint8_t marks;
    uint8_t has; // enum flow_has
    uint16_t port;
    // measures
    int64_t ts_ms;        // first packet
    uint32_t duration_ms; // last packet's time less the first's, >= 0
    uint32_t packets;     // 1 to INT32_MAX
    uint64_t bytes; // sum of IP total lengths (IPv6: 40 + payload length; length 0 on a jumbogram
                    // or BIG TCP frame: what the frame held)
    // raw columns of the first packet
    uint16_t src_port;
    uint16_t tcp_window;
    uint16_t ip_id;
    uint32_t ip_len; // IP total length, at most INT32_MAX (a larger jumbogram counts as that)
    struct tcp_options options;
};

// A flood row: packets that found no place in the flow table, folded (issue of the bounded table).
// Sources are estimated.
struct flood {
    struct ip_addr dst;
    uint8_t proto;
    uint8_t tcp_flags;
    uint8_t ttl_min;
    uint8_t ttl_max;
    bool has_port;
    bool has_sources;
    uint16_t port;
    int64_t ts_ms; // start of its window
    uint64_t packets;
    uint64_t bytes;
    uint64_t sources_estimate; // when has_sources
};

// This batch's share of one window's accounting, or of a run of windows without frames. Records add
// up over batches. frames = row_packets + flood_packets + non_ip + malformed.
struct window_record {
    int64_t start_ms; // of the (first) window
    uint32_t windows; // 1; > 1: a run of consecutive windows without frames, then every count is 0
    uint32_t covered_ms; // observed time this record adds; for a run: of the whole run, capped at
                         // UINT32_MAX (the sensor starts a new record then)
    uint64_t frames;
    uint64_t non_ip;
    uint64_t malformed;
    uint64_t row_packets;
    uint64_t flood_packets;
    uint64_t kernel_dropped;    // before the sensor could see them, so not in frames
    uint64_t interface_dropped; // likewise
};

// The same counters, cumulative since the run (the process) began; in every message header.
struct counters {
    uint64_t frames;
    uint64_t non_ip;
    uint64_t malformed;
    uint64_t row_packets;
    uint64_t flood_packets;
    uint64_t kernel_dropped;
    uint64_t interface_dropped;
};

// A batch before encoding and after decoding. Flows are grouped by window and sorted by source
// inside a window (the sensor's order; decoding keeps it). The arrays belong to whoever made the
// batch.
struct batch {
    uint32_t window_ms;
    uint32_t n_flows;
    uint32_t n_floods;
    uint32_t n_windows;
    struct flow *flows;
    struct flood *floods;
    struct window_record *windows;
    bool split; // more of its last window is in the next batch; a sensor's own, not on the wire
};

// Limits that both sides hold to.
#define WINDOW_MS_MIN     1000
#define WINDOW_MS_DEFAULT 60000
#define WINDOW_MS_MAX     900000 // every window length divides 900 s
#define BATCH_FLOWS_MAX   8192
#define BATCH_FLOODS_MAX  4096
#define BATCH_WINDOWS_MAX 8192
// From a batch's first window to the start of its last: a collector makes partitions for all of
// them.
#define BATCH_SPAN_MAX_MS (32LL * 86400 * 1000)
#define BATCH_RAW_MAX     (256u * 1024u)  // uncompressed payload at which a batch is sealed
#define BATCH_PAYLOAD_MAX (1024u * 1024u) // what the collector accepts, compressed
