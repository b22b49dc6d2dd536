#include "collector/serve.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "collector/descriptors.h"
#include "collector/health.h"
#include "collector/keeper.h"
#include "collector/listener.h"
#include "collector/metrics_http.h"
#include "collector/rollup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/notify.h"

#define IO_THREADS 2 // libzmq's: a handshake in one of them does not hold up all sensors
// What was freed goes back to the system: what is large at once (malloc by itself moves this limit
// up with each that is freed), the rest every TRIM_MS. Sensors that come over from another
// collector, or a backlog, leave as much free as all the rest takes.
#define LARGE_BYTES (128 << 10)
#define TRIM_MS     10000

struct server {
    const struct collector_conf *conf;
    struct key_pair key;
    struct key_pair next_key;
    void *zmq;
    struct budget *budget;
    struct keyring *keyring;
    struct strangers *strangers;
    struct guests *guests;
    struct alarms *alarms;
    struct keeper *keeper;
    struct rollup *rollup;
    struct heartbeats *heartbeats;
    struct health *health;
    struct guard *guard;
    struct metrics *metrics;
    struct metrics_http *metrics_http;
    struct zap *zap;
    struct listener *listener;
    struct writer *writers[COLLECTOR_WRITERS_MAX];
    size_t n_writers;
};

// Reads the key file; makes it at the first start.
static int open_key(const char *path, struct key_pair *ret, struct errmsg *e)
{
    struct stat st;
    if (stat(path, &st) == 0 || errno != ENOENT)
        return key_file_read(path, ret, e);
    struct key_pair pair;
    int r = key_pair_generate(&pair);
    if (r == 0)
        r = key_file_write(path, &pair, e);
    if (r == -ENOENT)
        r = errmsg_set(
            e, r, "key file %s: its directory is missing: make it, or set [collector] key", path);
    if (r == 0) {
        char text[KEY_Z85_SIZE];
        key_format(pair.public_key, text);
        log_notice("first start: made the key file %s; public key %s", path, text);
        *ret = pair;
    }
    key_pair_wipe(&pair);
    return r;
}

static int start_writers(struct server *s, struct errmsg *e)
{
    for (size_t i = 0; i < (size_t)s->conf->writers; i++) {
        const struct writer_options options = {
            .conninfo = s->conf->connection,
            .keyring = s->keyring,
            .budget = s->budget,
            .zmq = s->zmq,
            .metrics = s->metrics,
            .alarms = s->alarms,
            .number = (unsigned)i + 1,
        };
        int r = writer_start(&options, &s->writers[i], e);
        if (r < 0)
            return r;
        s->n_writers++;
    }
    return 0;
}

// Fills a text with what Prometheus asks for, in the HTTP server's thread.
static void write_metrics(const struct metrics_view *view, void *data)
{
    metrics_text(view, data);
}

static void render_metrics(void *data, struct text *ret)
{
    struct server *s = data;
    bool up[COLLECTOR_WRITERS_MAX];
    for (size_t i = 0; i < s->n_writers; i++)
        up[i] = writer_db_ok(s->writers[i]);
    struct metrics_view view = {
        .metrics = s->metrics,
        .n_writers = s->n_writers,
        .writers_up = up,
        .queue_bytes = (uint64_t)MAX(atomic_load(&s->budget->used), 0),
        .queue_limit = (uint64_t)s->budget->limit,
        .keys = keyring_count(s->keyring),
        .refused = zap_refused(s->zap),
        .failed_handshakes = s->listener ? listener_failed_handshakes(s->listener) : 0,
        .paused = atomic_load(&s->budget->paused),
        .guard = s->guard,
    };
    health_view(s->health, &view, write_metrics, ret);
}

static bool wants_metrics(const struct server *s)
{
    return strcmp(s->conf->metrics, "off") != 0;
}

// A collector without metrics is better than none.
static void start_metrics(struct server *s)
{
    const char *listen = s->conf->metrics;
    struct errmsg e = {"out of memory"};
    if (!wants_metrics(s))
        return;
    if (metrics_http_start(listen, render_metrics, s, &s->metrics_http, &e) < 0)
        log_warning("%s; going on without: choose another [metrics] listen, or off", e.text);
    else
        log_notice("metrics at http://%.*s:%u/metrics", (int)(strrchr(listen, ':') - listen),
                   listen, metrics_http_port(s->metrics_http));
}

