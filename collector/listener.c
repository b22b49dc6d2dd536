#include "collector/listener.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "collector/frames.h"
#include "collector/handshakes.h"
#include "collector/quiet.h"
#include "collector/selftest.h"
#include "collector/unfinished.h"
#include "common/clock.h"
#include "common/log.h"

#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93 // a draft option by its header, in the library all the same
#endif

#define STOP_ENDPOINT "inproc://hirundo.listener.stop"
#define ENDPOINT_MAX  128
#define ENDPOINTS_MAX 16
#define BURST         256 // messages read before replies get a turn
#define DROP_LOG_MS   10000
#define PAUSE_MS      10000 // for the thread to hear that it is to pause
#define CHECK_MS      250   // how often it looks around

struct listener {
    struct listener_options options;
    void *router;
    void *replies; // PULL
    void *stop;    // PAIR, ours
    void *stopped; // PAIR, the thread's
    pthread_t thread;
    bool running;
    struct writer **writers;
    size_t n_writers;
    char endpoints[ENDPOINTS_MAX][ENDPOINT_MAX];
    uint16_t ports[ENDPOINTS_MAX];
    size_t n_endpoints;
    struct sha256 *sha256; // of heartbeats
    struct unfinished *unfinished;
    struct handshakes *handshakes;
    struct quiet cuts;
    struct pulse pulse;
    struct queue *missed; // of each sensor whose messages were dropped for want of memory: one
    int64_t checked_ms;
    uint64_t dropped; // for want of memory, since the last log line
    int64_t dropped_logged_ms;
    uint64_t greedy; // beyond their sensor's credit, since the last log line
    int64_t greedy_logged_ms;
};

// ---- the socket

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) < 0 ? -errno : 0;
}

// What is bound after this has that key: libzmq keeps the options of each bind.
static int set_key(void *router, const struct key_pair *key)
{
    return zmq_setsockopt(router, ZMQ_CURVE_PUBLICKEY, key->public_key, KEY_SIZE) < 0 ||
                   zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, key->secret_key, KEY_SIZE) < 0
               ? -errno
               : 0;
}

static int set_up_router(void *router, const struct key_pair *key)
{
    const struct {
        int option, value;
    } ints[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_ROUTER_MANDATORY, 1},
        {ZMQ_ROUTER_HANDOVER, 0},
        {ZMQ_BACKLOG, 1024},
        {ZMQ_HANDSHAKE_IVL, 5000},
        {ZMQ_RCVHWM, 64},
        {ZMQ_SNDHWM, 256},
        {ZMQ_CURVE_SERVER, 1},
        {ZMQ_ZAP_ENFORCE_DOMAIN, 1},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, 60},
        {ZMQ_TCP_KEEPALIVE_INTVL, 20},
        {ZMQ_TCP_KEEPALIVE_CNT, 3},
    };
    // CURVE wraps a frame in 33 bytes, and the limit is on what is on the wire: without room for
    // them the largest payload would be cut off, for ever.
    const int64_t most = BATCH_PAYLOAD_MAX + 64;
    for (size_t i = 0; i < ARRAY_SIZE(ints); i++) {
        int r = set_int(router, ints[i].option, ints[i].value);
        if (r < 0)
            return r;
    }
    if (zmq_setsockopt(router, ZMQ_MAXMSGSIZE, &most, sizeof most) < 0 ||
        zmq_setsockopt(router, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN)) < 0)
        return -errno;
    return set_key(router, key);
}

// libzmq takes 65536 + n for n, and words for 0. -EINVAL: neither a number nor the * for any.
static int port_of(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    if (strcmp(colon, ":*") == 0)
        return 0;
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits])
        return -EINVAL;
    long port = strtol(colon + 1, NULL, 10);
    return port > UINT16_MAX ? -EINVAL : (int)port;
}

