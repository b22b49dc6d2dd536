// hirundo-load: plays many sensors with real CURVE sockets, or writes messages for others to send.
//
//   hirundo-load keys N                     N lines "public secret" (Z85), to enroll
//   hirundo-load message KIND SEQ SPOOL FLOWS SEED [FROM_MS]
//                                           header and payload, each after its length (4 bytes,
//                                           network order)
//   hirundo-load run ENDPOINT SERVER_KEY KEYS_FILE BATCHES FLOWS
//                                           every key sends BATCHES batches of FLOWS flows; prints
//                                           what it took
#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <zmq.h>

#include "common/keys.h"
#include "common/wire.h"
#include "tests/unit/rand_batch.h"

#define DISTINCT  16 // payloads, sent in turn
#define IN_FLIGHT 8
#define QUIET_MS  5000 // without an ack: send again

struct payload {
    struct wire_header header;
    uint8_t *bytes;
    size_t size;
};

struct player {
    struct key_pair key;
    void *socket;
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    uint64_t sent, acked;
    uint64_t credit;
    int64_t heard_ms;
};

static int64_t now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int make_payload(uint64_t seed, uint32_t flows, int64_t from_ms, struct payload *ret)
{
    _cleanup_(wire_encoder_freep) struct wire_encoder *encoder = NULL;
    struct rand_source source = {seed};
    struct batch b = rand_batch(&source, RAND_BACKGROUND, flows, 1);
    int64_t shift = from_ms ? from_ms - b.windows[0].start_ms : 0;
    for (uint32_t i = 0; i < b.n_flows; i++)
        b.flows[i].ts_ms += shift;
    for (uint32_t i = 0; i < b.n_windows; i++)
        b.windows[i].start_ms += shift;
    const uint8_t *bytes;
    int r = wire_encoder_new(&encoder);
    if (r == 0)
        r = wire_batch_encode(encoder, &b, &bytes, &ret->size);
    if (r == 0) {
        ret->bytes = malloc(ret->size);
        memcpy(ret->bytes, bytes, ret->size);
        ret->header = (struct wire_header){
            .kind = WIRE_BATCH, .codec = WIRE_CODEC_ZSTD_COLUMNS, .has_sha256 = true, .run_id = 7};
        wire_batch_describe(&b, &ret->header);
        wire_sha256(ret->bytes, ret->size, ret->header.sha256);
    }
    rand_batch_free(&b);
    return r;
}

static int print_keys(int n)
{
    for (int i = 0; i < n; i++) {
        struct key_pair pair;
        char public_key[KEY_Z85_SIZE], secret_key[KEY_Z85_SIZE];
        if (key_pair_generate(&pair) < 0)
            return EXIT_FAILURE;
        key_format(pair.public_key, public_key);
        key_format(pair.secret_key, secret_key);
        printf("%s %s\n", public_key, secret_key);
    }
    return EXIT_SUCCESS;
}

static void write_frame(const uint8_t *p, size_t n)
{
    uint32_t length = htonl((uint32_t)n);
    fwrite(&length, sizeof length, 1, stdout);
    fwrite(p, 1, n, stdout);
}

// last > seq, or unknown: a loss of unknown extent, from from_ms (0: since the last window
// delivered) to the end of the batch's window.
static void make_loss(uint64_t seq, uint64_t last, bool unknown, const struct payload *batch,
                      struct payload *ret)
{
    struct window_record record = {.start_ms = batch->header.first_window_ms,
                                   .windows = 1,
                                   .covered_ms = 60000,
                                   .frames = batch->header.frames};
    record.row_packets = record.frames;
    struct loss_item item = {.seq_first = seq,
                             .seq_last = last,
                             .unknown = unknown,
                             .first_ms = batch->header.first_window_ms,
                             .last_ms = batch->header.last_window_ms,
                             .n_records = unknown ? 0 : 1,
                             .records = unknown ? NULL : &record};
    snprintf(item.reason, sizeof item.reason, "the spool was full");
    *ret = *batch;
    ret->header.kind = WIRE_LOSS;
    ret->header.codec = WIRE_CODEC_PLAIN;
    if (wire_loss_encode(&item, 1, &ret->bytes, &ret->size) < 0)
        abort();
    wire_sha256(ret->bytes, ret->size, ret->header.sha256);
}

