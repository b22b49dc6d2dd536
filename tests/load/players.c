#include "tests/load/players.h"

#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <zmq.h>

#include "common/clock.h"
#include "sensor/sender.h" // how much may be in flight

#define QUIET_MS      20000 // without an answer: send again
#define EVENTS_MAX    512
#define PING_AGAIN_MS 2000

// Headers are encoded beforehand, as a sensor would have read its batches from its spool.
struct ready {
    uint16_t size;
    uint8_t bytes[254];
};

struct player {
    struct key_pair key;
    void *socket;
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    struct ready *headers; // of the batches to send
    uint64_t before;       // numbers of this spool that went before
    uint64_t sent, acked;  // beyond these
    uint64_t credit;
    int64_t heard_ms;  // last answer
    int64_t pinged_ms; // of the first ping that waits for its pong, 0: none
    int64_t pinged_last_ms;
};

struct players {
    void *zmq;
    int epoll;
    struct player *list;
    size_t n;
    // what is being sent
    const struct payload *payloads;
    uint64_t batches;
    uint64_t acked; // over all
    uint64_t resent;
    // at a pace
    int64_t start_us, start_wall_ms, interval_us;
    players_acked_fn acked_fn;
    void *context;
    size_t ponged;    // since the last round of pings
    int64_t worst_ms; // the longest wait for a pong
};

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

// ---- life

static int open_player(struct players *p, size_t i, const char *endpoint, const uint8_t *server_key,
                       struct errmsg *e)
{
    struct player *player = &p->list[i];
    const int none = 0;
    int fd;
    size_t size = sizeof fd;
    player->socket = zmq_socket(p->zmq, ZMQ_DEALER);
    if (!player->socket || zmq_setsockopt(player->socket, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_setsockopt(player->socket, ZMQ_CURVE_SERVERKEY, server_key, KEY_SIZE) < 0 ||
        zmq_setsockopt(player->socket, ZMQ_CURVE_PUBLICKEY, player->key.public_key, KEY_SIZE) < 0 ||
        zmq_setsockopt(player->socket, ZMQ_CURVE_SECRETKEY, player->key.secret_key, KEY_SIZE) < 0 ||
        zmq_connect(player->socket, endpoint) < 0 ||
        zmq_getsockopt(player->socket, ZMQ_FD, &fd, &size) < 0)
        return errmsg_set(e, -errno, "socket %zu: %s", i + 1, zmq_strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
    if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return errmsg_set(e, -errno, "epoll: %s", strerror(errno));
    return 0;
}

static int read_keys(const char *path, struct players *p, struct errmsg *e)
{
    _cleanup_(fclosep) FILE *f = fopen(path, "re");
    if (!f)
        return errmsg_set(e, -errno, "%s: %s", path, strerror(errno));
    char public_key[64], secret_key[64];
    while (fscanf(f, "%63s %63s", public_key, secret_key) == 2) {
        struct player *list = realloc(p->list, (p->n + 1) * sizeof *list);
        if (!list)
            return -ENOMEM;
        p->list = list;
        struct player *player = &list[p->n];
        *player = (struct player){0};
        if (key_parse(public_key, player->key.public_key) < 0 ||
            key_parse(secret_key, player->key.secret_key) < 0)
            return errmsg_set(e, -EINVAL, "%s: line %zu is no key pair", path, p->n + 1);
        p->n++;
    }
    return p->n ? 0 : errmsg_set(e, -EINVAL, "%s: no keys", path);
}

int players_open(const char *endpoint, const char *server_key, const char *keys_path,
                 struct players **ret, struct errmsg *e)
{
    uint8_t key[KEY_SIZE];
    _cleanup_(players_freep) struct players *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->zmq = zmq_ctx_new();
    if (p->epoll < 0 || !p->zmq || key_parse(server_key, key) < 0)
        return errmsg_set(e, -EINVAL, "server key %.60s is no key", server_key);
    int r = read_keys(keys_path, p, e);
    if (r < 0)
        return r;
    zmq_ctx_set(p->zmq, ZMQ_MAX_SOCKETS, (int)p->n + 16);
    for (size_t i = 0; i < p->n && r == 0; i++)
        r = open_player(p, i, endpoint, key, e);
    if (r < 0)
        return r;
    *ret = p;
    p = NULL;
    return 0;
}

void players_free(struct players *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i].socket)
            zmq_close(p->list[i].socket);
        free(p->list[i].headers);
    }
    if (p->zmq)
        zmq_ctx_term(p->zmq);
    if (p->epoll >= 0)
        close(p->epoll);
    free(p->list);
    free(p);
}

size_t players_count(const struct players *p)
{
    return p->n;
}

// ---- one player