static int bind_endpoint(struct listener *l, const char *endpoint, struct errmsg *e)
{
    char wanted[ENDPOINT_MAX];
    size_t n = strlen(endpoint);
    if (strncmp(endpoint, "tcp://", 6) != 0 || n >= sizeof wanted)
        return errmsg_set(e, -EINVAL, "endpoint %.60s: must be tcp://ADDRESS:PORT", endpoint);
    if (l->n_endpoints == ENDPOINTS_MAX)
        return errmsg_set(e, -EINVAL, "more than %d endpoints", ENDPOINTS_MAX);
    memcpy(wanted, endpoint, n + 1);
    if (port_of(wanted) < 0)
        return errmsg_set(e, -EINVAL, "endpoint %.60s: the port must be 0 to 65535", endpoint);
    if (strcmp(wanted + n - 2, ":0") == 0)
        wanted[n - 1] = '*';
    // With it on, an IPv4 endpoint would be reported as an IPv6 one.
    int r = set_int(l->router, ZMQ_IPV6, strchr(wanted, '[') != NULL);
    if (r < 0)
        return errmsg_set(e, r, "%s", zmq_strerror(-r));
    if (zmq_bind(l->router, wanted) < 0) {
        r = -errno;
        return errmsg_set(e, r, "cannot listen on %s: %s%s", endpoint, zmq_strerror(-r),
                          r == -EADDRINUSE
                              ? "; another collector there? choose another [collector] endpoint"
                              : "");
    }
    size_t size = ENDPOINT_MAX;
    if (zmq_getsockopt(l->router, ZMQ_LAST_ENDPOINT, l->endpoints[l->n_endpoints], &size) < 0)
        return errmsg_set(e, -errno, "%s", zmq_strerror(errno));
    l->ports[l->n_endpoints] = (uint16_t)port_of(l->endpoints[l->n_endpoints]);
    l->n_endpoints++;
    return 0;
}

const char *listener_endpoint(const struct listener *l, size_t i)
{
    return i < l->n_endpoints ? l->endpoints[i] : NULL;
}

uint64_t listener_failed_handshakes(const struct listener *l)
{
    return handshakes_failed(l->handshakes);
}

// ---- one message

struct incoming {
    uint8_t route[ROUTE_MAX];
    size_t route_size;
    zmq_msg_t header, payload;
    int frames; // beside the route
    int fd;     // of the connection, -1 unknown
};

static void incoming_close(struct incoming *in)
{
    zmq_msg_close(&in->header);
    zmq_msg_close(&in->payload);
}

// Reads one whole message. False: none is there.
static bool receive(void *router, struct incoming *in)
{
    zmq_msg_t route;
    zmq_msg_init(&route);
    if (zmq_msg_recv(&route, router, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&route);
        return false;
    }
    in->route_size = MIN(zmq_msg_size(&route), sizeof in->route);
    memcpy(in->route, zmq_msg_data(&route), in->route_size);
    bool more = zmq_msg_more(&route);
    zmq_msg_close(&route);
    in->frames = 0;
    in->fd = -1;
    zmq_msg_init(&in->header);
    zmq_msg_init(&in->payload);
    while (more) {
        zmq_msg_t extra;
        zmq_msg_init(&extra);
        zmq_msg_t *to = in->frames == 0 ? &in->header : in->frames == 1 ? &in->payload : &extra;
        if (frames_receive_more(to, router) < 0)
            return true;
        in->fd = zmq_msg_get(to, ZMQ_SRCFD);
        in->frames++;
        more = zmq_msg_more(to);
        zmq_msg_close(&extra);
    }
    return true;
}

// ROUTER has no call that disconnects a peer.
static void cut(struct listener *l, const struct incoming *in, const char *name, const char *why)
{
    char more[QUIET_MORE_MAX];
    metrics_add(&l->options.metrics->cut, 1);
    if (quiet_allows(&l->cuts, name, mono_ms(), more))
        log_warning("connection of %s cut: %s%s", name, why, more);
    if (in->fd >= 0)
        shutdown(in->fd, SHUT_RDWR);
}

struct peer {
    int16_t sensor_id;
    char name[KEYRING_NAME_MAX];
    char address[PEER_MAX];
};

// Who sent it: by the key that ZAP attested, in the keyring of this moment. The properties stand on
// the last frame (on the id frame they are missing after zmq_poll).
static bool identify(struct listener *l, struct incoming *in, struct peer *ret)
{
    zmq_msg_t *last = in->frames >= 2 ? &in->payload : &in->header;
    const char *user = zmq_msg_gets(last, "User-Id");
    const char *key = zmq_msg_gets(last, ZAP_KEY);
    const char *address = zmq_msg_gets(last, "Peer-Address");
    snprintf(ret->address, sizeof ret->address, "%s", address ? address : "?");
    if (!user || !key)
        return false;
    return keyring_look(l->options.keyring, key, &ret->sensor_id, ret->name) == KEYRING_ENROLLED &&
           atoi(user) == ret->sensor_id;
}

// One that broke the rules of the protocol.
static void break_off(struct listener *l, const struct incoming *in, const struct peer *peer,
                      const char *rule)
{
    char why[256];
    snprintf(why, sizeof why,
             "%.100s; no hirundo-sensor of this version sends that. If it is none: "
             "hirundo-collector sensor revoke %s",
             rule, peer->name);
    cut(l, in, peer->name, why);
}

