#include "sensor/flow_table.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "sensor/decode.h"
#include "sensor/flood.h"
#include "sensor/flow_node.h"
#include "sensor/seen.h"

#define INDEX_MIN     4096u // slots; the index grows with the window
#define LIMIT_HALVING 5     // from 1/2 of the table to 1/64
#define GUARDED       4     // a quarter of the table is kept for keys that came before
#define LEARN_EVERY   8     // windows

// Flows are counted by (proto, port): four protocols with 65,536 ports, then one count for each
// protocol number.
#define PORT_COUNTS (4u * 65536u + 256u)

// Packets wait here until their slot of the index has come from memory: under a flood of random
// keys each one is a cache miss. A power of two.
#define PENDING 8u

struct pending {
    struct packet packet;
    uint32_t hash;
    uint32_t offset_ms;
    uint8_t options[40]; // packet.options is the frame's, which is gone by then
};

// Of one flow: what a column of type integer holds. A test that cannot wait for it sets its own.
#ifndef PACKETS_MAX
#define PACKETS_MAX ((uint32_t)INT32_MAX)
#endif

struct flow_table {
    uint32_t size;
    uint32_t n;
    uint32_t slots; // of the index, a power of two, at least twice n
    uint32_t max_slots;
    uint32_t limit; // flows of one (proto, port)
    uint32_t rebuilds;
    uint32_t windows; // without a flood
    uint64_t packets; // in flows and flood rows
    struct flow_node *nodes;
    struct flow_first *firsts;
    uint64_t *index;       // hash << 32 | node + 1; 0 is free. While closing: room to sort in.
    uint16_t *port_counts; // of this window, once counting
    bool counting; // as long as there are fewer flows than the limit, no port can be over it
    bool guarded;  // it was full though no port was over the lowest limit
    uint32_t guarded_from; // flows from here on are of keys that came before
    const uint64_t *sorted;
    struct pending pending[PENDING]; // added % PENDING is the oldest, once that many came
    uint32_t added;
    uint32_t counted;
    struct flood_table *flood;
    struct seen *seen;
    struct source_set *sources; // borrowed
    void *memory;
    size_t memory_size;
    uint8_t secret[XXH3_SECRET_DEFAULT_SIZE];
};

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 1;
    while (p < n)
        p *= 2;
    return p;
}

