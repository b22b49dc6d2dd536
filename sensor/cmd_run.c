// hirundo-sensor run: from an interface to the collector, until told to stop.
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/notify.h"
#include "sensor/capture.h"
#include "sensor/cmd.h"
#include "sensor/privilege.h"
#include "sensor/sensor.h"

#define TICK_MS     1000
#define READ_FRAMES 1024
#define REPORT_MS   60000 // trouble with time is logged once in that time
#define DRAIN_MS    2000

static const char help[] =
    "usage: hirundo-sensor run -c FILE\n\n"
    "Listens on [capture] interface and delivers flow summaries to the collector. Needs\n"
    "CAP_NET_RAW to open the interface and gives it up afterwards. SIGTERM: seals, spools,\n"
    "delivers what it can in a few seconds; the rest stays in the spool.\n";

struct run {
    struct sensor sensor;
    struct capture *capture;
    const struct decode_link *link;
    const volatile sig_atomic_t *stop;
    struct notify notify;
    struct capture_stats seen;
    int64_t report_at;
};

static int on_frame(void *ctx, const struct frame *frame)
{
    struct run *r = ctx;
    return sensor_frame(&r->sensor, r->link, frame);
}

static void count_drops(struct run *r)
{
    struct capture_stats now;
    if (capture_stats(r->capture, &now) < 0)
        return;
    batcher_drops(r->sensor.batcher, now.kernel_dropped - r->seen.kernel_dropped,
                  now.interface_dropped - r->seen.interface_dropped);
    r->seen = now;
}

static int tick(struct run *r)
{
    int64_t now = mono_ms();
    notify_alive(&r->notify, now);
    count_drops(r);
    int result = batcher_tick(r->sensor.batcher, wall_ms(), now);
    if (now >= r->report_at) {
        sensor_report(&r->sensor);
        r->report_at = now + REPORT_MS;
    }
    if (result == 0) {
        result = packer_flush(r->sensor.packer, 0);
        result = result == QUEUE_FULL ? 0 : result;
    }
    return result;
}

// Until a signal (0) or a failure (*e says which).
static int capture_loop(struct run *r, struct errmsg *e)
{
    int64_t tick_at = mono_ms() + TICK_MS;
    while (!*r->stop) {
        int result = capture_read(r->capture, READ_FRAMES, TICK_MS, on_frame, r, e);
        if (result < 0 || (result > 0 && result != CAPTURE_BROKEN))
            return result;
        int64_t now = mono_ms();
        if (now < tick_at)
            continue;
        tick_at = now + TICK_MS;
        result = tick(r);
        if (result != 0)
            return errmsg_set(e, result, "batches: %s", strerror(result < 0 ? -result : EPIPE));
    }
    return 0;
}

// What the kernel has captured by now, within reason: a flood must not keep the sensor from ending.
static void drain(struct run *r)
{
    int64_t now = mono_ms(), until = now + DRAIN_MS, quiet_at = now + CAPTURE_HOLD_MS;
    while (now < quiet_at && now < until) {
        uint64_t before = batcher_counters(r->sensor.batcher)->frames;
        struct errmsg e;
        int result = capture_read(r->capture, READ_FRAMES, (int)(quiet_at - now), on_frame, r, &e);
        if (result != 0 && result != CAPTURE_BROKEN)
            return;
        now = mono_ms();
        if (batcher_counters(r->sensor.batcher)->frames != before)
            quiet_at = now + CAPTURE_HOLD_MS;
    }
}

static int end(struct run *r, int result)
{
    if (result == 0)
        drain(r);
    count_drops(r);
    int ended = batcher_end(r->sensor.batcher, wall_ms(), mono_ms());
    if (sensor_seal(&r->sensor) != 0 || ended != 0)
        result = -EIO;
    sensor_report(&r->sensor);
    int outcome = uplink_join(r->sensor.uplink, NULL);
    struct uplink_view view;
    uplink_view(r->sensor.uplink, &view);
    if (outcome != 0)
        log_notice("%llu batches stay in the spool for the next start",
                   (unsigned long long)view.waiting);
    if (view.lost > 0)
        result = -EIO; // the log says what
    sensor_clear(&r->sensor);
    return result == 0 ? 0 : EXIT_FAILED;
}

static int capture_and_deliver(struct run *r)
{
    struct errmsg e = {""};
    log_notice("listening on %s", capture_name(r->capture));
    notify_send(&r->notify, "READY=1\nSTATUS=listening on %s", capture_name(r->capture));
    int result = batcher_begin(r->sensor.batcher, wall_ms(), mono_ms());
    if (result == 0)
        result = capture_loop(r, &e);
    if (result != 0)
        cmd_say("%s; what was captured is in the spool", e.text);
    notify_send(&r->notify, "STOPPING=1\nSTATUS=%s", result == 0 ? "delivering the rest" : e.text);
    return end(r, result);
}

static int open_interface(const struct sensor_conf *conf, struct capture **ret)
{
    struct capture_live_config config = {
        .interface = conf->values.interface,
        .snaplen = (uint32_t)conf->values.snaplen,
        .ring_bytes = (uint32_t)conf->values.ring,
        .excludes = conf->excludes,
        .n_excludes = conf->n_excludes,
    };
    struct errmsg e;
    int r = capture_open_live(&config, ret, &e);
    if (r < 0)
        cmd_say("%s", e.text);
    return r < 0 ? EXIT_FAILED : 0;
}

static int run(const struct sensor_conf *conf, const struct sensor_keys *keys)
{
    _cleanup_(capture_freep) struct capture *capture = NULL;
    struct run r = {.stop = stop_on_signals()};
    if (open_interface(conf, &capture) != 0)
        return EXIT_FAILED;
    r.capture = capture;
    notify_open(&r.notify); // before rights and the way to its path are given up
    r.link = decode_link_find(capture_link_type(capture));
    struct errmsg e;
    struct sensor_options options = {.live = true, .stop = r.stop};
    if (!r.link)
        errmsg_set(&e, 0, "%s: link type %d is not supported", capture_name(capture),
                   capture_link_type(capture));
    if (!r.link || privilege_drop(conf->values.user, &e) < 0 ||
        sensor_start(conf, keys, &options, &r.sensor, &e) < 0 || sensor_confine(&e) < 0) {
        cmd_say("%s", e.text);
        sensor_clear(&r.sensor);
        notify_close(&r.notify);
        return EXIT_FAILED;
    }
    int result = capture_and_deliver(&r);
    notify_close(&r.notify);
    return result;
}

int command_run(int argc, char *argv[])
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *conf_path = NULL;
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        if (o == 'c')
            conf_path = optarg;
        else
            return o == 'h' ? cmd_help(help) : cmd_usage(help);
    }
    if (optind != argc || !conf_path)
        return cmd_usage(help);
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    _cleanup_(sensor_keys_wipe) struct sensor_keys keys = {0};
    if (cmd_conf(conf_path, &conf) != 0 || cmd_keys(conf, conf_path, &keys) != 0)
        return EXIT_FAILED;
    if (!conf->values.interface) {
        cmd_say("%s: [capture] interface is missing: run listens on one", conf_path);
        return EXIT_FAILED;
    }
    return run(conf, &keys);
}
