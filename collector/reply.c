#include <string.h>

#include "collector/frames.h"
#include "collector/writer.h"
#include "common/clock.h"

static int send_frame(void *socket, const void *data, size_t size, int flags, bool first)
{
    for (;;) {
        if (zmq_send(socket, data, size, ZMQ_DONTWAIT | flags) >= 0)
            return 0;
        if (first ? errno != EINTR : !frames_may_try_again())
            return errno == EAGAIN || errno == EHOSTUNREACH ? -EAGAIN : -errno;
    }
}

int reply_send(void *socket, const uint8_t *route, size_t route_size, const struct reply *reply)
{
    struct wire_header h = {
        .kind = reply->kind, .seq = reply->seq, .sent_ms = wall_ms(), .has_sha256 = true};
    struct wire_reply body = reply->body;
    uint8_t header[WIRE_HEADER_MAX], payload[WIRE_REPLY_MAX];
    size_t header_size, payload_size;
    memcpy(h.spool_id, reply->spool_id, WIRE_SPOOL_ID_SIZE);
    body.clock_ms = h.sent_ms;
    int r = wire_reply_encode(&body, payload, &payload_size);
    if (r < 0)
        return r;
    wire_sha256(payload, payload_size, h.sha256);
    r = wire_header_encode(&h, header, &header_size);
    if (r < 0)
        return r;
    // A ROUTER decides about the peer at the first frame; the others then follow.
    r = send_frame(socket, route, route_size, ZMQ_SNDMORE, true);
    if (r == 0)
        r = send_frame(socket, header, header_size, ZMQ_SNDMORE, false);
    if (r == 0)
        r = send_frame(socket, payload, payload_size, 0, false);
    return r;
}
