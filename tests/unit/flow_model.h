// A flow table as one would write it on a blackboard: an array that grows. What the real one must
// agree with, field by field, as long as nothing floods.
#pragma once

#include <string.h>

#include "sensor/decode.h"
#include "sensor/packet.h"

#define MODEL_MAX 20000

struct model {
    uint32_t n;
    struct model_flow {
        struct flow_key key;
        struct packet first;
        struct tcp_options options;
        uint32_t packets, first_ms, last_ms;
        uint64_t bytes;
    } flows[MODEL_MAX];
};

static inline void model_add(struct model *m, const struct packet *p, uint32_t offset_ms)
{
    uint32_t i = 0;
    while (i < m->n && memcmp(&m->flows[i].key, &p->key, sizeof p->key) != 0)
        i++;
    struct model_flow *f = &m->flows[i];
    if (i == m->n) {
        *f = (struct model_flow){.key = p->key, .first = *p, .first_ms = offset_ms};
        tcp_options_parse(p->options, p->options_len, &f->options);
        f->last_ms = offset_ms;
        m->n++;
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
    uint32_t i = 0;
    while (i < m->n && memcmp(&m->flows[i].key, &key, sizeof key) != 0)
        i++;
    if (i == m->n)
        return "a flow that is not there";
    const struct model_flow *f = &m->flows[i];
    const char *difference = f->packets != flow->packets                     ? "packets"
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
    m->flows[i] = m->flows[--m->n];
    return difference;
}