static int reserve(struct flow_table *t)
{
    size_t nodes = t->size * sizeof t->nodes[0];
    size_t firsts = t->size * sizeof t->firsts[0];
    size_t index = t->max_slots * sizeof t->index[0];
    t->memory_size = nodes + firsts + index + PORT_COUNTS * sizeof t->port_counts[0];
    uint8_t *p =
        mmap(NULL, t->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    t->memory = p;
    t->nodes = (void *)p;
    t->firsts = (void *)(p + nodes);
    t->index = (void *)(p + nodes + firsts);
    t->port_counts = (void *)(p + nodes + firsts + index);
    return 0;
}

static void limit_reset(struct flow_table *t)
{
    t->limit = MIN(t->size / 2, (uint32_t)UINT16_MAX); // what a count can hold
}

static uint32_t limit_floor(const struct flow_table *t)
{
    return MAX(t->size >> (LIMIT_HALVING + 1), 1u);
}

int flow_table_new(uint32_t size, struct source_set *sources, struct flow_table **ret)
{
    _cleanup_(flow_table_freep) struct flow_table *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->size = size;
    t->sources = sources;
    t->max_slots = MAX(power_of_two(size) * 2, INDEX_MIN);
    t->slots = INDEX_MIN;
    limit_reset(t);
    int r = reserve(t);
    if (r == 0)
        r = flood_table_new(&t->flood);
    if (r == 0)
        r = seen_new(&t->seen);
    if (r < 0)
        return r;
    if (getrandom(t->secret, sizeof t->secret, 0) != (ssize_t)sizeof t->secret)
        return -EIO;
    *ret = t;
    t = NULL;
    return 0;
}

void flow_table_free(struct flow_table *t)
{
    if (!t)
        return;
    if (t->memory)
        munmap(t->memory, t->memory_size);
    flood_table_free(t->flood);
    seen_free(t->seen);
    free(t);
}

static uint16_t *port_count(struct flow_table *t, const struct flow_key *key)
{
    uint32_t i = 4 * 65536u + key->proto;
    if (key->has_port) {
        unsigned which = key->proto == IPPROTO_TCP    ? 0
                         : key->proto == IPPROTO_UDP  ? 1
                         : key->proto == IPPROTO_ICMP ? 2
                                                      : 3;
        i = which * 65536u + key->port;
    }
    return &t->port_counts[i];
}

static void index_put(struct flow_table *t, uint32_t node)
{
    uint32_t mask = t->slots - 1, hash = t->nodes[node].hash, i = hash & mask;
    while (t->index[i])
        i = (i + 1) & mask;
    t->index[i] = (uint64_t)hash << 32 | (node + 1);
}

static void index_rebuild(struct flow_table *t)
{
    memset(t->index, 0, t->slots * sizeof t->index[0]);
    for (uint32_t node = 0; node < t->n; node++)
        index_put(t, node);
}

static void flood_packets(struct flow_table *t, const struct flow_key *key, uint64_t packets,
                          uint64_t bytes)
{
    if (t->sources)
        source_set_add(t->sources, source_set_hash(t->sources, key));
    uint64_t source =
        XXH3_64bits_withSecret(key->src, sizeof key->src, t->secret, sizeof t->secret);
    flood_table_add(t->flood, key, packets, bytes, source);
}

static void clear_counts(struct flow_table *t)
{
    for (uint32_t i = 0; t->counting && i < t->n; i++)
        *port_count(t, &t->nodes[i].key) = 0;
    t->counting = false;
}

static void start_counting(struct flow_table *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        ++*port_count(t, &t->nodes[i].key);
    t->counting = true;
}

static void move_flow(struct flow_table *t, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    t->nodes[to] = t->nodes[from];
    t->firsts[to] = t->firsts[from];
}

// Folds the flows of each (proto, port) beyond the limit, the latest ones, and closes the gaps.
static void fold_excess(struct flow_table *t)
{
    clear_counts(t);
    t->counting = true;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct flow_node *node = &t->nodes[i];
        uint16_t *count = port_count(t, &node->key);
        if (*count >= t->limit) {
            flood_packets(t, &node->key, node->packets, node->bytes);
            continue;
        }
        ++*count;
        move_flow(t, i, kept++);
    }
    t->n = kept;
}

// Of the latest quarter, folds what came once and never before.
static void fold_unknown(struct flow_table *t)
{
    uint32_t kept = t->n - t->n / GUARDED;
    t->guarded_from = kept;
    for (uint32_t i = kept; i < t->n; i++) {
        const struct flow_node *node = &t->nodes[i];
        if (node->packets == 1 && !seen_has(t->seen, node->hash)) {
            --*port_count(t, &node->key);
            flood_packets(t, &node->key, node->packets, node->bytes);
            seen_again(t->seen, node->hash);
            continue;
        }
        move_flow(t, i, kept++);
    }
    t->n = kept;
}

// The table is full: halves the limit until that frees something, down to 1/64 of the table. When
// that is of no help the flood has no port: what is left is for keys that came before
// (docs/decisions/).
static void make_room(struct flow_table *t)
{
    while (t->n == t->size && t->limit > limit_floor(t)) {
        t->limit = MAX(t->limit / 2, limit_floor(t));
        fold_excess(t);
        t->rebuilds++;
    }
    if (t->n == t->size) {
        fold_unknown(t);
        t->guarded = true;
        t->rebuilds++;
    }
    index_rebuild(t);
}

