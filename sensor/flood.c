#include "sensor/flood.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sensor/hll.h"

#define INDEX_SLOTS       1024 // four times the rows
#define ESTIMATES_FOLDED  8
#define ESTIMATES_BY_PORT (FLOOD_ESTIMATES - ESTIMATES_FOLDED)

struct row_key {
    uint8_t dst[16];
    uint16_t port;
    uint8_t proto;
    uint8_t tcp_flags;
    uint8_t has_port;
    uint8_t version;
    uint8_t unused[2];
};
_Static_assert(sizeof(struct row_key) == 24, "no padding in a compared key");

struct row {
    struct row_key key;
    uint8_t ttl_min;
    uint8_t ttl_max;
    struct hll *sources; // NULL: not estimated
    uint64_t packets;
    uint64_t bytes;
};

struct flood_table {
    uint64_t packets;
    uint32_t n;
    uint32_t n_port; // of them with their own port
    uint32_t n_dst;  // of them folded to (dst, proto)
    uint32_t estimates_by_port;
    uint32_t estimates_folded;
    uint16_t index[INDEX_SLOTS]; // row + 1
    struct row rows[FLOOD_ROWS_MAX];
    struct hll estimates[FLOOD_ESTIMATES];
};

int flood_table_new(struct flood_table **ret)
{
    // pages are touched by the first flood only
    void *p = mmap(NULL, sizeof(struct flood_table), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    *ret = p;
    return 0;
}

void flood_table_free(struct flood_table *t)
{
    if (t)
        munmap(t, sizeof *t);
}

static uint32_t row_slot(const struct row_key *key)
{
    uint64_t words[3];
    memcpy(words, key, sizeof words);
    // rows are few and bounded: colliding ones cost time, at most FLOOD_ROWS_MAX comparisons
    uint64_t h = (words[0] ^ words[1] * 0x9e3779b97f4a7c15u ^ words[2]) * 0xff51afd7ed558ccdu;
    return (uint32_t)(h >> 32) % INDEX_SLOTS;
}

// The row of key, or the free slot it would take.
static struct row *row_find(struct flood_table *t, const struct row_key *key, uint16_t **ret_slot)
{
    for (uint32_t i = row_slot(key);; i = (i + 1) % INDEX_SLOTS) {
        *ret_slot = &t->index[i];
        if (t->index[i] == 0)
            return NULL;
        struct row *row = &t->rows[t->index[i] - 1];
        if (memcmp(&row->key, key, sizeof *key) == 0)
            return row;
    }
}

static struct row *row_new(struct flood_table *t, const struct row_key *key, uint16_t *slot)
{
    struct row *row = &t->rows[t->n++];
    *row = (struct row){.key = *key, .ttl_min = UINT8_MAX};
    *slot = (uint16_t)t->n;
    if (key->has_port && t->estimates_by_port < ESTIMATES_BY_PORT)
        row->sources = &t->estimates[t->estimates_by_port++];
    else if (!key->has_port && t->estimates_folded < ESTIMATES_FOLDED)
        row->sources = &t->estimates[ESTIMATES_BY_PORT + t->estimates_folded++];
    return row;
}

static uint8_t rest_proto(const struct flow_key *key)
{
    bool known = key->proto == IPPROTO_TCP || key->proto == IPPROTO_UDP ||
                 key->proto == IPPROTO_ICMP || key->proto == IPPROTO_ICMPV6;
    return known ? key->proto : FLOOD_PROTO_REST;
}

// The finest row there is, or is room for.
static struct row *row_get(struct flood_table *t, const struct flow_key *key)
{
    struct row_key k = {.proto = key->proto, .version = key->version};
    uint16_t *slot;
    struct row *row;

    memcpy(k.dst, key->dst, sizeof k.dst);
    if (key->has_port) {
        k.port = key->port;
        k.has_port = 1;
        k.tcp_flags = key->tcp_flags;
        row = row_find(t, &k, &slot);
        if (row)
            return row;
        if (t->n_port < FLOOD_PORT_ROWS) {
            t->n_port++;
            return row_new(t, &k, slot);
        }
        k.port = 0;
        k.has_port = k.tcp_flags = 0;
    }
    row = row_find(t, &k, &slot);
    if (row)
        return row;
    if (t->n_dst < FLOOD_DST_ROWS) {
        t->n_dst++;
        return row_new(t, &k, slot);
    }
    k = (struct row_key){.proto = rest_proto(key), .version = key->version};
    row = row_find(t, &k, &slot);
    return row ? row : row_new(t, &k, slot);
}

void flood_table_add(struct flood_table *t, const struct flow_key *key, uint64_t packets,
                     uint64_t bytes, uint64_t source_hash)
{
    struct row *row = row_get(t, key);
    row->packets += packets;
    row->bytes += bytes;
    row->ttl_min = MIN(row->ttl_min, key->ttl);
    row->ttl_max = MAX(row->ttl_max, key->ttl);
    if (row->sources)
        hll_add(row->sources, source_hash);
    t->packets += packets;
}

// By dst, protocol, port (none first) and flags, as flows are sorted.
static int row_compare(const void *left, const void *right)
{
    const struct flood *a = left, *b = right;
    int r = (int)a->dst.version - b->dst.version;
    r = r ? r : memcmp(a->dst.b, b->dst.b, sizeof a->dst.b);
    r = r ? r : (int)a->proto - b->proto;
    r = r ? r : (int)a->has_port - b->has_port;
    r = r ? r : (int)a->port - b->port;
    return r ? r : (int)a->tcp_flags - b->tcp_flags;
}

uint32_t flood_table_rows(const struct flood_table *t, int64_t ts_ms, struct flood *ret)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const struct row *row = &t->rows[i];
        ret[i] = (struct flood){
            .dst.version = row->key.version,
            .proto = row->key.proto,
            .tcp_flags = row->key.tcp_flags,
            .ttl_min = row->ttl_min,
            .ttl_max = row->ttl_max,
            .has_port = row->key.has_port,
            .has_sources = row->sources != NULL,
            .port = row->key.port,
            .ts_ms = ts_ms,
            .packets = row->packets,
            .bytes = row->bytes,
        };
        memcpy(ret[i].dst.b, row->key.dst, sizeof ret[i].dst.b);
        if (row->sources)
            ret[i].sources_estimate = hll_estimate(row->sources);
    }
    qsort(ret, t->n, sizeof ret[0], row_compare);
    return t->n;
}

uint64_t flood_table_packets(const struct flood_table *t)
{
    return t->packets;
}

void flood_table_clear(struct flood_table *t)
{
    if (t->n == 0)
        return;
    memset(t->index, 0, sizeof t->index);
    memset(t->estimates, 0, t->estimates_by_port * sizeof t->estimates[0]);
    memset(t->estimates + ESTIMATES_BY_PORT, 0, t->estimates_folded * sizeof t->estimates[0]);
    t->packets = 0;
    t->n = t->n_port = t->n_dst = t->estimates_by_port = t->estimates_folded = 0;
}
