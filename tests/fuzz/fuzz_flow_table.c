// The flow table against a naive model: five bytes are a packet. Without a flood the rows are the
// model's, field by field; with one, totals are exact and no key has two rows.
#include <string.h>

#include "sensor/batch.h"
#include "sensor/flood.h"
#include "sensor/flow_table.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/flow_model.h"

#define INPUT_MAX 12000u // the model takes the square of its length

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
        HOLDS(floods[i].ttl_min <= floods[i].ttl_max);
    }
    HOLDS(flooded == totals.flood_packets && bytes == 0);
    HOLDS(m->n == 0 || n > 0); // what has no row is in a flood row
    m->n = 0;
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