// Room for one more flow of this key?
static bool admit(struct flow_table *t, const struct flow_key *key, uint32_t hash)
{
    if (!t->counting) {
        if (t->n < t->limit)
            return true;
        start_counting(t);
    }
    if (t->n == t->size && !t->guarded)
        make_room(t);
    if (*port_count(t, key) >= t->limit)
        return false;
    if (!t->guarded)
        return true;
    return (seen_has(t->seen, hash) || seen_again(t->seen, hash)) && t->n < t->size;
}

static void flow_new(struct flow_table *t, const struct pending *pending)
{
    const struct packet *p = &pending->packet;
    if (!admit(t, &p->key, pending->hash)) {
        flood_packets(t, &p->key, 1, p->ip_len);
        return;
    }
    uint32_t i = t->n++;
    if (t->counting)
        ++*port_count(t, &p->key);
    t->nodes[i] = (struct flow_node){
        .key = p->key,
        .hash = pending->hash,
        .packets = 1,
        .bytes = p->ip_len,
        .first_ms = pending->offset_ms,
        .last_ms = pending->offset_ms,
    };
    struct flow_first *first = &t->firsts[i];
    first->ip_len = p->ip_len;
    first->src_port = p->src_port;
    first->tcp_window = p->tcp_window;
    first->ip_id = p->ip_id;
    first->has = p->has;
    if (p->options_len)
        tcp_options_parse(p->options, p->options_len, &first->options);
    else
        first->options = (struct tcp_options){.wscale = WSCALE_NONE};
    if (t->n * 2 > t->slots) { // max_slots has two for each flow
        t->slots *= 2;
        index_rebuild(t);
    } else {
        index_put(t, i);
    }
}

static void flow_count(struct flow_table *t, struct flow_node *node, const struct packet *p,
                       uint32_t offset)
{
    if (node->packets == PACKETS_MAX) { // no room for one more in the row
        flood_packets(t, &p->key, 1, p->ip_len);
        return;
    }
    node->packets++;
    node->bytes += p->ip_len;
    node->first_ms = MIN(node->first_ms, offset);
    node->last_ms = MAX(node->last_ms, offset);
}

static void count_pending(struct flow_table *t, const struct pending *pending)
{
    const struct packet *p = &pending->packet;
    uint32_t hash = pending->hash, mask = t->slots - 1;
    for (uint32_t i = hash & mask; t->index[i]; i = (i + 1) & mask) {
        if (t->index[i] >> 32 != hash)
            continue;
        struct flow_node *node = &t->nodes[(uint32_t)t->index[i] - 1];
        if (memcmp(&node->key, &p->key, sizeof p->key) == 0) {
            flow_count(t, node, p, pending->offset_ms);
            return;
        }
    }
    flow_new(t, pending);
}