static int print_message(char **argv, int n)
{
    struct payload p = {0};
    uint64_t seq = strtoull(argv[1], NULL, 10);
    int64_t from_ms = n > 5 ? strtoll(argv[5], NULL, 10) : 0;
    if (make_payload(strtoull(argv[4], NULL, 10), (uint32_t)atoi(argv[3]), from_ms, &p) < 0)
        return EXIT_FAILURE;
    bool unknown = strcmp(argv[0], "unknown") == 0;
    if (unknown || strcmp(argv[0], "loss") == 0) {
        struct payload loss;
        make_loss(seq, n > 6 ? strtoull(argv[6], NULL, 10) : seq, unknown, &p, &loss);
        free(p.bytes);
        p = loss;
    } else if (strcmp(argv[0], "poison") == 0) {
        for (size_t i = p.size / 2; i < p.size; i++) // the digest is right, the content is not
            p.bytes[i] = (uint8_t)(p.bytes[i] * 7 + 13);
        wire_sha256(p.bytes, p.size, p.header.sha256);
    } else if (strcmp(argv[0], "ping") == 0) {
        p.header = (struct wire_header){.kind = WIRE_PING, .sent_ms = now_ms(CLOCK_REALTIME)};
        p.size = 0;
    }
    for (size_t i = 0; i < WIRE_SPOOL_ID_SIZE; i++) {
        char two[] = {argv[2][2 * i], argv[2][2 * i + 1], '\0'};
        p.header.spool_id[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    p.header.seq = p.header.kind == WIRE_PING ? 0 : seq;
    uint8_t header[WIRE_HEADER_MAX];
    size_t size;
    if (wire_header_encode(&p.header, header, &size) < 0)
        return EXIT_FAILURE;
    write_frame(header, size);
    write_frame(p.bytes, p.size);
    free(p.bytes);
    return EXIT_SUCCESS;
}

// ---- run

static int open_player(struct player *p, void *zmq, const char *endpoint, const uint8_t *server_key)
{
    int none = 0;
    p->socket = zmq_socket(zmq, ZMQ_DEALER);
    if (!p->socket || getrandom(p->spool_id, sizeof p->spool_id, 0) < 0)
        return -ENOMEM;
    zmq_setsockopt(p->socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(p->socket, ZMQ_CURVE_SERVERKEY, server_key, KEY_SIZE);
    zmq_setsockopt(p->socket, ZMQ_CURVE_PUBLICKEY, p->key.public_key, KEY_SIZE);
    zmq_setsockopt(p->socket, ZMQ_CURVE_SECRETKEY, p->key.secret_key, KEY_SIZE);
    p->credit = 1;
    p->heard_ms = now_ms(CLOCK_MONOTONIC);
    return zmq_connect(p->socket, endpoint) < 0 ? -errno : 0;
}

static void send_batches(struct player *p, const struct payload payloads[DISTINCT],
                         uint64_t batches)
{
    while (p->sent < batches && p->sent - p->acked < IN_FLIGHT) {
        const struct payload *load = &payloads[p->sent % DISTINCT];
        uint64_t in_flight = (p->sent - p->acked) * load->size;
        if (p->sent > p->acked && in_flight + load->size > p->credit)
            return;
        struct wire_header h = load->header;
        uint8_t header[WIRE_HEADER_MAX];
        size_t size;
        memcpy(h.spool_id, p->spool_id, sizeof h.spool_id);
        h.seq = p->sent + 1;
        h.sent_ms = now_ms(CLOCK_REALTIME);
        if (wire_header_encode(&h, header, &size) < 0 ||
            zmq_send(p->socket, header, size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ||
            zmq_send(p->socket, load->bytes, load->size, ZMQ_DONTWAIT) < 0)
            return;
        p->sent++;
    }
}

static uint64_t resent;

static void read_replies(struct player *p)
{
    uint8_t header[WIRE_HEADER_MAX], body[WIRE_REPLY_MAX];
    int n;
    while ((n = zmq_recv(p->socket, header, sizeof header, ZMQ_DONTWAIT)) >= 0) {
        int m = zmq_recv(p->socket, body, sizeof body, 0);
        struct wire_header h;
        struct wire_reply r;
        if (m < 0 || wire_header_decode(header, (size_t)n, &h, NULL) != 0 ||
            wire_reply_decode(body, (size_t)m, &r, NULL) != 0)
            continue;
        p->heard_ms = now_ms(CLOCK_MONOTONIC);
        p->credit = r.credit;
        if (h.kind == WIRE_ACK && r.committed_through > p->acked)
            p->acked = MIN(r.committed_through, p->sent);
        if (h.kind == WIRE_NACK) {
            resent += p->sent - (r.expected_seq - 1);
            p->sent = p->acked = r.expected_seq - 1;
        }
    }
    if (p->sent > p->acked && now_ms(CLOCK_MONOTONIC) - p->heard_ms > QUIET_MS) {
        resent += p->sent - p->acked;
        p->sent = p->acked;
        p->heard_ms = now_ms(CLOCK_MONOTONIC);
    }
}

static uint64_t play(struct player *players, size_t n, const struct payload payloads[DISTINCT],
                     uint64_t batches)
{
    zmq_pollitem_t *items = calloc(n, sizeof *items);
    uint64_t done = 0;
    for (size_t i = 0; i < n; i++)
        items[i] = (zmq_pollitem_t){players[i].socket, 0, ZMQ_POLLIN, 0};
    while (done < n * batches) {
        for (size_t i = 0; i < n; i++)
            send_batches(&players[i], payloads, batches);
        zmq_poll(items, (int)n, 100);
        done = 0;
        for (size_t i = 0; i < n; i++) {
            read_replies(&players[i]);
            done += players[i].acked;
        }
    }
    free(items);
    return done;
}

static size_t read_keys(const char *path, struct player **ret)
{
    _cleanup_(fclosep) FILE *f = fopen(path, "re");
    size_t n = 0;
    char public_key[64], secret_key[64];
    while (f && fscanf(f, "%63s %63s", public_key, secret_key) == 2) {
        *ret = realloc(*ret, (n + 1) * sizeof **ret);
        struct player *p = &(*ret)[n];
        *p = (struct player){0};
        if (key_parse(public_key, p->key.public_key) < 0 ||
            key_parse(secret_key, p->key.secret_key) < 0)
            break;
        n++;
    }
    return n;
}

static int run(char **argv)
{
    uint8_t server_key[KEY_SIZE];
    struct payload payloads[DISTINCT];
    _cleanup_(freep) struct player *players = NULL;
    size_t n = read_keys(argv[2], &players);
    uint64_t batches = strtoull(argv[3], NULL, 10);
    uint32_t flows = (uint32_t)atoi(argv[4]);
    if (key_parse(argv[1], server_key) < 0 || n == 0)
        return EXIT_FAILURE;
    for (uint64_t i = 0; i < DISTINCT; i++)
        if (make_payload(i + 1, flows, 0, &payloads[i]) < 0)
            return EXIT_FAILURE;
    void *zmq = zmq_ctx_new();
    zmq_ctx_set(zmq, ZMQ_MAX_SOCKETS, 65000);
    for (size_t i = 0; i < n; i++)
        if (open_player(&players[i], zmq, argv[0], server_key) < 0)
            return EXIT_FAILURE;
    int64_t start = now_ms(CLOCK_MONOTONIC);
    uint64_t done = play(players, n, payloads, batches);
    double seconds = (double)(now_ms(CLOCK_MONOTONIC) - start) / 1000;
    printf("%zu sensors, %" PRIu64 " batches, %" PRIu64
           " rows, %.2f s: %.0f rows/s, %.0f batches/s; "
           "%" PRIu64 " sent again; %zu bytes a batch\n",
           n, done, done * flows, seconds, (double)(done * flows) / seconds, (double)done / seconds,
           resent, payloads[0].size);
    for (size_t i = 0; i < n; i++)
        zmq_close(players[i].socket);
    zmq_ctx_term(zmq);
    for (size_t i = 0; i < DISTINCT; i++)
        free(payloads[i].bytes);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "keys") == 0)
        return print_keys(atoi(argv[2]));
    if (argc >= 7 && argc <= 9 && strcmp(argv[1], "message") == 0)
        return print_message(argv + 2, argc - 2);
    if (argc == 7 && strcmp(argv[1], "run") == 0)
        return run(argv + 2);
    fputs("usage: hirundo-load keys N\n"
          "       hirundo-load message batch|loss|unknown|poison|ping SEQ SPOOL FLOWS SEED "
          "[FROM_MS [LAST_SEQ]]\n"
          "       hirundo-load run ENDPOINT SERVER_KEY KEYS_FILE BATCHES FLOWS\n",
          stderr);
    return 2;
}