static bool send_message(struct player *player, struct wire_header *h, const uint8_t *bytes,
                         size_t n)
{
    uint8_t header[WIRE_HEADER_MAX];
    size_t size;
    h->sent_ms = wall_ms();
    return wire_header_encode(h, header, &size) == 0 &&
           zmq_send(player->socket, header, size, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0 &&
           zmq_send(player->socket, bytes, n, ZMQ_DONTWAIT) >= 0;
}

// When number seq + 1 of this player is due.
static int64_t due_us(const struct players *p, const struct player *player, uint64_t seq)
{
    size_t i = (size_t)(player - p->list);
    return p->start_us + (int64_t)seq * p->interval_us +
           p->interval_us * (int64_t)i / (int64_t)p->n;
}

static bool may_send(const struct player *player, size_t size)
{
    uint64_t n = player->sent - player->acked, bytes = (n + 1) * size;
    return n == 0 || (n < SENDER_WINDOW_MAX && bytes <= player->credit &&
                      (n < SENDER_WINDOW || bytes <= SENDER_WINDOW_BYTES));
}

static void send_batches(const struct players *p, struct player *player)
{
    while (player->sent < p->batches && may_send(player, p->payloads[player->sent].size)) {
        if (p->acked_fn && mono_us() < due_us(p, player, player->sent))
            return;
        const struct payload *load = &p->payloads[player->sent];
        const struct ready *header = &player->headers[player->sent];
        if (zmq_send(player->socket, header->bytes, header->size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ||
            zmq_send_const(player->socket, load->bytes, load->size, ZMQ_DONTWAIT) < 0)
            return;
        player->sent++;
    }
}

static void tell_acked(const struct players *p, const struct player *player, uint64_t through)
{
    int64_t now = mono_us();
    for (uint64_t seq = player->acked; p->acked_fn && seq < through; seq++) {
        int64_t due = due_us(p, player, seq);
        p->acked_fn(p->context, p->start_wall_ms + (due - p->start_us) / 1000, now - due);
    }
}

static void take_reply(struct players *p, struct player *player, const struct wire_header *h,
                       const struct wire_reply *r)
{
    player->heard_ms = mono_ms();
    player->credit = r->credit;
    if (h->kind == WIRE_PONG && player->pinged_ms) {
        p->worst_ms = MAX(p->worst_ms, player->heard_ms - player->pinged_ms);
        player->pinged_ms = 0;
        p->ponged++;
    }
    if (h->kind == WIRE_ACK && r->committed_through > player->before + player->acked) {
        uint64_t through = MIN(r->committed_through - player->before, player->sent);
        tell_acked(p, player, through);
        p->acked += through - player->acked;
        player->acked = through;
    }
    if (h->kind == WIRE_NACK && r->expected_seq > player->before + player->acked) {
        uint64_t through = r->expected_seq - 1 - player->before;
        p->resent += player->sent - through;
        p->acked += through - player->acked;
        player->sent = player->acked = through;
    }
}

static bool read_reply(struct players *p, struct player *player)
{
    uint8_t header[WIRE_HEADER_MAX], body[WIRE_REPLY_MAX];
    int n = zmq_recv(player->socket, header, sizeof header, ZMQ_DONTWAIT);
    if (n < 0)
        return false;
    int m = zmq_recv(player->socket, body, sizeof body, 0);
    struct wire_header h;
    struct wire_reply r;
    if (m >= 0 && wire_header_decode(header, (size_t)n, &h, NULL) == 0 &&
        wire_reply_decode(body, (size_t)m, &r, NULL) == 0)
        take_reply(p, player, &h, &r);
    return true;
}

// Until nothing comes and nothing may be sent. Reading comes last: a read that finds nothing has
// taken note of all that its descriptor told.
static void serve(struct players *p, struct player *player)
{
    bool more = true;
    while (more) {
        if (p->payloads)
            send_batches(p, player);
        more = false;
        while (read_reply(p, player))
            more = true;
    }
}

static void wait_events(struct players *p, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(p->epoll, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < n; i++)
        serve(p, &p->list[events[i].data.u64]);
}

// ---- all of them

// A ping may be lost with its connection: another one follows, and the wait counts from the first.
static void ping_all(struct players *p, bool again_only)
{
    for (size_t i = 0; i < p->n; i++) {
        struct player *player = &p->list[i];
        int64_t now = mono_ms();
        if (player->pinged_ms ? now - player->pinged_last_ms < PING_AGAIN_MS : again_only)
            continue;
        struct wire_header h = {.kind = WIRE_PING};
        if (send_message(player, &h, NULL, 0)) {
            player->pinged_last_ms = now;
            if (!player->pinged_ms)
                player->pinged_ms = now;
        }
        serve(p, player);
    }
}

int players_greet(struct players *p, int timeout_ms, int64_t *ret_last_ms)
{
    int64_t start = mono_ms(), asked = start;
    p->ponged = 0;
    ping_all(p, false);
    while (p->ponged < p->n) {
        int64_t now = mono_ms();
        if (now - start > timeout_ms)
            return -ETIMEDOUT;
        if (now - asked > PING_AGAIN_MS) {
            asked = now;
            ping_all(p, true);
        }
        wait_events(p, 100);
    }
    *ret_last_ms = mono_ms() - start;
    return 0;
}

int players_idle(struct players *p, int interval_ms, int duration_ms, int64_t *ret_worst_ms)
{
    int64_t start = mono_ms(), now = start, next = start;
    p->worst_ms = 0;
    while (now - start < duration_ms) {
        if (now >= next) {
            ping_all(p, false);
            next += interval_ms;
        }
        wait_events(p, 20);
        now = mono_ms();
    }
    for (size_t i = 0; i < p->n; i++)
        if (p->list[i].pinged_ms)
            p->worst_ms = MAX(p->worst_ms, now - p->list[i].pinged_ms);
    *ret_worst_ms = p->worst_ms;
    return 0;
}

static void send_again(struct players *p, struct player *player, int64_t now)
{
    if (player->sent > player->acked && now - player->heard_ms > QUIET_MS) {
        p->resent += player->sent - player->acked;
        player->sent = player->acked;
        player->heard_ms = now;
    }
    serve(p, player);
}

static int encode_headers(const struct players *p, struct player *player)
{
    struct ready *headers = realloc(player->headers, (p->batches + 1) * sizeof *headers);
    if (!headers)
        return -ENOMEM;
    player->headers = headers;
    if (player->before == 0 && getrandom(player->spool_id, sizeof player->spool_id, 0) < 0)
        return -errno;
    for (uint64_t i = 0; i < p->batches; i++) {
        struct wire_header h = p->payloads[i].header;
        uint8_t header[WIRE_HEADER_MAX];
        size_t size;
        memcpy(h.spool_id, player->spool_id, sizeof h.spool_id);
        h.seq = player->before + i + 1;
        h.sent_ms = wall_ms();
        int r = wire_header_encode(&h, header, &size);
        if (r < 0 || size > sizeof headers->bytes)
            return -EINVAL;
        headers[i].size = (uint16_t)size;
        memcpy(headers[i].bytes, header, size);
    }
    return 0;
}

static int begin_drain(struct players *p, const struct payload *payloads, size_t n)
{
    p->payloads = payloads;
    p->batches = n;
    p->acked = p->resent = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct player *player = &p->list[i];
        player->before += player->acked;
        player->sent = player->acked = 0;
        player->credit = MAX(player->credit, (uint64_t)1);
        player->heard_ms = mono_ms();
        int r = encode_headers(p, player);
        if (r < 0)
            return r;
    }
    return 0;
}

int players_drain(struct players *p, const struct payload *payloads, size_t n, int timeout_ms,
                  struct drained *ret)
{
    int r = begin_drain(p, payloads, n);
    if (r < 0)
        return r;
    double cpu = cpu_seconds();
    int64_t begin_us = mono_us(), start = begin_us / 1000, checked = start;
    for (size_t i = 0; i < p->n; i++)
        serve(p, &p->list[i]);
    while (p->acked < p->n * n) {
        wait_events(p, 100);
        int64_t now = mono_ms();
        if (now - start > timeout_ms)
            return -ETIMEDOUT;
        for (size_t i = 0; now - checked > 1000 && i < p->n; i++)
            send_again(p, &p->list[i], now);
        checked = now - checked > 1000 ? now : checked;
    }
    int64_t took_us = mono_us() - begin_us;
    p->payloads = NULL;
    *ret = (struct drained){
        .seconds = (double)took_us / 1e6,
        .cpu_seconds = cpu_seconds() - cpu,
        .resent = p->resent,
    };
    return 0;
}

int players_pace(struct players *p, const struct payload *payloads, size_t n, int interval_ms,
                 players_acked_fn acked, void *context)
{
    int r = begin_drain(p, payloads, n);
    if (r < 0)
        return r;
    p->acked_fn = acked;
    p->context = context;
    p->interval_us = interval_ms * 1000LL;
    p->start_us = mono_us();
    p->start_wall_ms = wall_ms();
    const int64_t give_up = p->start_us + ((int64_t)n + 1) * p->interval_us + 60000000;
    int64_t checked = mono_ms();
    while (p->acked < p->n * n && mono_us() < give_up) {
        int64_t now = mono_ms();
        for (size_t i = 0; i < p->n; i++) {
            if (p->list[i].sent == p->list[i].acked)
                p->list[i].heard_ms = now; // nothing is awaited
            if (mono_us() >= due_us(p, &p->list[i], p->list[i].sent))
                serve(p, &p->list[i]);
            if (now - checked > 1000)
                send_again(p, &p->list[i], now);
        }
        checked = now - checked > 1000 ? now : checked;
        wait_events(p, 1);
    }
    p->acked_fn = NULL;
    p->payloads = NULL;
    return p->acked < p->n * n ? -ETIMEDOUT : 0;
}
