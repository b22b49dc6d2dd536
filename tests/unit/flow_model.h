// A flow table as one would write it on a blackboard: an array that grows, with chains to find a
// key in it. What the real one must agree with, field by field, as long as nothing floods.
#pragma once

#include <string.h>

#include "sensor/decode.h"
#include "sensor/packet.h"

#define MODEL_MAX    20000
#define MODEL_CHAINS 4096

struct model {
    uint32_t n;
    uint32_t left;                // not taken yet
    uint32_t chain[MODEL_CHAINS]; // flow + 1; 0: empty
    struct model_flow {
        uint32_t next; // of its chain, likewise
        bool taken;
        struct flow_key key;
        struct packet first;
        struct tcp_options options;
        uint32_t packets, first_ms, last_ms;
        uint64_t bytes;
    } flows[MODEL_MAX];
};

static inline void model_clear(struct model *m)
{
    memset(m->chain, 0, sizeof m->chain);
    m->n = m->left = 0;
}

static inline uint32_t *model_chain(struct model *m, const struct flow_key *key)
{
    uint64_t words[5], h = 0;
    memcpy(words, key, sizeof words);
    for (int i = 0; i < 5; i++)
        h = (h ^ words[i]) * 0x9e3779b97f4a7c15u;
    return &m->chain[h >> 52];
}

// NULL: not there.
static inline struct model_flow *model_find(struct model *m, const struct flow_key *key)
{
    uint32_t at = *model_chain(m, key);
    while (at && memcmp(&m->flows[at - 1].key, key, sizeof *key) != 0)
        at = m->flows[at - 1].next;
    return at ? &m->flows[at - 1] : NULL;
}

static inline void model_add(struct model *m, const struct packet *p, uint32_t offset_ms)
{
    struct model_flow *f = model_find(m, &p->key);
    if (!f) {
        uint32_t *chain = model_chain(m, &p->key);
        f = &m->flows[m->n++];
        *f = (struct model_flow){.next = *chain, .key = p->key, .first = *p, .first_ms = offset_ms};
        *chain = m->n;
        m->left++;
        tcp_options_parse(p->options, p->options_len, &f->options);
        f->last_ms = offset_ms;
    }
    f->packets++;
    f->bytes += p->ip_len;
    f->first_ms = offset_ms < f->first_ms ? offset_ms : f->first_ms;
    f->last_ms = offset_ms > f->last_ms ? offset_ms : f->last_ms;
}

static inline bool same_options(const struct tcp_options *a, const struct tcp_options *b)
{
    return a->n == b->n && memcmp(a->kinds, b->kinds, a->n) == 0 && a->mss == b->mss &&
           a->wscale == b->wscale;
}

// NULL when the flow is in the model exactly so, once; else what differs. The flow is taken out.
static inline const char *model_take(struct model *m, const struct flow *flow, int64_t start_ms)
{
    struct flow_key key = {.port = flow->port,
                           .proto = flow->proto,
                           .ttl = flow->ttl,
                           .tcp_flags = flow->tcp_flags,
                           .marks = flow->marks,
                           .has_port = flow->has & HAS_PORT,
                           .version = flow->src.version};
    memcpy(key.src, flow->src.b, sizeof key.src);
    memcpy(key.dst, flow->dst.b, sizeof key.dst);
    struct model_flow *f = model_find(m, &key);
    if (!f || f->taken)
        return "a flow that is not there";
    f->taken = true;
    m->left--;
    return f->packets != flow->packets                     ? "packets"
           : f->bytes != flow->bytes                       ? "bytes"
           : start_ms + f->first_ms != flow->ts_ms         ? "time"
           : f->last_ms - f->first_ms != flow->duration_ms ? "duration"
           : f->first.has != flow->has                     ? "has"
           : f->first.ip_len != flow->ip_len               ? "ip_len"
           : f->first.ip_id != flow->ip_id                 ? "ip_id"
           : f->first.src_port != flow->src_port           ? "src_port"
           : f->first.tcp_window != flow->tcp_window       ? "tcp_window"
           : flow->dst.version != flow->src.version        ? "dst version"
           : !same_options(&f->options, &flow->options)    ? "options"
                                                           : NULL;
}
