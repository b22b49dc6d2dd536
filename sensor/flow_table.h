// The flows of the open window, in a table of fixed size, with flood rows for what does not fit.
//
// One thread. Every packet added is in exactly one flow or flood row. Memory is reserved by
// flow_table_new and touched on use: 96 bytes a flow and 16 for its index, 1.5 MiB for what came
// before (seen.h). Which flows a full table keeps: docs/decisions/, 12 and 13.
#pragma once

#include "common/flow.h"
#include "common/util.h"
#include "sensor/flow_sort.h"
#include "sensor/packet.h"
#include "sensor/source_set.h"

struct flow_table;

// -ENOMEM, or what getrandom(2) says: the hash is keyed, once a table, because attackers choose the
// keys.
// sources, when not NULL, is borrowed and gets every source address.
int flow_table_new(uint32_t size, struct source_set *sources, struct flow_table **ret);
void flow_table_free(struct flow_table *t);
DEFINE_CLEANUP(struct flow_table *, flow_table_free);

// offset_ms: since the window's start. The last few packets are counted only by flow_table_settle,
// which comes before anything is read from the table.
void flow_table_add(struct flow_table *t, const struct packet *packet, uint32_t offset_ms);
void flow_table_settle(struct flow_table *t);

struct flow_table_totals {
    uint32_t flows;
    uint64_t row_packets; // in flows
    uint64_t flood_packets;
    uint32_t rebuilds; // times the table filled in this window
};
void flow_table_totals(const struct flow_table *t, struct flow_table_totals *ret);

// Closing the window: sort, then read the flows in that order, then clear. Between sort and clear
// nothing can be added.
void flow_table_sort(struct flow_table *t, enum flow_order order);
// The i-th flow in order; start_ms: of the window.
void flow_table_flow(const struct flow_table *t, uint32_t i, int64_t start_ms, struct flow *ret);
// The flood rows; ret has room for FLOOD_ROWS_MAX. How many.
uint32_t flow_table_floods(const struct flow_table *t, int64_t start_ms, struct flood *ret);
void flow_table_clear(struct flow_table *t);
