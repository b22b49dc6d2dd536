// Orders the flows of a closing window without extra memory: a stable radix sort over the words
// that differ at all.
#pragma once

#include <stdint.h>

#include "sensor/flow_node.h"

enum flow_order {
    FLOW_ORDER_SOURCE, // IPv4 first, then by address; ties in order of arrival
    FLOW_ORDER_TIME,   // by time of the first packet, then by key
    FLOW_ORDER_NONE,   // order of arrival
};

// Fills entries with the n node numbers (in the low 32 bits of each) in order; returns where they
// ended up: entries or scratch, each with room for n.
const uint64_t *flow_sort(const struct flow_node *nodes, uint32_t n, enum flow_order order,
                          uint64_t *entries, uint64_t *scratch);