// Two copies that may overlap: of a memcpy whose size it does not know gcc makes "rep movs", which
// takes 10 ns to begin.
static void options_copy(uint8_t *to, const uint8_t *from, uint8_t n)
{
    if (n > 32)
        memcpy(to + 16, from + 16, 16);
    if (n >= 16) {
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else {
        for (uint8_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

void flow_table_add(struct flow_table *t, const struct packet *p, uint32_t offset_ms)
{
    struct pending *pending = &t->pending[t->added % PENDING];
    if (t->added - t->counted == PENDING) {
        count_pending(t, pending);
        t->counted++;
    }
    t->added++;
    t->packets++;
    pending->packet = *p;
    pending->offset_ms = offset_ms;
    if (p->options_len) {
        options_copy(pending->options, p->options, p->options_len);
        pending->packet.options = pending->options;
    }
    pending->hash =
        (uint32_t)XXH3_64bits_withSecret(&p->key, sizeof p->key, t->secret, sizeof t->secret);
    __builtin_prefetch(&t->index[pending->hash & (t->slots - 1)]);
}

void flow_table_settle(struct flow_table *t)
{
    for (; t->counted != t->added; t->counted++)
        count_pending(t, &t->pending[t->counted % PENDING]);
}

void flow_table_totals(const struct flow_table *t, struct flow_table_totals *ret)
{
    uint64_t flooded = flood_table_packets(t->flood);
    *ret = (struct flow_table_totals){
        .flows = t->n,
        .row_packets = t->packets - flooded,
        .flood_packets = flooded,
        .rebuilds = t->rebuilds,
    };
}

void flow_table_sort(struct flow_table *t, enum flow_order order)
{
    // the index has two slots for every flow, and is not needed any more
    t->sorted = flow_sort(t->nodes, t->n, order, t->index, t->index + t->max_slots / 2);
}

void flow_table_flow(const struct flow_table *t, uint32_t i, int64_t start_ms, struct flow *ret)
{
    if (i + PENDING < t->n) { // sorted flows are all over the table: fetch those to come
        uint32_t later = (uint32_t)t->sorted[i + PENDING];
        __builtin_prefetch(&t->nodes[later]);
        __builtin_prefetch(&t->firsts[later]);
    }
    uint32_t number = (uint32_t)t->sorted[i];
    const struct flow_node *node = &t->nodes[number];
    const struct flow_first *first = &t->firsts[number];
    const struct flow_key *key = &node->key;
    // field by field: clearing all of it first, as an initialiser does, takes as long as the rest
    ret->src.version = key->version;
    ret->dst.version = key->version;
    ret->proto = key->proto;
    ret->ttl = key->ttl;
    ret->tcp_flags = key->tcp_flags;
    ret->marks = key->marks;
    ret->has = first->has;
    ret->port = key->port;
    ret->ts_ms = start_ms + node->first_ms;
    ret->duration_ms = node->last_ms - node->first_ms;
    ret->packets = node->packets;
    ret->bytes = node->bytes;
    ret->src_port = first->src_port;
    ret->tcp_window = first->tcp_window;
    ret->ip_id = first->ip_id;
    ret->ip_len = first->ip_len;
    ret->options = first->options;
    memcpy(ret->src.b, key->src, sizeof key->src);
    memcpy(ret->dst.b, key->dst, sizeof key->dst);
}

uint32_t flow_table_floods(const struct flow_table *t, int64_t start_ms, struct flood *ret)
{
    return flood_table_rows(t->flood, start_ms, ret);
}

// The sources of all flows; those of flood rows were added packet by packet.
static void add_sources(struct flow_table *t)
{
    uint64_t hashes[16];
    for (uint32_t done = 0; done < t->n;) {
        uint32_t n = MIN(t->n - done, (uint32_t)ARRAY_SIZE(hashes));
        for (uint32_t i = 0; i < n; i++)
            hashes[i] = source_set_hash(t->sources, &t->nodes[done + i].key);
        for (uint32_t i = 0; i < n; i++)
            source_set_add(t->sources, hashes[i]);
        done += n;
    }
}

// Which keys are ones that came before, from now on: of a window without a flood all, else those
// that are no single packet, or already were. Every eighth window is enough: it takes 10 ns a flow.
static void learn(struct flow_table *t)
{
    bool flooded = flood_table_packets(t->flood) > 0;
    if (!flooded && t->windows++ % LEARN_EVERY != 0)
        return;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct flow_node *node = &t->nodes[i];
        if (!flooded || node->packets > 1 || (t->guarded && i >= t->guarded_from) ||
            seen_has(t->seen, node->hash))
            seen_add(t->seen, node->hash);
    }
    seen_window(t->seen);
}

void flow_table_clear(struct flow_table *t)
{
    learn(t);
    if (t->sources)
        add_sources(t);
    clear_counts(t);
    // the sort has left its traces in both halves of the index
    uint32_t used = t->n, half = t->max_slots / 2;
    memset(t->index, 0, MAX(t->slots, used) * sizeof t->index[0]);
    if (t->sorted)
        memset(t->index + half, 0, used * sizeof t->index[0]);
    t->sorted = NULL;
    t->slots = MAX(MIN(power_of_two(used * 2), t->max_slots), INDEX_MIN);
    t->n = 0;
    t->packets = 0;
    t->rebuilds = 0;
    t->guarded = false;
    limit_reset(t);
    flood_table_clear(t->flood);
}