static void answer_ping(struct listener *l, const struct incoming *in, const struct peer *peer,
                        const struct wire_header *h)
{
    bool db_ok = writer_db_ok(l->writers[(size_t)peer->sensor_id % l->n_writers]);
    struct reply reply = {.kind = WIRE_PONG, .spool_id = h->spool_id};
    guard_why(l->options.guard, reply.body.detail);
    db_ok = db_ok && !*reply.body.detail;
    reply.body.db_ok = db_ok;
    reply.body.credit = db_ok ? budget_credit(l->options.budget, peer->sensor_id) : 0;
    reply.body.echo_ms = h->sent_ms;
    reply_send(l->router, in->route, in->route_size, &reply);
}

static void count_dropped(struct listener *l)
{
    l->dropped++;
    metrics_add(&l->options.metrics->dropped_memory, 1);
    int64_t now = mono_ms();
    if (now - l->dropped_logged_ms < DROP_LOG_MS)
        return;
    log_warning(
        "%" PRIu64
        " batches dropped for want of memory ([collector] memory); their sensors send them again",
        l->dropped);
    l->dropped = 0;
    l->dropped_logged_ms = now;
}

static void count_greedy(struct listener *l, const struct peer *peer)
{
    l->greedy++;
    metrics_add(&l->options.metrics->dropped_credit, 1);
    int64_t now = mono_ms();
    if (now - l->greedy_logged_ms < DROP_LOG_MS)
        return;
    log_warning("sensor %s (%s) sends more than it has credit for: %" PRIu64
                " batches dropped; if it is no hirundo-sensor, revoke it",
                peer->name, peer->address, l->greedy);
    l->greedy = 0;
    l->greedy_logged_ms = now;
}

static void fill_message(struct message *m, const struct incoming *in, const struct peer *peer,
                         const struct wire_header *h)
{
    memcpy(m->name, peer->name, sizeof m->name);
    memcpy(m->peer, peer->address, sizeof m->peer);
    memcpy(m->route, in->route, in->route_size);
    m->route_size = in->route_size;
    m->received_ms = wall_ms();
    m->header = *h;
}

static void pass_on(struct listener *l, struct message *m)
{
    writer_push(l->writers[(size_t)m->sensor_id % l->n_writers], m);
}

// If nothing of the sensor follows, no gap shows that this one is missing. The last one counts:
// where it was, and on which connection, the sensor can be asked.
static void note_missed(struct listener *l, const struct incoming *in, const struct peer *peer,
                        const struct wire_header *h)
{
    struct message *m;
    count_dropped(l);
    int r = message_missed(l->options.budget, peer->sensor_id, &m);
    if (r >= 0)
        fill_message(m, in, peer, h);
    if (r == 1)
        queue_push(l->missed, m);
}

static bool all_commit(const struct listener *l)
{
    for (size_t i = 0; i < l->n_writers; i++)
        if (!writer_db_ok(l->writers[i]))
            return false;
    return true;
}

static void ask_for_missed(struct listener *l)
{
    struct message *m;
    size_t n = all_commit(l) ? budget_may_ask(l->options.budget) : 0;
    for (size_t i = 0; i < n && (m = queue_pop(l->missed, 0)); i++) {
        message_missed_over(l->options.budget, m);
        pass_on(l, m);
    }
}

static void enqueue(struct listener *l, struct incoming *in, const struct peer *peer,
                    const struct wire_header *h)
{
    struct message *m;
    int r = message_new(l->options.budget, peer->sensor_id, &in->header, &in->payload, &m);
    if (r == -EDQUOT) {
        count_greedy(l, peer);
    } else if (r < 0) {
        note_missed(l, in, peer, h);
    } else {
        fill_message(m, in, peer, h);
        pass_on(l, m);
    }
}

static void count_received(struct listener *l, struct incoming *in, enum wire_kind kind)
{
    struct metrics *m = l->options.metrics;
    if (kind < WIRE_BATCH || kind > WIRE_PING)
        return;
    metrics_add(&m->received[kind - WIRE_BATCH], 1);
    metrics_add(&m->received_bytes, zmq_msg_size(&in->payload));
}

