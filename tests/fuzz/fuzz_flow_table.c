// The flow table against a naive model: five bytes are a packet. Without a flood the rows are the
// model's, field by field; with one, every key is wholly in a flow or wholly in the flood row that
// is its own, and every flood row holds exactly what a naive addition says.
#include <string.h>

#include "sensor/batch.h"
#include "sensor/flood.h"
#include "sensor/flow_table.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/flow_model.h"

#define INPUT_MAX 12000u

static struct packet make_packet(const uint8_t *d)
{
    static const uint8_t protos[] = {6, 17, 1, 58, 47, 6, 6, 17};
    struct packet p = {.key = {.proto = protos[d[2] & 7],
                               .ttl = (uint8_t)(60 + (d[2] >> 5)),
                               .version = d[2] & 8 ? 6 : 4,
                               .dst = {198, 51, 100, 1}},
                       .ip_len = 20u + d[3],
                       .ip_id = d[4],
                       .src_port = (uint16_t)(d[3] * 257)};
    p.key.src[0] = d[0];
    p.key.src[3] = d[1];
    p.key.dst[3] = d[3] & 31; // more of them than there are flood rows to tell them apart
    p.key.has_port = p.key.proto != 47;
    p.key.port = p.key.has_port ? d[4] & 3 : 0;
    p.key.tcp_flags = p.key.proto == 6 ? d[4] >> 4 : 0;
    p.has = p.key.has_port;
    p.options = d;
    p.options_len = p.key.proto == 6 ? 5 : 0;
    return p;
}

// Rows into flows[]; how many packets are in them.
static uint64_t read_rows(struct flow_table *t, uint32_t n, struct flow *flows)
{
    uint64_t packets = 0;
    for (uint32_t i = 0; i < n; i++) {
        flow_table_flow(t, i, 0, &flows[i]);
        packets += flows[i].packets;
        HOLDS(flows[i].packets > 0);
        // ordered by source, so equal keys would be near
        HOLDS(i == 0 || flows[i - 1].src.version < flows[i].src.version ||
              (flows[i - 1].src.version == flows[i].src.version &&
               memcmp(flows[i - 1].src.b, flows[i].src.b, 16) <= 0));
    }
    return packets;
}

// Flood rows by destination and protocol, so that the naive addition finds them without a search.
struct flood_index {
    struct flood *floods;
    uint16_t chain[256]; // row + 1
    uint16_t next[FLOOD_ROWS_MAX];
};

static uint8_t flood_chain(const uint8_t *dst, uint8_t proto, uint8_t version)
{
    return (uint8_t)(dst[3] * 7 + proto * 31 + version);
}

static void index_floods(struct flood_index *x, struct flood *floods, uint32_t n)
{
    *x = (struct flood_index){.floods = floods};
    for (uint32_t i = 0; i < n; i++) {
        uint8_t chain = flood_chain(floods[i].dst.b, floods[i].proto, floods[i].dst.version);
        x->next[i] = x->chain[chain];
        x->chain[chain] = (uint16_t)(i + 1);
    }
}

// The row of exactly that; with_port: with the key's port and flags, else without any.
static struct flood *flood_find(struct flood_index *x, const struct flow_key *key,
                                const uint8_t *dst, uint8_t proto, bool with_port)
{
    for (uint16_t at = x->chain[flood_chain(dst, proto, key->version)]; at; at = x->next[at - 1]) {
        struct flood *f = &x->floods[at - 1];
        if (memcmp(f->dst.b, dst, 16) != 0 || f->proto != proto || f->has_port != with_port ||
            f->dst.version != key->version)
            continue;
        if (!with_port || (f->port == key->port && f->tcp_flags == key->tcp_flags))
            return f;
    }
    return NULL;
}

