#include "tests/unit/uplink_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zmq.h>

static void reply(struct fake *f, zmq_msg_t *id, const struct wire_header *to,
                  const struct wire_reply *body, enum wire_kind kind)
{
    struct wire_header h = {.kind = kind, .seq = to->seq, .has_sha256 = true};
    memcpy(h.spool_id, to->spool_id, sizeof h.spool_id);
    uint8_t header[WIRE_HEADER_MAX], payload[WIRE_REPLY_MAX];
    size_t header_size, size;
    assert_int_equal(wire_reply_encode(body, payload, &size), 0);
    wire_sha256(payload, size, h.sha256);
    assert_int_equal(wire_header_encode(&h, header, &header_size), 0);
    zmq_send(f->socket, zmq_msg_data(id), zmq_msg_size(id), ZMQ_SNDMORE);
    zmq_send(f->socket, header, header_size, ZMQ_SNDMORE);
    zmq_send(f->socket, payload, size, 0);
}

static void take_number(struct fake *f, zmq_msg_t *id, const struct wire_header *h,
                        struct wire_reply *body)
{
    if (memcmp(f->spool_id, h->spool_id, sizeof f->spool_id) != 0) {
        memcpy(f->spool_id, h->spool_id, sizeof f->spool_id);
        f->next = 1;
        f->frames = 0;
        f->spools++;
    }
    unsigned received = ++f->batches;
    if (f->manner == FORK_ONCE && h->seq == 2 && f->spools == 1) {
        body->reason = WIRE_NACK_FORK;
        body->expected_seq = 2;
        reply(f, id, h, body, WIRE_NACK);
        return;
    }
    if (f->manner == GAP_ONCE && received == 4) {
        f->next = 1;
        f->frames = 0;
    }
    if (h->seq > f->next) {
        body->reason = WIRE_NACK_GAP;
        body->expected_seq = f->next;
        reply(f, id, h, body, WIRE_NACK);
        return;
    }
    if (h->seq == f->next) {
        f->frames += h->frames;
        f->next++;
    }
    body->committed_through = f->next - 1;
    reply(f, id, h, body, WIRE_ACK);
}

static void take_message(struct fake *f, zmq_msg_t frames[3])
{
    struct wire_header h;
    struct errmsg e;
    uint8_t digest[WIRE_SHA256_SIZE];
    if (wire_header_decode(zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), &h, &e) != 0) {
        f->misbehaved = true;
        return;
    }
    wire_sha256(zmq_msg_data(&frames[2]), zmq_msg_size(&frames[2]), digest);
    if (h.has_sha256 && memcmp(digest, h.sha256, sizeof digest) != 0)
        f->misbehaved = true;
    bool poor = f->manner == POOR && !f->rich;
    struct wire_reply body = {.credit = poor ? 0 : 1 << 20, .db_ok = !poor, .clock_ms = h.sent_ms};
    if (h.kind == WIRE_PING) {
        f->pings++;
        body.echo_ms = h.sent_ms;
        reply(f, &frames[0], &h, &body, WIRE_PONG);
    } else if (h.kind == WIRE_BATCH || h.kind == WIRE_LOSS) {
        take_number(f, &frames[0], &h, &body);
    }
}

static void *fake_main(void *arg)
{
    struct fake *f = arg;
    if (f->on_thread)
        f->on_thread();
    while (!f->stop) {
        zmq_pollitem_t item = {.socket = f->socket, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, 20) <= 0)
            continue;
        zmq_msg_t frames[3];
        int n = 0;
        bool more = true;
        for (; n < 3 && more; n++) {
            zmq_msg_init(&frames[n]);
            if (zmq_msg_recv(&frames[n], f->socket, 0) < 0)
                f->misbehaved = true;
            more = zmq_msg_more(&frames[n]);
        }
        pthread_mutex_lock(&f->mutex);
        if (n == 3 && !more)
            take_message(f, frames);
        else
            f->misbehaved = true;
        pthread_mutex_unlock(&f->mutex);
        for (int i = 0; i < n; i++)
            zmq_msg_close(&frames[i]);
    }
    return NULL;
}

