// Headers, replies and heartbeats.
#include <sodium.h>
#include <string.h>

#include "common/wire_bound.h"
#include "common/wire_internal.h"

void wire_sha256(const uint8_t *p, size_t size, uint8_t ret_digest[WIRE_SHA256_SIZE])
{
    crypto_hash_sha256(ret_digest, p, size);
}

static const struct {
    enum wire_kind wire;
    Hirundo__V1__Kind proto;
} kinds[] = {
    {WIRE_BATCH, HIRUNDO__V1__KIND__KIND_BATCH},
    {WIRE_LOSS, HIRUNDO__V1__KIND__KIND_LOSS},
    {WIRE_HEARTBEAT, HIRUNDO__V1__KIND__KIND_HEARTBEAT},
    {WIRE_PING, HIRUNDO__V1__KIND__KIND_PING},
    {WIRE_ACK, HIRUNDO__V1__KIND__KIND_ACK},
    {WIRE_NACK, HIRUNDO__V1__KIND__KIND_NACK},
    {WIRE_PONG, HIRUNDO__V1__KIND__KIND_PONG},
};

static int kind_from_proto(Hirundo__V1__Kind proto, enum wire_kind *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].proto == proto) {
            *ret = kinds[i].wire;
            return 0;
        }
    }
    return -EINVAL;
}

static int kind_to_proto(enum wire_kind wire, Hirundo__V1__Kind *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].wire == wire) {
            *ret = kinds[i].proto;
            return 0;
        }
    }
    return -EINVAL;
}

int wire_pack(const ProtobufCMessage *m, uint8_t *buf, size_t size, size_t *ret_size)
{
    size_t need = protobuf_c_message_get_packed_size(m);
    if (need > size)
        return -E2BIG;
    *ret_size = protobuf_c_message_pack(m, buf);
    return 0;
}

static Hirundo__V1__Counters counters_to_proto(const struct counters *c)
{
    Hirundo__V1__Counters m = HIRUNDO__V1__COUNTERS__INIT;
    m.frames = c->frames;
    m.non_ip = c->non_ip;
    m.malformed = c->malformed;
    m.row_packets = c->row_packets;
    m.flood_packets = c->flood_packets;
    m.kernel_dropped = c->kernel_dropped;
    m.interface_dropped = c->interface_dropped;
    return m;
}

static struct counters counters_from_proto(const Hirundo__V1__Counters *m)
{
    if (!m)
        return (struct counters){0};
    return (struct counters){
        .frames = m->frames,
        .non_ip = m->non_ip,
        .malformed = m->malformed,
        .row_packets = m->row_packets,
        .flood_packets = m->flood_packets,
        .kernel_dropped = m->kernel_dropped,
        .interface_dropped = m->interface_dropped,
    };
}

int wire_header_encode(const struct wire_header *h, uint8_t buf[WIRE_HEADER_MAX], size_t *ret_size)
{
    Hirundo__V1__Header m = HIRUNDO__V1__HEADER__INIT;
    Hirundo__V1__Counters counters = counters_to_proto(&h->counters);
    int r = kind_to_proto(h->kind, &m.kind);
    if (r < 0)
        return r;
    m.spool_id = (ProtobufCBinaryData){sizeof h->spool_id, (uint8_t *)h->spool_id};
    m.seq = h->seq;
    m.run_id = h->run_id;
    m.counters = &counters;
    m.first_window = h->first_window_ms;
    m.last_window = h->last_window_ms;
    m.frames = h->frames;
    m.codec = h->codec;
    if (h->has_sha256)
        m.sha256 = (ProtobufCBinaryData){sizeof h->sha256, (uint8_t *)h->sha256};
    m.sent = h->sent_ms;
    return wire_pack(&m.base, buf, WIRE_HEADER_MAX, ret_size);
}

