// What the files of common/wire*.c share. Not for others.
#pragma once

#include "common/wire.h"
#include "hirundo.pb-c.h"

// An append-only byte buffer over fixed memory, or a cursor over bytes to read. The first overrun
// sets `bad`; later calls are harmless and the caller looks once at the end.
struct out_bytes {
    uint8_t *p;
    size_t used;
    size_t size;
    bool bad;
};

struct in_bytes {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static inline void put_u8(struct out_bytes *o, uint8_t v)
{
    if (o->used >= o->size) {
        o->bad = true;
        return;
    }
    o->p[o->used++] = v;
}

static inline void put_varint(struct out_bytes *o, uint64_t v)
{
    if (o->size - o->used < 10) {
        o->bad = true;
        return;
    }
    while (v >= 0x80) {
        o->p[o->used++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    o->p[o->used++] = (uint8_t)v;
}

static inline void put_bytes(struct out_bytes *o, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_u8(o, p[i]);
}

static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline uint8_t get_u8(struct in_bytes *in)
{
    if (in->left == 0) {
        in->bad = true;
        return 0;
    }
    in->left--;
    return *in->p++;
}

static inline uint64_t get_varint(struct in_bytes *in)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t b = get_u8(in);
        if (shift == 63 && b > 1) { // beyond 64 bits
            in->bad = true;
            return 0;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
}

// A varint that must not exceed max.
static inline uint64_t get_varint_max(struct in_bytes *in, uint64_t max)
{
    uint64_t v = get_varint(in);
    if (v > max) {
        in->bad = true;
        return 0;
    }
    return v;
}

// The columns of a batch, in their order in Batch.column_lengths. Only ever added to. "per flow"
// columns have one entry a flow (or one for each flow that has the field), in the batch's order.
// What compresses comes first, what is nearly random last: a short batch is two zstd blocks, each
// with the entropy tables that fit it.
enum wire_column {
    COL_RECORDS,     // window records (varints), with the number of flows and floods of each
    COL_VERSIONS,    // runs of IPv4, IPv6, IPv4, ... sources: varint lengths, first may be 0
    COL_DST_TABLE,   // distinct destinations: version and bytes
    COL_DST,         // planes: index into it
    COL_TUPLE_TABLE, // distinct (proto, flags, marks, has, window, options, IP length)
    COL_TUPLE,       // planes: index into it
    COL_TTL,         // one byte
    COL_PACKETS,     // varint: packets - 1
    COL_BYTES,       // zigzag varint: bytes - packets * ip_len
    COL_DURATION,    // varint, flows of more than one packet
    COL_FLOODS,      // flood rows, varints
    COL_PORT,        // planes, flows with HAS_PORT
    COL_SRC6,        // 16 planes of the IPv6 sources
    COL_SRC4,        // planes of u32: difference to the IPv4 source before, modulo 2^32
    COL_TIME,        // planes: ms since the window's start
    COL_SRC_PORT,    // planes, HAS_SRC_PORT
    COL_IP_ID,       // planes, HAS_IP_ID
    COL_WINDOW,      // planes, HAS_TCP_WINDOW, when windows are not in the tuple table
    COL_COUNT,
};

// Uncompressed columns of one batch, at most: what a decoder reserves.
#define WIRE_COLUMNS_MAX (1024u * 1024u)

// One window record by itself: counts that add up, a time that can be calculated with.
int wire_record_check(const struct window_record *record, struct errmsg *e);