// What is left in the model must be in flood rows, each key in the finest that stands for it.
static struct flood *flood_of(struct flood_index *x, const struct flow_key *key)
{
    static const uint8_t none[16];
    bool known = key->proto == 6 || key->proto == 17 || key->proto == 1 || key->proto == 58;
    struct flood *f = key->has_port ? flood_find(x, key, key->dst, key->proto, true) : NULL;
    if (!f)
        f = flood_find(x, key, key->dst, key->proto, false);
    return f ? f : flood_find(x, key, none, known ? key->proto : FLOOD_PROTO_REST, false);
}

// Takes the model's rest out of the flood rows: nothing may remain in them.
static void check_floods(struct flood *floods, uint32_t n, const struct model *m)
{
    struct flood_index index;
    uint8_t ttl[FLOOD_ROWS_MAX][2];
    index_floods(&index, floods, n);
    memset(ttl, 0, sizeof ttl);
    for (uint32_t i = 0; i < n; i++) {
        HOLDS(floods[i].packets > 0 && floods[i].ttl_min <= floods[i].ttl_max);
        HOLDS(!floods[i].has_sources || floods[i].sources_estimate > 0);
        ttl[i][0] = 255;
    }
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_flow *f = &m->flows[i];
        if (f->taken)
            continue;
        struct flood *row = flood_of(&index, &f->key);
        HOLDS(row && row->packets >= f->packets && row->bytes >= f->bytes);
        row->packets -= f->packets;
        row->bytes -= f->bytes;
        uint8_t *range = ttl[row - floods];
        range[0] = MIN(range[0], f->key.ttl);
        range[1] = MAX(range[1], f->key.ttl);
    }
    for (uint32_t i = 0; i < n; i++) {
        HOLDS(floods[i].packets == 0 && floods[i].bytes == 0);
        HOLDS(floods[i].ttl_min == ttl[i][0] && floods[i].ttl_max == ttl[i][1]);
    }
}

static void check_window(struct flow_table *t, struct model *m, uint64_t packets, uint64_t bytes)
{
    static struct flow flows[TABLE_SIZE_MIN];
    struct flood floods[FLOOD_ROWS_MAX];
    struct flow_table_totals totals;
    flow_table_settle(t);
    flow_table_totals(t, &totals);
    HOLDS(totals.row_packets + totals.flood_packets == packets);
    HOLDS(totals.flows <= TABLE_SIZE_MIN && totals.rebuilds <= 6);
    uint32_t n = flow_table_floods(t, 0, floods);
    HOLDS(n <= FLOOD_ROWS_MAX && (n == 0) == (totals.flood_packets == 0));
    flow_table_sort(t, FLOW_ORDER_SOURCE);
    HOLDS(read_rows(t, totals.flows, flows) == totals.row_packets);
    uint64_t flooded = 0;
    for (uint32_t i = 0; i < totals.flows; i++) {
        const char *difference = model_take(m, &flows[i], 0);
        HOLDS(difference == NULL);
        bytes -= flows[i].bytes;
    }
    for (uint32_t i = 0; i < n; i++) {
        flooded += floods[i].packets;
        bytes -= floods[i].bytes;
    }
    HOLDS(flooded == totals.flood_packets && bytes == 0);
    check_floods(floods, n, m);
    model_clear(m);
    flow_table_clear(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flow_table *table;
    static struct model model;
    uint64_t packets = 0, bytes = 0;
    size = MIN(size, INPUT_MAX);
    if (!table)
        HOLDS(flow_table_new(TABLE_SIZE_MIN, NULL, &table) == 0);
    for (size_t i = 0; i + 5 <= size; i += 5) {
        if (data[i] == 0xff && data[i + 1] == 0xff) { // the window closes
            check_window(table, &model, packets, bytes);
            packets = bytes = 0;
            continue;
        }
        struct packet p = make_packet(data + i);
        uint32_t offset = (uint32_t)i % 60000;
        flow_table_add(table, &p, offset);
        model_add(&model, &p, offset);
        packets++;
        bytes += p.ip_len;
        if (model.n == MODEL_MAX)
            break;
    }
    check_window(table, &model, packets, bytes);
    return 0;
}