static int header_from_proto(const Hirundo__V1__Header *m, struct wire_header *ret,
                             struct errmsg *e)
{
    struct wire_header h = {
        .seq = m->seq,
        .run_id = m->run_id,
        .counters = counters_from_proto(m->counters),
        .first_window_ms = m->first_window,
        .last_window_ms = m->last_window,
        .frames = m->frames,
        .codec = m->codec,
        .has_sha256 = m->sha256.len != 0,
        .sent_ms = m->sent,
    };
    if (kind_from_proto(m->kind, &h.kind) < 0)
        return errmsg_set(e, WIRE_REFUSED, "unknown kind of message %d", (int)m->kind);
    if (m->spool_id.len != sizeof h.spool_id)
        return errmsg_set(e, WIRE_REFUSED, "spool id of %zu bytes", m->spool_id.len);
    if (h.has_sha256 && m->sha256.len != sizeof h.sha256)
        return errmsg_set(e, WIRE_REFUSED, "digest of %zu bytes", m->sha256.len);
    memcpy(h.spool_id, m->spool_id.data, sizeof h.spool_id);
    if (h.has_sha256)
        memcpy(h.sha256, m->sha256.data, sizeof h.sha256);
    *ret = h;
    return 0;
}

int wire_header_decode(const uint8_t *p, size_t size, struct wire_header *ret, struct errmsg *e)
{
    if (size > WIRE_HEADER_MAX)
        return errmsg_set(e, WIRE_REFUSED, "header of %zu bytes, at most %u", size,
                          WIRE_HEADER_MAX);
    struct wire_bound bound;
    ProtobufCMessage *m =
        wire_bound_unpack(&bound, &hirundo__v1__header__descriptor, p, size, 16 * WIRE_HEADER_MAX);
    if (!m)
        return wire_bound_failed(&bound, "header is not a hirundo.v1.Header", e);
    int r = header_from_proto((const Hirundo__V1__Header *)m, ret, e);
    wire_bound_free(&bound, m);
    return r;
}

