#include "sensor/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define REPLY_FRAME_MAX  4096 // bytes a frame from a collector may have
#define STATUS_REVOKED   400  // ZAP's (RFC 27), as collector/zap uses them
#define STATUS_TOO_OFTEN 500

struct link {
    void *context;
    void *socket;
    void *monitor;
    unsigned opened; // monitors need names of their own
    bool tcp_up;
    bool ready;
};

int link_new(struct link **ret)
{
    _cleanup_(link_freep) struct link *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->context = zmq_ctx_new();
    if (!l->context)
        return -zmq_errno();
    zmq_ctx_set(l->context, ZMQ_IO_THREADS, 1);
    zmq_ctx_set(l->context, ZMQ_MAX_SOCKETS, 16);
    *ret = l;
    l = NULL;
    return 0;
}

void link_free(struct link *l)
{
    if (!l)
        return;
    link_close(l);
    if (l->context)
        zmq_ctx_term(l->context);
    free(l);
}

void link_close(struct link *l)
{
    if (l->socket) {
        zmq_socket_monitor(l->socket, NULL, 0);
        zmq_close(l->socket);
    }
    if (l->monitor)
        zmq_close(l->monitor);
    l->socket = l->monitor = NULL;
    l->tcp_up = l->ready = false;
}

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0 ? 0 : -zmq_errno();
}

static int set_options(struct link *l, const uint8_t server_key[KEY_SIZE],
                       const struct key_pair *keys)
{
    static const struct {
        int option;
        int value;
    } ints[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_IPV6, 1},
        {ZMQ_SNDHWM, LINK_MESSAGES_MAX},
        {ZMQ_RCVHWM, 256},
        {ZMQ_IMMEDIATE, 1},
        {ZMQ_RECONNECT_IVL, -1},
        {ZMQ_CONNECT_TIMEOUT, 8000},
        {ZMQ_HANDSHAKE_IVL, 8000},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, 60},
        {ZMQ_TCP_KEEPALIVE_INTVL, 15},
        {ZMQ_TCP_KEEPALIVE_CNT, 4},
        {ZMQ_TCP_MAXRT, 60000},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ints); i++) {
        int r = set_int(l->socket, ints[i].option, ints[i].value);
        if (r < 0)
            return r;
    }
    int64_t max = REPLY_FRAME_MAX;
    if (zmq_setsockopt(l->socket, ZMQ_MAXMSGSIZE, &max, sizeof max) < 0 ||
        zmq_setsockopt(l->socket, ZMQ_CURVE_SERVERKEY, server_key, KEY_SIZE) < 0 ||
        zmq_setsockopt(l->socket, ZMQ_CURVE_PUBLICKEY, keys->public_key, KEY_SIZE) < 0 ||
        zmq_setsockopt(l->socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, KEY_SIZE) < 0)
        return -zmq_errno();
    return 0;
}

static int open_monitor(struct link *l)
{
    char name[64];
    snprintf(name, sizeof name, "inproc://monitor-%u", l->opened++);
    int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_CLOSED |
                 ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                 ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor(l->socket, name, events) < 0)
        return -zmq_errno();
    l->monitor = zmq_socket(l->context, ZMQ_PAIR);
    if (!l->monitor || set_int(l->monitor, ZMQ_LINGER, 0) < 0 || zmq_connect(l->monitor, name) < 0)
        return -zmq_errno();
    return 0;
}

int link_open(struct link *l, const char *endpoint, const uint8_t server_key[KEY_SIZE],
              const struct key_pair *keys, struct errmsg *e)
{
    link_close(l);
    l->socket = zmq_socket(l->context, ZMQ_DEALER);
    int r = l->socket ? set_options(l, server_key, keys) : -zmq_errno();
    if (r == 0)
        r = open_monitor(l);
    if (r == 0 && zmq_connect(l->socket, endpoint) < 0)
        r = -zmq_errno();
    if (r == 0)
        return 0;
    link_close(l);
    return errmsg_set(e, r, "collector %s: %s", endpoint, zmq_strerror(-r));
}

static void payload_free(void *data, void *hint)
{
    (void)hint;
    free(data);
}