// One that does not decode is passed over: the next comes in a minute.
static void take_heartbeat(struct listener *l, struct incoming *in, const struct peer *peer,
                           const struct wire_header *h)
{
    struct heartbeat beat = {.sensor_id = peer->sensor_id,
                             .received_mono_ms = mono_ms(),
                             .run_id = h->run_id,
                             .counters = h->counters};
    struct errmsg e = {"out of memory"};
    const uint8_t *payload = zmq_msg_data(&in->payload);
    size_t size = zmq_msg_size(&in->payload);
    int r = validate_payload(l->sha256, h, payload, size, &e);
    if (r == 0)
        r = wire_heartbeat_decode(payload, size, &beat.beat, &e);
    memcpy(beat.peer, peer->address, sizeof beat.peer);
    if (r == 0)
        r = heartbeats_put(l->options.heartbeats, &beat);
    if (r != 0)
        log_info("sensor %s (%s): heartbeat ignored: %s", peer->name, peer->address, e.text);
}

static void handle(struct listener *l, struct incoming *in)
{
    struct peer peer;
    struct wire_header h;
    struct errmsg e = {""};
    bool known = identify(l, in, &peer);
    handshakes_heard(l->handshakes, in->fd, known ? peer.name : NULL);
    if (!known) {
        cut(l, in, peer.address, "its key was revoked meanwhile");
        return;
    }
    if (in->frames != 2) {
        break_off(l, in, &peer, "a message is two frames");
        return;
    }
    if (zmq_msg_size(&in->header) > WIRE_HEADER_MAX ||
        zmq_msg_size(&in->payload) > BATCH_PAYLOAD_MAX) {
        break_off(l, in, &peer, "a frame is too large");
        return;
    }
    if (wire_header_decode(zmq_msg_data(&in->header), zmq_msg_size(&in->header), &h, &e) != 0) {
        break_off(l, in, &peer, e.text);
        return;
    }
    count_received(l, in, h.kind);
    switch (h.kind) {
    case WIRE_BATCH:
    case WIRE_LOSS:
        enqueue(l, in, &peer, &h);
        return;
    case WIRE_PING:
        answer_ping(l, in, &peer, &h);
        return;
    case WIRE_HEARTBEAT:
        take_heartbeat(l, in, &peer, &h);
        return;
    case WIRE_ACK:
    case WIRE_NACK:
    case WIRE_PONG:
        break;
    }
    break_off(l, in, &peer, "a kind of message that only collectors send");
}

// ---- the loop

static void read_messages(struct listener *l)
{
    for (int i = 0; i < BURST; i++) {
        struct incoming in;
        if (!receive(l->router, &in))
            return;
        unfinished_completed(l->unfinished, in.fd);
        handle(l, &in);
        incoming_close(&in);
    }
}

// Passes what writers have to say on to the peers. A peer that is gone or does not read misses it;
// the sensor asks again by resending.
static void forward_replies(struct listener *l)
{
    for (int i = 0; i < BURST; i++) {
        zmq_msg_t frames[3];
        int n = 0, more = 1;
        while (n < 3 && more) {
            zmq_msg_init(&frames[n]);
            if ((n == 0 ? zmq_msg_recv(&frames[0], l->replies, ZMQ_DONTWAIT)
                        : frames_receive_more(&frames[n], l->replies)) < 0) {
                zmq_msg_close(&frames[n]);
                break;
            }
            more = zmq_msg_more(&frames[n]);
            n++;
        }
        if (n == 0)
            return;
        bool sending = n == 3;
        for (int k = 0; k < n; k++) {
            int flags = ZMQ_DONTWAIT | (k < 2 ? ZMQ_SNDMORE : 0);
            if (sending && (k == 0 ? zmq_msg_send(&frames[0], l->router, flags)
                                   : frames_send_more(&frames[k], l->router, flags)) < 0)
                sending = false;
            zmq_msg_close(&frames[k]);
        }
    }
}

static void look_around(struct listener *l)
{
    int64_t now = mono_ms();
    if (now - l->checked_ms < CHECK_MS)
        return;
    l->checked_ms = now;
    unfinished_cut(l->unfinished, l->ports, l->n_endpoints);
    handshakes_check(l->handshakes);
    ask_for_missed(l);
    atomic_store(&l->options.metrics->connections, unfinished_connections(l->unfinished));
}

static void *listener_loop(void *data)
{
    struct listener *l = data;
    bool reading = true;
    pthread_setname_np(pthread_self(), "listener");
    for (;;) {
        zmq_pollitem_t items[] = {{l->replies, 0, ZMQ_POLLIN, 0},
                                  {l->stopped, 0, ZMQ_POLLIN, 0},
                                  {handshakes_socket(l->handshakes), 0, ZMQ_POLLIN, 0},
                                  {l->router, 0, ZMQ_POLLIN, 0}};
        if (frames_poll(items, reading ? 4 : 3, reading ? CHECK_MS : -1) < 0)
            break;
        pulse_beat(&l->pulse);
        if (items[2].revents)
            handshakes_take(l->handshakes);
        if (items[0].revents)
            forward_replies(l);
        if (reading && items[3].revents)
            read_messages(l);
        if (reading)
            look_around(l);
        char word;
        if (items[1].revents && zmq_recv(l->stopped, &word, 1, ZMQ_DONTWAIT) == 1) {
            reading = false;
            if (word == 'q')
                break;
            (void)frames_send_bytes(l->stopped, &word, 1, ZMQ_DONTWAIT); // writers may go now
        }
    }
    forward_replies(l);
    return NULL;
}

