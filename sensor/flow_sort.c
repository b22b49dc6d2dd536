#include "sensor/flow_sort.h"

#include <string.h>

#include "sensor/cursor.h"

#define WORDS_MAX 12

// How many words an order compares, the most significant first.
static const unsigned order_words[] = {
    [FLOW_ORDER_SOURCE] = 5,
    [FLOW_ORDER_TIME] = WORDS_MAX,
    [FLOW_ORDER_NONE] = 0,
};

static inline uint32_t node_word(const struct flow_node *node, enum flow_order order, unsigned i)
{
    const struct flow_key *key = &node->key;
    if (order == FLOW_ORDER_TIME) {
        if (i == 0)
            return node->first_ms;
        i--;
    }
    if (i == 0)
        return key->version;
    if (i <= 4)
        return be32(key->src + (i - 1) * 4);
    if (i <= 8)
        return be32(key->dst + (i - 5) * 4);
    if (i == 9)
        return (uint32_t)key->proto << 24 | (uint32_t)key->has_port << 16 | key->port;
    return (uint32_t)key->ttl << 16 | (uint32_t)key->tcp_flags << 8 | key->marks;
}

// One pass over a byte of the keys, which stand in the entries' high halves.
static void sort_by_byte(const uint64_t *from, uint64_t *to, uint32_t n, unsigned shift)
{
    uint32_t at[256] = {0};
    for (uint32_t i = 0; i < n; i++)
        at[(from[i] >> shift) & 0xff]++;
    uint32_t sum = 0;
    for (unsigned b = 0; b < 256; b++) {
        uint32_t count = at[b];
        at[b] = sum;
        sum += count;
    }
    for (uint32_t i = 0; i < n; i++)
        to[at[(from[i] >> shift) & 0xff]++] = from[i];
}

const uint64_t *flow_sort(const struct flow_node *nodes, uint32_t n, enum flow_order order,
                          uint64_t *entries, uint64_t *scratch)
{
    unsigned words = order_words[order];
    uint32_t first[WORDS_MAX] = {0}, differ[WORDS_MAX] = {0}; // bits in which not all nodes agree
    for (unsigned w = 0; n && w < words; w++)
        first[w] = node_word(&nodes[0], order, w);
    for (uint32_t i = 0; i < n; i++) {
        entries[i] = i;
        for (unsigned w = 0; w < words; w++)
            differ[w] |= node_word(&nodes[i], order, w) ^ first[w];
    }
    for (unsigned w = words; w-- > 0;) {
        if (!differ[w])
            continue;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t node = (uint32_t)entries[i];
            entries[i] = (uint64_t)node_word(&nodes[node], order, w) << 32 | node;
        }
        for (unsigned byte = 0; byte < 4; byte++) {
            if (!(differ[w] >> byte * 8 & 0xff))
                continue;
            sort_by_byte(entries, scratch, n, 32 + byte * 8);
            uint64_t *swap = entries;
            entries = scratch;
            scratch = swap;
        }
    }
    return entries;
}
