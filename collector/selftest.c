#include "collector/selftest.h"

#include <string.h>
#include <zmq.h>

#include "common/clock.h"

#define MONITOR    "inproc://hirundo.selftest"
#define TIMEOUT_MS 5000

static void close_socket(void *socket)
{
    void *s = *(void **)socket;
    if (s)
        zmq_close(s);
}

// The next event of the router's connections and its value, 0 at the deadline.
static int next_event(void *monitor, int64_t deadline, uint32_t *ret_value)
{
    zmq_pollitem_t item = {monitor, 0, ZMQ_POLLIN, 0};
    int64_t left = deadline - mono_ms();
    if (left <= 0 || zmq_poll(&item, 1, (long)left) <= 0)
        return 0;
    uint8_t frame[6] = {0};
    char address[256];
    uint16_t event;
    zmq_recv(monitor, frame, sizeof frame, 0);
    zmq_recv(monitor, address, sizeof address, 0);
    memcpy(&event, frame, sizeof event);
    memcpy(ret_value, frame + sizeof event, sizeof *ret_value);
    return event;
}

static int watch(void *monitor, const struct zap *zap, struct errmsg *e)
{
    int64_t deadline = mono_ms() + TIMEOUT_MS;
    uint32_t value = 0;
    for (;;) {
        int event = next_event(monitor, deadline, &value);
        if (event == 0)
            return errmsg_set(
                e, -EACCES,
                "self-test: no answer to a handshake with an unknown key; not listening");
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            return errmsg_set(e, -EACCES,
                              "self-test: an unknown key was let in: this libzmq does not ask the "
                              "authentication handler; not listening");
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
            break;
    }
    if (value != 300 || zap_refused(zap) == 0)
        return errmsg_set(e, -EACCES,
                          "self-test: the authentication handler was not asked; not listening");
    return 0;
}

static int knock(void *zmq, void *monitor, const char *endpoint, const uint8_t server_key[KEY_SIZE],
                 const struct zap *zap, struct errmsg *e)
{
    _cleanup_(close_socket) void *client = zmq_socket(zmq, ZMQ_DEALER);
    struct key_pair pair;
    int none = 0;
    int r = key_pair_generate(&pair);
    if (r < 0)
        return r;
    if (!client || zmq_setsockopt(client, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_setsockopt(client, ZMQ_CURVE_SERVERKEY, server_key, KEY_SIZE) < 0 ||
        zmq_setsockopt(client, ZMQ_CURVE_PUBLICKEY, pair.public_key, KEY_SIZE) < 0 ||
        zmq_setsockopt(client, ZMQ_CURVE_SECRETKEY, pair.secret_key, KEY_SIZE) < 0 ||
        zmq_connect(client, endpoint) < 0)
        r = errmsg_set(e, -errno, "self-test: %s", zmq_strerror(errno));
    else
        r = watch(monitor, zap, e);
    key_pair_wipe(&pair);
    return r;
}

int selftest_refusal(void *zmq, void *router, const uint8_t server_key[KEY_SIZE],
                     const struct zap *zap, struct errmsg *e)
{
    _cleanup_(close_socket) void *monitor = zmq_socket(zmq, ZMQ_PAIR);
    char endpoint[128];
    size_t size = sizeof endpoint;
    if (!monitor ||
        zmq_socket_monitor(router, MONITOR,
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) < 0 ||
        zmq_connect(monitor, MONITOR) < 0 || zmq_bind(router, "tcp://127.0.0.1:*") < 0 ||
        zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size) < 0)
        return errmsg_set(e, -errno, "self-test: %s", zmq_strerror(errno));
    int r = knock(zmq, monitor, endpoint, server_key, zap, e);
    zmq_socket_monitor(router, NULL, 0);
    if (zmq_unbind(router, endpoint) < 0 && r == 0)
        r = errmsg_set(e, -errno, "self-test: %s", zmq_strerror(errno));
    return r;
}