static int start_health(struct server *s, struct errmsg *e)
{
    const struct health_options options = {.conninfo = s->conf->connection,
                                           .heartbeats = s->heartbeats,
                                           .guard = s->guard,
                                           .reads = wants_metrics(s)};
    int r = health_start(&options, &s->health, e);
    if (r == 0)
        start_metrics(s);
    return r;
}

// Each connection is a descriptor. A sensor may have two for a moment, when it connects anew; the
// rest is for the database, libzmq, and strangers until they are cut.
#define DESCRIPTORS_SPARE 256

// Takes as many as the hard limit allows, and says so if that is few.
static void raise_descriptors(size_t keys)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    const rlim_t most = MIN(limit.rlim_max, (rlim_t)DESCRIPTORS_MAX);
    const rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = MAX(limit.rlim_cur, most);
    if (limit.rlim_cur != soft && setrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = soft;
    if (limit.rlim_cur < 2 * keys + DESCRIPTORS_SPARE)
        log_warning(
            "only %llu file descriptors are allowed, %zu sensors may need %zu: raise the hard "
            "limit (systemd: LimitNOFILE=%d; shell: ulimit -Hn)",
            (unsigned long long)limit.rlim_cur, keys, 2 * keys + DESCRIPTORS_SPARE,
            DESCRIPTORS_MAX);
}

static int start(struct server *s, struct errmsg *e)
{
    s->budget = calloc(1, sizeof *s->budget);
    s->zmq = zmq_ctx_new();
    if (!s->budget || !s->zmq || keyring_new(&s->keyring) < 0 ||
        heartbeats_new(&s->heartbeats) < 0 || strangers_new(&s->strangers) < 0 ||
        guests_new(&s->guests) < 0 || alarms_new(&s->alarms) < 0 || !(s->metrics = metrics_new()))
        return -ENOMEM;
    zmq_ctx_set(s->zmq, ZMQ_IO_THREADS, IO_THREADS);
    s->budget->limit = s->conf->memory;
    if (guard_new(&s->conf->disks, s->conf->min_free, s->budget, &s->guard) < 0)
        return -ENOMEM;
    guard_look_at_disks(s->guard);
    int r = open_key(s->conf->key_path, &s->key, e);
    if (r == 0 && s->conf->next_key_path)
        r = open_key(s->conf->next_key_path, &s->next_key, e);
    if (r == 0 && memcmp(s->key.public_key, s->next_key.public_key, KEY_SIZE) == 0)
        r = errmsg_set(e, -EINVAL, "[collector] key and next_key are the same key");
    if (r == 0)
        r = keeper_start(s->conf->connection, s->keyring, s->strangers, s->alarms, &s->keeper, e);
    if (r == 0)
        r = zap_start(s->zmq, s->keyring, s->strangers, s->guests, &s->zap, e);
    if (r < 0)
        return r;
    raise_descriptors(keyring_count(s->keyring)); // before the first sensor comes
    const struct listener_options options = {
        .zmq = s->zmq,
        .keyring = s->keyring,
        .budget = s->budget,
        .zap = s->zap,
        .guests = s->guests,
        .limit_connections = s->conf->limit_connections,
        .heartbeats = s->heartbeats,
        .metrics = s->metrics,
        .guard = s->guard,
        .key = &s->key,
        .endpoints = &s->conf->endpoints,
        .next_key = s->conf->next_key_path ? &s->next_key : NULL,
        .next_endpoints = &s->conf->next_endpoints,
    };
    r = listener_new(&options, &s->listener, e);
    if (r == 0)
        r = start_writers(s, e);
    if (r == 0)
        r = rollup_start(s->conf->connection, &s->budget->paused, &s->rollup, e);
    if (r == 0)
        r = start_health(s, e);
    return r == 0 ? listener_run(s->listener, s->writers, s->n_writers, e) : r;
}

// In this order: take nothing new, commit what waits, let the acks out, then the rest.
static void stop(struct server *s)
{
    if (s->listener && s->n_writers == (size_t)s->conf->writers)
        listener_pause(s->listener);
    metrics_http_stop(s->metrics_http);
    for (size_t i = 0; i < s->n_writers; i++)
        writer_stop(s->writers[i]);
    listener_free(s->listener);
    zap_stop(s->zap);
    health_stop(s->health);
    rollup_stop(s->rollup);
    keeper_stop(s->keeper);
    if (s->zmq)
        zmq_ctx_term(s->zmq);
    keyring_free(s->keyring);
    heartbeats_free(s->heartbeats);
    strangers_free(s->strangers);
    guests_free(s->guests);
    alarms_free(s->alarms);
    metrics_free(s->metrics);
    guard_free(s->guard);
    key_pair_wipe(&s->key);
    key_pair_wipe(&s->next_key);
    free(s->budget);
}

