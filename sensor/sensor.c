#include "sensor/sensor.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "common/log.h"
#include "sensor/sandbox.h"

// Encoded batches between the threads. A full batch takes some 100 KiB; a minute's batch of a quiet
// sensor some hundred bytes.
#define QUEUE_BYTES        (4u * 1024u * 1024u)
#define QUEUE_BYTES_REPLAY (1024u * 1024u)
#define QUEUE_ITEMS        4096u
#define STOP_GRACE_MS      3000

static volatile sig_atomic_t stop_flag;

static void on_signal(int number)
{
    (void)number;
    stop_flag = 1;
}

const volatile sig_atomic_t *stop_on_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hangup; // of the terminal; under nohup it stays ignored
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler == SIG_DFL)
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return &stop_flag;
}

static int start_uplink(const struct sensor_conf *conf, const struct sensor_keys *keys,
                        const struct sensor_options *options, uint64_t run_id, struct sensor *s,
                        struct errmsg *e)
{
    const struct sensor_values *v = &conf->values;
    struct uplink_config config = {
        .endpoints = conf->endpoints,
        .n_endpoints = (uint32_t)conf->n_endpoints,
        .n_next = (uint32_t)conf->n_next,
        .keys = &keys->present,
        .next_keys = keys->has_next ? &keys->next : NULL,
        .spool = {.path = v->spool_path,
                  .cap_bytes = v->spool_cap,
                  .keep_all = !options->live,
                  .live = options->live,
                  .later = options->live},
        .max_kbit = (uint32_t)v->max_kbit,
        .run_id = run_id,
        .until_delivered = !options->live,
        .grace_ms = STOP_GRACE_MS,
        .give_up_ms = options->give_up_ms,
    };
    memcpy(config.server_key, conf->server_key, sizeof config.server_key);
    memcpy(config.next_server_key, conf->next_server_key, sizeof config.next_server_key);
    int r = uplink_new(&config, s->queue, &s->uplink, e);
    if (r < 0)
        return r;
    r = uplink_start(s->uplink);
    return r < 0 ? errmsg_set(e, r, "cannot start a thread: %s", strerror(-r)) : 0;
}

static int start_capture_side(const struct sensor_conf *conf, const struct sensor_options *options,
                              uint64_t run_id, struct sensor *s)
{
    const struct sensor_values *v = &conf->values;
    int r = queue_new(options->live ? QUEUE_BYTES : QUEUE_BYTES_REPLAY, QUEUE_ITEMS, &s->queue);
    if (r < 0)
        return r;
    struct packer_config packer = {
        .queue = s->queue, .run_id = run_id, .wait = !options->live, .stop = options->stop};
    r = packer_new(&packer, &s->packer);
    if (r < 0)
        return r;
    struct batcher_config batcher = {
        .window_ms = (uint32_t)v->window_ms,
        .table_size = (uint32_t)v->table,
        .max_delay_ms = (uint32_t)v->max_delay_ms,
        .mode = options->live ? BATCHER_LIVE : BATCHER_REPLAY,
        .order = BATCHER_BY_SOURCE,
    };
    return batcher_new(&batcher, packer_sealed, s->packer, &s->batcher);
}

// In replay the uplink is no part of what the file holds.
static void take_excludes(const struct sensor_conf *conf, bool live, struct sensor *s)
{
    s->excludes = conf->excludes;
    s->n_excludes = live ? conf->n_excludes : conf->values.exclude.n;
}

int sensor_start(const struct sensor_conf *conf, const struct sensor_keys *keys,
                 const struct sensor_options *options, struct sensor *ret, struct errmsg *e)
{
    if (sodium_init() < 0)
        return errmsg_set(e, -EIO, "no random numbers from the system");
    uint64_t run_id;
    randombytes_buf(&run_id, sizeof run_id);
    struct sensor s = {0};
    take_excludes(conf, options->live, &s);
    int r = start_capture_side(conf, options, run_id, &s);
    if (r < 0)
        errmsg_set(e, r, "cannot start: %s", strerror(-r));
    if (r == 0)
        r = start_uplink(conf, keys, options, run_id, &s, e);
    if (r < 0)
        sensor_clear(&s);
    else
        *ret = s;
    return r;
}

int sensor_frame(struct sensor *s, const struct decode_link *link, const struct frame *frame)
{
    struct packet packet;
    enum decode_result decoded = decode_frame(link, frame, &packet);
    if (decoded == DECODE_IP && s->n_excludes &&
        capture_excludes(s->excludes, s->n_excludes, &packet)) {
        s->excluded++;
        return 0;
    }
    return batcher_packet(s->batcher, frame, decoded, &packet);
}

void sensor_report(struct sensor *s)
{
    const struct batcher_report *now = batcher_report(s->batcher), *then = &s->reported;
    unsigned long long clamped = now->times_clamped - then->times_clamped;
    unsigned long long leaps = now->clock_leaps - then->clock_leaps;
    unsigned long long back = now->windows_reopened - then->windows_reopened;
    if (clamped)
        log_warning("%llu frames had times before year 1 or after year 9999; they count at that "
                    "edge",
                    clamped);
    if (leaps)
        log_warning("time leapt by more than 31 days, %llu times; what lies between counts as not "
                    "observed",
                    leaps);
    if (back)
        log_warning("packet time went back by more than a second, %llu times; each time a window "
                    "was opened again",
                    back);
    s->reported = *now;
}

int sensor_confine(struct errmsg *e)
{
    int r = sandbox_enter(e);
    if (r != SANDBOX_UNAVAILABLE)
        return r;
    log_warning("%s", e->text);
    return 0;
}

int sensor_seal(struct sensor *s)
{
    int r = batcher_flush(s->batcher);
    if (r == 0)
        r = packer_flush(s->packer, STOP_GRACE_MS);
    if (r == 0)
        uplink_all_sealed(s->uplink);
    else
        uplink_left_behind(s->uplink);
    if (packer_undeclared(s->packer) > 0)
        log_error("%llu frames found no room in the queue, and are lost: the spool cannot be "
                  "written",
                  (unsigned long long)packer_undeclared(s->packer));
    queue_close(s->queue);
    return r;
}

void sensor_clear(struct sensor *s)
{
    uplink_free(s->uplink);
    batcher_free(s->batcher);
    packer_free(s->packer);
    queue_free(s->queue);
    *s = (struct sensor){0};
}