struct fake *fake_start(enum manner manner, void (*on_thread)(void))
{
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->manner = manner;
    f->on_thread = on_thread;
    f->next = 1;
    pthread_mutex_init(&f->mutex, NULL);
    assert_int_equal(key_pair_generate(&f->keys), 0);
    f->context = zmq_ctx_new();
    f->socket = zmq_socket(f->context, ZMQ_ROUTER);
    int on = 1;
    int off = 0;
    zmq_setsockopt(f->socket, ZMQ_LINGER, &off, sizeof off);
    zmq_setsockopt(f->socket, ZMQ_CURVE_SERVER, &on, sizeof on);
    zmq_setsockopt(f->socket, ZMQ_CURVE_SECRETKEY, f->keys.secret_key, KEY_SIZE);
    assert_int_equal(zmq_bind(f->socket, "tcp://127.0.0.1:*"), 0);
    size_t size = sizeof f->endpoint;
    assert_int_equal(zmq_getsockopt(f->socket, ZMQ_LAST_ENDPOINT, f->endpoint, &size), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
    return f;
}

struct fake *fake_new(enum manner manner)
{
    return fake_start(manner, NULL);
}

void fake_halt(struct fake *f)
{
    f->stop = true;
    pthread_join(f->thread, NULL);
    assert_false(f->misbehaved);
}

void fake_free(struct fake *f)
{
    zmq_close(f->socket);
    zmq_ctx_term(f->context);
    pthread_mutex_destroy(&f->mutex);
    free(f);
}

// --- the sensor ---

void bench_open(struct bench *b, const struct fake *f)
{
    memset(b, 0, sizeof *b);
    strcpy(b->directory, "/tmp/hirundo-uplink-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    snprintf(b->path, sizeof b->path, "%s/spool.db", b->directory);
    assert_int_equal(queue_new(1 << 20, 64, &b->queue), 0);
    assert_int_equal(key_pair_generate(&b->keys), 0);
    b->endpoints[0] = f->endpoint;
    struct packer_config packer = {.queue = b->queue, .run_id = 5, .wait = true};
    assert_int_equal(packer_new(&packer, &b->packer), 0);
    b->config = (struct uplink_config){
        .endpoints = b->endpoints,
        .n_endpoints = 1,
        .keys = &b->keys,
        .spool = {.path = b->path, .cap_bytes = SPOOL_CAP_DEFAULT, .keep_all = true},
        .run_id = 5,
        .until_delivered = true,
        .give_up_ms = WAIT_MS,
    };
    memcpy(b->config.server_key, f->keys.public_key, KEY_SIZE);
}

void bench_start(struct bench *b)
{
    struct errmsg e = {""};
    int r = uplink_new(&b->config, b->queue, &b->uplink, &e);
    if (r < 0)
        fail_msg("%s", e.text);
    assert_int_equal(uplink_start(b->uplink), 0);
}

void bench_close(struct bench *b)
{
    uplink_free(b->uplink);
    packer_free(b->packer);
    queue_free(b->queue);
    static const char *const tails[] = {"", ".lock", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        char name[192];
        snprintf(name, sizeof name, "%s%s", b->path, tails[i]);
        (void)unlink(name);
    }
    assert_int_equal(rmdir(b->directory), 0);
}

void bench_seal(struct bench *b, uint64_t i)
{
    struct window_record record = {.start_ms = 1675836000000 + (int64_t)i * 60000,
                                   .windows = 1,
                                   .covered_ms = 60000,
                                   .frames = i,
                                   .malformed = i};
    struct batch batch = {.window_ms = 60000, .n_windows = 1, .windows = &record};
    struct counters counters = {.frames = i, .malformed = i};
    assert_int_equal(packer_sealed(b->packer, &batch, &counters), 0);
}