static int copy_text(char ret[WIRE_TEXT_MAX + 1], const char *text)
{
    size_t n = strlen(text);
    if (n > WIRE_TEXT_MAX)
        return -E2BIG;
    for (size_t i = 0; i < n; i++) { // for logs and terminals: nothing that moves a cursor
        unsigned char c = (unsigned char)text[i];
        ret[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    ret[n] = '\0';
    return 0;
}

int wire_text_copy(char ret[WIRE_TEXT_MAX + 1], const char *text, const char *what,
                   struct errmsg *e)
{
    if (copy_text(ret, text) < 0)
        return errmsg_set(e, WIRE_REFUSED, "%s of %zu bytes, at most %u", what, strlen(text),
                          WIRE_TEXT_MAX);
    return 0;
}

int wire_heartbeat_encode(const struct wire_heartbeat *h, uint8_t buf[WIRE_HEADER_MAX],
                          size_t *ret_size)
{
    Hirundo__V1__Heartbeat m = HIRUNDO__V1__HEARTBEAT__INIT;
    m.version = (char *)h->version;
    m.uptime_s = h->uptime_s;
    m.rss_kib = h->rss_kib;
    m.cpu_ms = h->cpu_ms;
    m.spool_batches = h->spool_batches;
    m.spool_bytes = h->spool_bytes;
    m.spool_cap_bytes = h->spool_cap_bytes;
    m.spool_age_s = h->spool_age_s;
    m.clock_offset_ms = h->clock_offset_ms;
    m.round_trip_ms = h->round_trip_ms;
    m.spool_dropped = h->spool_dropped;
    m.spool_failing = h->spool_failing;
    m.queue_batches = h->queue_batches;
    m.problem = (char *)h->problem;
    return wire_pack(&m.base, buf, WIRE_HEADER_MAX, ret_size);
}

int wire_heartbeat_decode(const uint8_t *p, size_t size, struct wire_heartbeat *ret,
                          struct errmsg *e)
{
    if (size > WIRE_HEADER_MAX)
        return errmsg_set(e, WIRE_REFUSED, "heartbeat of %zu bytes", size);
    struct wire_bound bound;
    ProtobufCMessage *base = wire_bound_unpack(&bound, &hirundo__v1__heartbeat__descriptor, p, size,
                                               16 * WIRE_HEADER_MAX);
    if (!base)
        return wire_bound_failed(&bound, "payload is not a hirundo.v1.Heartbeat", e);
    const Hirundo__V1__Heartbeat *m = (const Hirundo__V1__Heartbeat *)base;
    struct wire_heartbeat h = {
        .uptime_s = m->uptime_s,
        .rss_kib = m->rss_kib,
        .cpu_ms = m->cpu_ms,
        .spool_batches = m->spool_batches,
        .spool_bytes = m->spool_bytes,
        .spool_cap_bytes = m->spool_cap_bytes,
        .spool_age_s = m->spool_age_s,
        .clock_offset_ms = m->clock_offset_ms,
        .round_trip_ms = m->round_trip_ms,
        .spool_dropped = m->spool_dropped,
        .spool_failing = m->spool_failing,
        .queue_batches = m->queue_batches,
    };
    int r = wire_text_copy(h.version, m->version, "version", e);
    if (r == 0)
        r = wire_text_copy(h.problem, m->problem, "problem", e);
    if (r == 0)
        *ret = h;
    wire_bound_free(&bound, base);
    return r;
}

int wire_reply_encode(const struct wire_reply *reply, uint8_t buf[WIRE_REPLY_MAX], size_t *ret_size)
{
    Hirundo__V1__Reply m = HIRUNDO__V1__REPLY__INIT;
    m.committed_through = reply->committed_through;
    m.expected_seq = reply->expected_seq;
    m.reason = reply->reason == WIRE_NACK_GAP    ? HIRUNDO__V1__NACK_REASON__NACK_GAP
               : reply->reason == WIRE_NACK_FORK ? HIRUNDO__V1__NACK_REASON__NACK_FORK
                                                 : HIRUNDO__V1__NACK_REASON__NACK_UNSPECIFIED;
    m.credit = reply->credit;
    m.db_ok = reply->db_ok;
    m.clock = reply->clock_ms;
    m.echo = reply->echo_ms;
    m.detail = (char *)reply->detail;
    return wire_pack(&m.base, buf, WIRE_REPLY_MAX, ret_size);
}

static int reply_from_proto(const Hirundo__V1__Reply *m, struct wire_reply *ret, struct errmsg *e)
{
    struct wire_reply reply = {
        .committed_through = m->committed_through,
        .expected_seq = m->expected_seq,
        .credit = m->credit,
        .db_ok = m->db_ok,
        .clock_ms = m->clock,
        .echo_ms = m->echo,
    };
    if (m->reason == HIRUNDO__V1__NACK_REASON__NACK_GAP)
        reply.reason = WIRE_NACK_GAP;
    else if (m->reason == HIRUNDO__V1__NACK_REASON__NACK_FORK)
        reply.reason = WIRE_NACK_FORK;
    else if (m->reason != HIRUNDO__V1__NACK_REASON__NACK_UNSPECIFIED)
        return errmsg_set(e, WIRE_REFUSED, "unknown reason of a nack %d", (int)m->reason);
    int r = wire_text_copy(reply.detail, m->detail, "detail", e);
    if (r == 0)
        *ret = reply;
    return r;
}

int wire_reply_decode(const uint8_t *p, size_t size, struct wire_reply *ret, struct errmsg *e)
{
    if (size > WIRE_REPLY_MAX)
        return errmsg_set(e, WIRE_REFUSED, "reply of %zu bytes", size);
    struct wire_bound bound;
    ProtobufCMessage *m =
        wire_bound_unpack(&bound, &hirundo__v1__reply__descriptor, p, size, 16 * WIRE_REPLY_MAX);
    if (!m)
        return wire_bound_failed(&bound, "payload is not a hirundo.v1.Reply", e);
    int r = reply_from_proto((const Hirundo__V1__Reply *)m, ret, e);
    wire_bound_free(&bound, m);
    return r;
}