const struct pulse *listener_pulse(const struct listener *l)
{
    return &l->pulse;
}

// ---- life

static void close_socket(void *socket)
{
    if (socket)
        zmq_close(socket);
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    if (l->running) {
        (void)frames_send_bytes(l->stop, "q", 1, 0);
        pthread_join(l->thread, NULL);
        // LINGER 0 would take back the last acks; what they say is in the database either way, but
        // a clean stop should not cost a resend.
        set_int(l->router, ZMQ_LINGER, 500);
    }
    handshakes_free(l->handshakes);
    queue_free(l->missed);
    close_socket(l->stop);
    close_socket(l->stopped);
    close_socket(l->replies);
    close_socket(l->router);
    unfinished_free(l->unfinished);
    sha256_free(l->sha256);
    free(l);
}
DEFINE_CLEANUP(struct listener *, listener_free)

static int make_sockets(struct listener *l, struct errmsg *e)
{
    void *zmq = l->options.zmq;
    l->router = zmq_socket(zmq, ZMQ_ROUTER);
    l->replies = zmq_socket(zmq, ZMQ_PULL);
    l->stop = zmq_socket(zmq, ZMQ_PAIR);
    l->stopped = zmq_socket(zmq, ZMQ_PAIR);
    if (!l->router || !l->replies || !l->stop || !l->stopped)
        return errmsg_set(e, -errno, "socket: %s", zmq_strerror(errno));
    int r = set_up_router(l->router, l->options.key);
    if (r == 0)
        r = set_int(l->replies, ZMQ_RCVHWM, 0);
    if (r == 0 &&
        (zmq_bind(l->replies, WRITER_REPLIES) < 0 || zmq_bind(l->stopped, STOP_ENDPOINT) < 0 ||
         zmq_connect(l->stop, STOP_ENDPOINT) < 0))
        r = -errno;
    return r < 0 ? errmsg_set(e, r, "socket: %s", zmq_strerror(-r)) : 0;
}

int listener_new(const struct listener_options *options, struct listener **ret, struct errmsg *e)
{
    _cleanup_(listener_freep) struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->options = *options;
    l->dropped_logged_ms = l->greedy_logged_ms = INT64_MIN / 2;
    int r = unfinished_new(&l->unfinished);
    if (r == 0)
        r = queue_new(&l->missed);
    if (r == 0)
        r = sha256_new(&l->sha256);
    if (r == 0)
        r = make_sockets(l, e);
    if (r == 0)
        r = selftest_refusal(options->zmq, l->router, options->key->public_key, options->zap, e);
    if (r == 0)
        r = handshakes_new(options->zmq, l->router, options->guests, l->unfinished,
                           options->limit_connections, &l->handshakes);
    if (r == 0)
        zap_open(options->zap);
    for (size_t i = 0; i < options->endpoints->n && r == 0; i++)
        r = bind_endpoint(l, options->endpoints->items[i], e);
    if (r == 0 && options->next_key) {
        r = set_key(l->router, options->next_key);
        if (r < 0)
            return errmsg_set(e, r, "next key: %s", zmq_strerror(-r));
        for (size_t i = 0; i < options->next_endpoints->n && r == 0; i++)
            r = bind_endpoint(l, options->next_endpoints->items[i], e);
    }
    if (r < 0)
        return r;
    *ret = l;
    l = NULL;
    return 0;
}

int listener_run(struct listener *l, struct writer **writers, size_t n, struct errmsg *e)
{
    l->writers = writers;
    l->n_writers = n;
    pulse_beat(&l->pulse);
    int r = -pthread_create(&l->thread, NULL, listener_loop, l);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    l->running = true;
    return 0;
}

void listener_pause(struct listener *l)
{
    char word;
    if (!l->running || set_int(l->stop, ZMQ_RCVTIMEO, PAUSE_MS) < 0 ||
        frames_send_bytes(l->stop, "p", 1, 0) < 0)
        return;
    while (zmq_recv(l->stop, &word, 1, 0) < 0)
        if (!frames_may_try_again())
            return;
}
