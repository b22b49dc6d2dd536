// hirundo-load: plays many sensors with real CURVE sockets, or writes messages for others to send.
//
//   hirundo-load keys N                     N lines "public secret" (Z85), to enroll
//   hirundo-load message KIND SEQ SPOOL FLOWS SEED [FROM_MS [LAST_SEQ]]
//                                           header and payload, each after its length (4 bytes,
//                                           network order)
//   hirundo-load run ENDPOINT SERVER_KEY KEYS_FILE BATCHES FLOWS [FROM_MS [RUNS]]
//                                           every key sends BATCHES batches of FLOWS flows, of
//                                           consecutive minutes, encoded beforehand, when it hears
//                                           a line on standard input; prints what it took
//   hirundo-load pace ENDPOINT SERVER_KEY KEYS_FILE BATCHES FLOWS INTERVAL_MS
//                                           every key sends a batch every INTERVAL_MS; a line
//                                           "DUE_MS DELAY_US" for each when it is acknowledged
//   hirundo-load idle ENDPOINT SERVER_KEY KEYS_FILE INTERVAL_MS SECONDS
//                                           every key connects, then pings; prints when the last
//                                           was served and the longest wait for an answer
#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "tests/load/players.h"

#define GREET_MS 120000
#define DRAIN_MS 600000

static int fail(const struct errmsg *e)
{
    fprintf(stderr, "hirundo-load: %s\n", e->text);
    return EXIT_FAILURE;
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

// ---- message

static void write_frame(const uint8_t *p, size_t n)
{
    uint32_t length = htonl((uint32_t)n);
    fwrite(&length, sizeof length, 1, stdout);
    fwrite(p, 1, n, stdout);
}

// The batch as the kind asked for.
static int turn_into(const char *kind, uint64_t seq, uint64_t last, struct payload *p)
{
    bool unknown = strcmp(kind, "unknown") == 0;
    if (unknown || strcmp(kind, "loss") == 0) {
        struct payload loss;
        int r = payload_loss(seq, last, unknown, p, &loss);
        if (r < 0)
            return r;
        payload_release(p);
        *p = loss;
    } else if (strcmp(kind, "poison") == 0) {
        for (size_t i = p->size / 2; i < p->size; i++) // the digest is right, the content is not
            p->bytes[i] = (uint8_t)(p->bytes[i] * 7 + 13);
        wire_sha256(p->bytes, p->size, p->header.sha256);
    } else if (strcmp(kind, "ping") == 0) {
        p->header = (struct wire_header){.kind = WIRE_PING, .sent_ms = wall_ms()};
        p->size = 0;
    }
    return 0;
}

static int print_message(char **argv, int n)
{
    struct payload p = {0};
    uint64_t seq = strtoull(argv[1], NULL, 10);
    int64_t from_ms = n > 5 ? strtoll(argv[5], NULL, 10) : 0;
    uint64_t last = n > 6 ? strtoull(argv[6], NULL, 10) : seq;
    if (payload_batch(strtoull(argv[4], NULL, 10), (uint32_t)atoi(argv[3]), from_ms, &p) < 0 ||
        turn_into(argv[0], seq, last, &p) < 0)
        return EXIT_FAILURE;
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
    payload_release(&p);
    return EXIT_SUCCESS;
}

// ---- run

static int make_payloads(size_t n, uint32_t flows, int64_t from_ms, struct payload *payloads,
                         size_t *ret_bytes)
{
    *ret_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t at = from_ms ? from_ms + (int64_t)i * 60000 : 0;
        int r = payload_batch(i + 1, flows, at, &payloads[i]);
        if (r < 0)
            return r;
        *ret_bytes += payloads[i].size;
    }
    return 0;
}

static int play(struct players *players, const struct payload *payloads, size_t batches,
                uint32_t flows, size_t runs, struct errmsg *e)
{
    int64_t greeted;
    int r = players_greet(players, GREET_MS, &greeted);
    if (r < 0)
        return errmsg_set(e, r, "not all were answered within %d s", GREET_MS / 1000);
    size_t n = players_count(players);
    printf("ready: %zu sensors connected in %.2f s\n", n, (double)greeted / 1000);
    fflush(stdout);
    char line[16];
    for (size_t i = 0; i < runs && fgets(line, sizeof line, stdin); i++) {
        struct drained d;
        r = players_drain(players, payloads, batches, DRAIN_MS, &d);
        if (r < 0)
            return errmsg_set(e, r, "not all was acknowledged: %s", strerror(-r));
        double rows = (double)(n * batches) * flows;
        printf("%zu sensors, %zu batches, %.0f rows, %.3f s: %.0f rows/s, %.0f batches/s; %" PRIu64
               " sent again; %.2f s CPU\n",
               n, n * batches, rows, d.seconds, rows / d.seconds, (double)(n * batches) / d.seconds,
               d.resent, d.cpu_seconds);
        fflush(stdout);
    }
    return 0;
}

