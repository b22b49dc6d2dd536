// Rows in PostgreSQL's binary COPY format (documentation of COPY, "Binary Format"), written
// straight into one buffer that is sent as it is.
#pragma once

#include "common/flow.h"
#include "common/wire.h"

// Milliseconds since 1970 <-> microseconds since 2000, PostgreSQL's timestamptz.
#define COPY_EPOCH_MS 946684800000LL

struct copy_buffer {
    char *p;
    size_t used, size;
    size_t rows;
};

void copy_buffer_release(struct copy_buffer *b);
// Empties it and writes the head; copy_end writes the tail. 0 or -ENOMEM, as for all below.
int copy_begin(struct copy_buffer *b);
int copy_end(struct copy_buffer *b);

// Rows that one flow becomes, so that packets and bytes fit an integer: 1 but for enormous flows.
uint64_t copy_flow_rows(const struct flow *f);

#define COPY_NO_OPTIONS (-1)
// What the statement must name, in this order.
#define COPY_FLOW_COLUMNS                                                                          \
    "ts, duration_ms, packets, bytes, port, src_port, tcp_window, ip_id, ip_len, options_id, "     \
    "sensor_id, dst_no, proto, ttl, tcp_flags, marks, src"
int copy_flow(struct copy_buffer *b, const struct flow *f, int16_t sensor_id, int16_t dst_no,
              int32_t options_id);

#define COPY_FLOOD_COLUMNS                                                                         \
    "ts, packets, bytes, sources_estimate, port, sensor_id, dst_no, proto, tcp_flags, ttl_min, "   \
    "ttl_max"
int copy_flood(struct copy_buffer *b, const struct flood *f, int16_t sensor_id, int16_t dst_no);

struct batch_row {
    int16_t sensor_id;
    const uint8_t *spool_id;
    uint64_t seq;
    uint8_t digest[WIRE_SHA256_SIZE];
    int64_t committed_ms;
    bool has_windows;
    int64_t first_window_ms, last_window_ms;
    int64_t frames;
    uint32_t flows, floods;
    uint32_t payload_bytes;
    const char *outcome;
};
#define COPY_BATCH_COLUMNS                                                                         \
    "sensor_id, spool_id, seq, digest, committed_at, first_window, last_window, frames, flows, "   \
    "floods, payload_bytes, outcome"
int copy_batch(struct copy_buffer *b, const struct batch_row *row);

struct network_row {
    int32_t set_id;
    struct ip_addr lo, hi;
    bool has_asn;
    uint32_t asn;
    char country[2]; // zeros: null
};
#define COPY_NETWORK_COLUMNS "set_id, lo, hi, asn, country"
int copy_network(struct copy_buffer *b, const struct network_row *row);

#define COPY_SCANNER_COLUMNS "set_id, lo, hi, name"
int copy_scanner(struct copy_buffer *b, int32_t set_id, const struct ip_addr *lo,
                 const struct ip_addr *hi, const char *name);

#define COPY_AS_NAME_COLUMNS "asn, name"
int copy_as_name(struct copy_buffer *b, uint32_t asn, const char *name);
