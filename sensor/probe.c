#include "sensor/probe.h"

#include "common/clock.h"
#include "sensor/link.h"

static bool send_ping(struct link *l)
{
    uint8_t header[WIRE_HEADER_MAX];
    size_t size;
    struct wire_header h = {.kind = WIRE_PING, .sent_ms = wall_ms()};
    return wire_header_encode(&h, header, &size) == 0 && link_send(l, header, size, NULL, 0) == 0;
}

// Takes in what has come; true: a pong was among it.
static bool read_pong(struct link *l, struct probe *p)
{
    struct wire_header h;
    struct wire_reply reply;
    struct errmsg e;
    while (link_receive(l, &h, &reply, &e) == 0) {
        if (h.kind != WIRE_PONG)
            continue;
        p->clock_offset_ms = reply.clock_ms - wall_ms();
        p->answer = reply.db_ok ? PROBE_GOOD : PROBE_NO_DATABASE;
        return true;
    }
    return false;
}

static void talk(struct link *l, struct probe *p)
{
    for (int64_t end = mono_ms() + PROBE_MS; mono_ms() < end;) {
        enum link_event event;
        while (link_next_event(l, &event) == 0) {
            if (event == LINK_REVOKED)
                p->answer = PROBE_REVOKED;
            if (event == LINK_NO_HANDSHAKE || event == LINK_TOO_OFTEN)
                p->answer = PROBE_REFUSED;
            if (event != LINK_CONNECTED && event != LINK_READY)
                return;
            if (event == LINK_READY && send_ping(l))
                p->answer = PROBE_SILENT;
        }
        if (read_pong(l, p))
            return;
        link_wait(l, -1, (int)MAX(end - mono_ms(), 0)); // less than 0 would be for ever
    }
}

int probe_collectors(const struct sensor_conf *conf, const struct key_pair *keys, struct probe *ret,
                     struct errmsg *e)
{
    _cleanup_(link_freep) struct link *link = NULL;
    int r = link_new(&link);
    if (r < 0)
        return errmsg_set(e, r, "out of memory");
    struct probe best = {.endpoint = conf->endpoints[0]};
    for (size_t i = 0; i < conf->n_endpoints && best.answer != PROBE_GOOD; i++) {
        struct probe p = {.endpoint = conf->endpoints[i]};
        const uint8_t *server_key =
            i < conf->n_endpoints - conf->n_next ? conf->server_key : conf->next_server_key;
        if (link_open(link, p.endpoint, server_key, keys, NULL) == 0)
            talk(link, &p);
        link_close(link);
        if (p.answer > best.answer)
            best = p;
    }
    *ret = best;
    return 0;
}