static int run(char **argv, int n)
{
    struct errmsg e = {"out of memory"};
    _cleanup_(players_freep) struct players *players = NULL;
    size_t batches = strtoull(argv[3], NULL, 10), bytes,
           runs = n > 6 ? strtoull(argv[6], NULL, 10) : 1;
    uint32_t flows = (uint32_t)atoi(argv[4]);
    _cleanup_(freep) struct payload *payloads = calloc(batches + 1, sizeof *payloads);
    int r = payloads ? make_payloads(batches, flows, n > 5 ? strtoll(argv[5], NULL, 10) : 0,
                                     payloads, &bytes)
                     : -ENOMEM;
    if (r == 0)
        r = players_open(argv[0], argv[1], argv[2], &players, &e);
    if (r == 0) {
        printf("prepared: %zu batches of %.0f bytes\n", batches, (double)bytes / (double)batches);
        r = play(players, payloads, batches, flows, runs, &e);
    }
    players_free(players); // libzmq holds payloads until then, also of what it sends again
    players = NULL;
    for (size_t i = 0; payloads && i < batches; i++)
        payload_release(&payloads[i]);
    return r < 0 ? fail(&e) : EXIT_SUCCESS;
}

// ---- pace

static void print_delay(void *context, int64_t due_ms, int64_t delay_us)
{
    fprintf(context, "%" PRId64 " %" PRId64 "\n", due_ms, delay_us);
}

static int pace(char **argv)
{
    struct errmsg e = {"out of memory"};
    _cleanup_(players_freep) struct players *players = NULL;
    size_t batches = strtoull(argv[3], NULL, 10), bytes;
    _cleanup_(freep) struct payload *payloads = calloc(batches + 1, sizeof *payloads);
    int64_t from_ms = wall_ms() / 60000 * 60000 - (int64_t)batches * 60000, greeted;
    int r = payloads ? make_payloads(batches, (uint32_t)atoi(argv[4]), from_ms, payloads, &bytes)
                     : -ENOMEM;
    if (r == 0)
        r = players_open(argv[0], argv[1], argv[2], &players, &e);
    if (r == 0)
        r = players_greet(players, GREET_MS, &greeted);
    if (r == 0) {
        printf("ready: %zu sensors, batches of %zu bytes\n", players_count(players),
               bytes / batches);
        fflush(stdout);
        setvbuf(stdout, NULL, _IOLBF, 0);
        r = players_pace(players, payloads, batches, atoi(argv[5]), print_delay, stdout);
        if (r < 0)
            errmsg_set(&e, r, "not all was acknowledged: %s", strerror(-r));
    }
    players_free(players); // libzmq holds payloads until then, also of what it sends again
    players = NULL;
    for (size_t i = 0; payloads && i < batches; i++)
        payload_release(&payloads[i]);
    return r < 0 ? fail(&e) : EXIT_SUCCESS;
}

// ---- idle

static int idle(char **argv)
{
    struct errmsg e = {"out of memory"};
    _cleanup_(players_freep) struct players *players = NULL;
    int64_t last = 0, worst = 0;
    int r = players_open(argv[0], argv[1], argv[2], &players, &e);
    if (r == 0) {
        r = players_greet(players, GREET_MS, &last);
        if (r < 0)
            errmsg_set(&e, r, "not all were answered within %d s", GREET_MS / 1000);
    }
    if (r < 0)
        return fail(&e);
    printf("greeted: %zu sensors, the last after %" PRId64 " ms\n", players_count(players), last);
    fflush(stdout);
    players_idle(players, atoi(argv[3]), atoi(argv[4]) * 1000, &worst);
    printf("idle: longest wait for a pong %" PRId64 " ms\n", worst);
    return EXIT_SUCCESS;
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    raise_descriptors();
    if (argc == 3 && strcmp(argv[1], "keys") == 0)
        return print_keys(atoi(argv[2]));
    if (argc >= 7 && argc <= 9 && strcmp(argv[1], "message") == 0)
        return print_message(argv + 2, argc - 2);
    if (argc >= 7 && argc <= 9 && strcmp(argv[1], "run") == 0)
        return run(argv + 2, argc - 2);
    if (argc == 8 && strcmp(argv[1], "pace") == 0)
        return pace(argv + 2);
    if (argc == 7 && strcmp(argv[1], "idle") == 0)
        return idle(argv + 2);
    fputs("usage: hirundo-load keys N\n"
          "       hirundo-load message batch|loss|unknown|poison|ping SEQ SPOOL FLOWS SEED "
          "[FROM_MS [LAST_SEQ]]\n"
          "       hirundo-load run ENDPOINT SERVER_KEY KEYS_FILE BATCHES FLOWS [FROM_MS [RUNS]]\n"
          "       hirundo-load pace ENDPOINT SERVER_KEY KEYS_FILE BATCHES FLOWS INTERVAL_MS\n"
          "       hirundo-load idle ENDPOINT SERVER_KEY KEYS_FILE INTERVAL_MS SECONDS\n",
          stderr);
    return 2;
}