int link_send(struct link *l, const uint8_t *header, size_t header_size, uint8_t *payload,
              size_t size)
{
    zmq_msg_t message;
    if (payload ? zmq_msg_init_data(&message, payload, size, payload_free, NULL) < 0
                : zmq_msg_init_size(&message, 0) < 0) {
        free(payload);
        return -ENOMEM;
    }
    if (!l->socket || zmq_send(l->socket, header, header_size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) {
        int r = l->socket ? -zmq_errno() : -ENOTCONN;
        zmq_msg_close(&message);
        return r;
    }
    if (zmq_msg_send(&message, l->socket, ZMQ_DONTWAIT) < 0) {
        int r = -zmq_errno();
        zmq_msg_close(&message);
        return r;
    }
    return 0;
}

// Receives all frames of one message, keeps the first two. Value: number of frames, or -errno.
static int receive_frames(struct link *l, zmq_msg_t frames[2])
{
    for (int n = 0;; n++) {
        zmq_msg_t extra;
        zmq_msg_init(&extra);
        zmq_msg_t *m = n < 2 ? &frames[n] : &extra;
        int r = zmq_msg_recv(m, l->socket, ZMQ_DONTWAIT) < 0 ? -zmq_errno() : 0;
        bool more = r == 0 && zmq_msg_more(m);
        zmq_msg_close(&extra);
        if (r < 0)
            return r;
        if (!more)
            return n + 1;
    }
}

static int decode_reply(zmq_msg_t frames[2], struct wire_header *ret_header,
                        struct wire_reply *ret_reply, struct errmsg *e)
{
    int r = wire_header_decode(zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]), ret_header, e);
    if (r == 0)
        r = wire_reply_decode(zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), ret_reply, e);
    return r == WIRE_REFUSED ? LINK_FOREIGN : r;
}

int link_receive(struct link *l, struct wire_header *ret_header, struct wire_reply *ret_reply,
                 struct errmsg *e)
{
    if (!l->socket)
        return LINK_NOTHING;
    zmq_msg_t frames[2];
    zmq_msg_init(&frames[0]);
    zmq_msg_init(&frames[1]);
    int r = receive_frames(l, frames);
    if (r == -EAGAIN)
        r = LINK_NOTHING;
    else if (r > 0)
        r = r == 2 ? decode_reply(frames, ret_header, ret_reply, e)
                   : errmsg_set(e, LINK_FOREIGN, "message of %d frames", r);
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    return r;
}

static enum link_event event_meaning(struct link *l, unsigned event, uint32_t value)
{
    switch (event) {
    case ZMQ_EVENT_CONNECTED:
        l->tcp_up = true;
        return LINK_CONNECTED;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        l->ready = true;
        return LINK_READY;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        return value == STATUS_REVOKED     ? LINK_REVOKED
               : value == STATUS_TOO_OFTEN ? LINK_TOO_OFTEN
                                           : LINK_NO_HANDSHAKE;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: // also of later messages: somebody on the way
        return l->ready ? LINK_LOST : LINK_NO_HANDSHAKE;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return LINK_NO_HANDSHAKE;
    default:
        return l->tcp_up && !l->ready ? LINK_NO_HANDSHAKE : LINK_LOST;
    }
}

int link_next_event(struct link *l, enum link_event *ret)
{
    if (!l->monitor)
        return LINK_NOTHING;
    zmq_msg_t frames[2];
    zmq_msg_init(&frames[0]);
    zmq_msg_init(&frames[1]);
    uint16_t event = 0;
    uint32_t value = 0;
    int r = zmq_msg_recv(&frames[0], l->monitor, ZMQ_DONTWAIT) < 0 ? -zmq_errno() : 0;
    if (r == 0 && zmq_msg_size(&frames[0]) >= sizeof event + sizeof value) {
        const uint8_t *p = zmq_msg_data(&frames[0]);
        memcpy(&event, p, sizeof event);
        memcpy(&value, p + sizeof event, sizeof value);
    }
    if (r == 0 && zmq_msg_more(&frames[0]) && zmq_msg_recv(&frames[1], l->monitor, 0) < 0)
        r = -zmq_errno();
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    if (r == 0)
        *ret = event_meaning(l, event, value);
    return r == -EAGAIN ? LINK_NOTHING : r;
}

int link_wait(struct link *l, int fd, int timeout_ms)
{
    zmq_pollitem_t items[3] = {{.fd = fd, .events = ZMQ_POLLIN}};
    int n = 1;
    if (l->socket) {
        items[n++] = (zmq_pollitem_t){.socket = l->socket, .events = ZMQ_POLLIN};
        items[n++] = (zmq_pollitem_t){.socket = l->monitor, .events = ZMQ_POLLIN};
    }
    if (zmq_poll(items, n, timeout_ms) < 0 && zmq_errno() != EINTR)
        return -zmq_errno();
    return 0;
}