// For bundles: what the configuration says, else what is bound, from `first` on `n` of it.
static int announce_endpoints(const struct server *s, const struct key_pair *key,
                              const struct conf_list *said, size_t first, size_t n)
{
    struct conf_list bound = {0};
    int r = 0;
    for (size_t i = first; r == 0 && i < first + n; i++)
        r = conf_list_add(&bound, listener_endpoint(s->listener, i));
    if (r == 0)
        r = keeper_announce(s->keeper, key->public_key, said->n ? said : &bound, first > 0);
    conf_list_clear(&bound);
    return r;
}

// It fails for want of memory only; sensor add then says what it lacks.
static void announce_keys(const struct server *s)
{
    const struct collector_conf *c = s->conf;
    int r = announce_endpoints(s, &s->key, &c->public_endpoints, 0, c->endpoints.n);
    if (r == 0 && c->next_key_path)
        r = announce_endpoints(s, &s->next_key, &c->next_public_endpoints, c->endpoints.n,
                               c->next_endpoints.n);
    if (r < 0)
        log_error("endpoints are not noted for bundles: %s", strerror(-r));
}

static void announce(const struct server *s)
{
    char key[KEY_Z85_SIZE];
    size_t present = s->conf->endpoints.n;
    for (size_t i = 1; listener_endpoint(s->listener, i); i++)
        log_notice("listening on %s too%s", listener_endpoint(s->listener, i),
                   i < present ? "" : ", with the next key");
    key_format(s->key.public_key, key);
    log_notice("ready: listening on %s, %zu writers, %zu keys enrolled, server key %s",
               listener_endpoint(s->listener, 0), s->n_writers, keyring_count(s->keyring), key);
    announce_keys(s);
}

// Whether every thread that data, keys or figures of health go through turns. One that waits for
// the database turns, too: a database that hangs is nothing that another start mends. Rollups may
// take an hour for one step, and what they miss the next start does not do sooner.
static bool all_turn(const struct server *s, int64_t now_ms, int64_t limit_ms)
{
    const struct pulse *pulses[] = {listener_pulse(s->listener), zap_pulse(s->zap),
                                    keeper_pulse(s->keeper), health_pulse(s->health)};
    bool turn = true;
    for (size_t i = 0; i < ARRAY_SIZE(pulses); i++)
        turn &= pulse_is_alive(pulses[i], now_ms, limit_ms);
    for (size_t i = 0; i < s->n_writers; i++)
        turn &= pulse_is_alive(writer_pulse(s->writers[i]), now_ms, limit_ms);
    return turn;
}

// Until SIGTERM or SIGINT, whose number it returns. The service manager's watchdog is fed while no
// thread has stood for half of its time, and memory is given back.
static int wait_for_signal(const struct server *s, const sigset_t *set, struct notify *notify)
{
    const struct timespec second = {.tv_sec = 1};
    for (int64_t trim_ms = 0;;) {
        int number = sigtimedwait(set, NULL, &second);
        if (number > 0)
            return number;
        int64_t now_ms = mono_ms();
        if (all_turn(s, now_ms, notify->watchdog_ms / 2))
            notify_alive(notify, now_ms);
        if (now_ms >= trim_ms) {
            malloc_trim(0);
            trim_ms = now_ms + TRIM_MS;
        }
    }
}

int serve(const struct collector_conf *conf, struct errmsg *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL); // before any thread: all inherit it
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    struct server s = {.conf = conf};
    struct notify notify;
    notify_open(&notify);
    int r = start(&s, e);
    if (r == 0) {
        announce(&s);
        notify_send(&notify, "READY=1\nSTATUS=listening on %s", listener_endpoint(s.listener, 0));
        int number = wait_for_signal(&s, &set, &notify);
        notify_send(&notify, "STOPPING=1\nSTATUS=committing what is queued");
        log_notice("%s: committing what is queued", strsignal(number));
    }
    stop(&s);
    notify_close(&notify);
    if (r == 0)
        log_notice("stopped");
    return r;
}
