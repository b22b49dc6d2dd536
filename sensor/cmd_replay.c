// hirundo-sensor replay: capture files on the very same path, with the packets' time.
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/log.h"
#include "sensor/capture.h"
#include "sensor/cmd.h"
#include "sensor/sensor.h"

#define TICK_FRAMES 4096
#define PROGRESS_MS 500
#define STOPPED     100 // beside CAPTURE_END and CAPTURE_BROKEN

static const char help[] =
    "usage: hirundo-sensor replay -c FILE [--progress] [--timeout SECONDS] PCAP...\n\n"
    "Sends capture files to the collector as if they were captured now; time is the packets'.\n"
    "Ends when everything is acknowledged, and waits for a collector that is away.\n"
    "  --progress         lines \"progress FRAMES ACKED TOTAL\" (batches) on standard error\n"
    "  --timeout SECONDS  give up when no acknowledgement came for so long\n"
    "Replaying a file a second time sends it a second time, as new data.\n";

struct replay {
    struct sensor sensor;
    const volatile sig_atomic_t *stop;
    const struct decode_link *link;
    bool progress; // lines for a program
    bool terminal;
    int64_t progress_at;
    uint64_t frames;
};

static void show_progress(struct replay *r, bool must)
{
    int64_t now = mono_ms();
    if ((!r->progress && !r->terminal) || (!must && now < r->progress_at))
        return;
    r->progress_at = now + PROGRESS_MS;
    struct uplink_view view;
    struct queue_state queue;
    queue_state(r->sensor.queue, &queue);
    uplink_view(r->sensor.uplink, &view);
    unsigned long long frames = r->frames;
    unsigned long long acked = view.delivered;
    unsigned long long total = view.delivered + view.waiting + queue.items;
    if (r->progress)
        fprintf(stderr, "progress %llu %llu %llu\n", frames, acked, total);
    else
        fprintf(stderr, "\r%llu frames, %llu of %llu batches acknowledged ", frames, acked, total);
}

static int on_frame(void *ctx, const struct frame *frame)
{
    struct replay *r = ctx;
    r->frames++;
    uplink_note_read(r->sensor.uplink, frame->ts_ms);
    int result = sensor_frame(&r->sensor, r->link, frame);
    return *r->stop || result == PACKER_STOPPED ? STOPPED : result;
}

// 0: to its end; positive: stopped; -errno with *e: damaged.
static int read_all(struct replay *r, struct capture *capture, struct errmsg *e)
{
    for (;;) {
        int result = capture_read(capture, TICK_FRAMES, 0, on_frame, r, e);
        if (result != 0)
            return result == CAPTURE_END ? 0 : result;
        result = batcher_tick(r->sensor.batcher, 0, mono_ms());
        if (result != 0)
            return result;
        show_progress(r, false);
    }
}

static int replay_file(struct replay *r, const char *path, struct errmsg *e)
{
    _cleanup_(capture_freep) struct capture *capture = NULL;
    int result = capture_open_file(path, &capture, e);
    if (result < 0)
        return result;
    r->link = decode_link_find(capture_link_type(capture));
    if (!r->link)
        return errmsg_set(e, -EPROTONOSUPPORT, "%s: link type %d is not supported", path,
                          capture_link_type(capture));
    result = batcher_begin(r->sensor.batcher, 0, mono_ms());
    if (result == 0)
        result = read_all(r, capture, e);
    int ended = batcher_end(r->sensor.batcher, 0, mono_ms());
    return result != 0 ? result : ended;
}

// Value: exit status so far.
static int replay_files(struct replay *r, int n, char *paths[])
{
    int status = 0;
    for (int i = 0; i < n && !*r->stop; i++) {
        uint64_t before = r->frames;
        struct errmsg e = {"out of memory"};
        int result = replay_file(r, paths[i], &e);
        if (result < 0) {
            cmd_say("%s", e.text);
            status = EXIT_FAILED;
        } else if (result > 0) {
            cmd_say("stopped in %s after %llu of its frames", paths[i],
                    (unsigned long long)(r->frames - before));
            return EXIT_FAILED;
        }
    }
    return *r->stop ? EXIT_FAILED : status;
}

static int wait_delivered(struct replay *r)
{
    while (!uplink_wait(r->sensor.uplink, PROGRESS_MS)) {
        if (*r->stop)
            uplink_stop(r->sensor.uplink);
        show_progress(r, false);
    }
    struct errmsg e;
    int outcome = uplink_join(r->sensor.uplink, &e);
    show_progress(r, true);
    if (r->terminal)
        fputc('\n', stderr);
    struct uplink_view view;
    uplink_view(r->sensor.uplink, &view);
    bool gave_up = outcome == UPLINK_GAVE_UP;
    if (outcome != 0 || *r->stop)
        cmd_say("%s%s%llu batches acknowledged, %llu wait in the spool and go out with the next "
                "start; replaying the same file again would send its frames a second time",
                gave_up ? e.text : "", gave_up ? ": " : "", (unsigned long long)view.delivered,
                (unsigned long long)view.waiting);
    else
        log_notice("%llu frames in %llu batches delivered",
                   (unsigned long long)(r->frames - r->sensor.excluded),
                   (unsigned long long)packer_batches(r->sensor.packer));
    return outcome == 0 ? 0 : EXIT_FAILED;
}

static int replay(struct replay *r, const struct sensor_conf *conf, const struct sensor_keys *keys,
                  int64_t give_up_ms, int n, char *paths[])
{
    struct sensor_options options = {.give_up_ms = give_up_ms, .stop = r->stop};
    struct errmsg e;
    if (sensor_start(conf, keys, &options, &r->sensor, &e) < 0 || sensor_confine(&e) < 0) {
        cmd_say("%s", e.text);
        sensor_clear(&r->sensor);
        return EXIT_FAILED;
    }
    int status = replay_files(r, n, paths);
    if (sensor_seal(&r->sensor) != 0) {
        cmd_say("what was read last is not in the spool: the next start with it declares that time "
                "as unknown");
        status = EXIT_FAILED;
    }
    sensor_report(&r->sensor);
    if (r->sensor.excluded)
        log_notice("%llu frames were left out: [capture] exclude names their source",
                   (unsigned long long)r->sensor.excluded);
    if (*r->stop)
        uplink_stop(r->sensor.uplink);
    int delivered = wait_delivered(r);
    sensor_clear(&r->sensor);
    return MAX(status, delivered);
}

// A file that is none is found before anything is sent. Pipes can be opened only once.
static int check_readable(int n, char *paths[])
{
    for (int i = 0; i < n; i++) {
        struct stat st;
        struct errmsg e;
        _cleanup_(capture_freep) struct capture *capture = NULL;
        int r = stat(paths[i], &st) < 0 || access(paths[i], R_OK) < 0 ? -errno : 0;
        if (r < 0)
            errmsg_set(&e, r, "%s: %s", paths[i], strerror(-r));
        else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
            r = capture_open_file(paths[i], &capture, &e);
        if (r < 0) {
            cmd_say("%s; nothing was sent", e.text);
            return EXIT_FAILED;
        }
    }
    return 0;
}

static int parse_seconds(const char *text, int64_t *ret_ms)
{
    char *end;
    errno = 0;
    long long seconds = strtoll(text, &end, 10);
    if (end == text || *end || errno || seconds < 1 || seconds > 86400 * 366)
        return -EINVAL;
    *ret_ms = seconds * 1000;
    return 0;
}

int command_replay(int argc, char *argv[])
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"progress", no_argument, NULL, 'p'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *conf_path = NULL;
    int64_t give_up_ms = 0;
    struct replay r = {.stop = stop_on_signals()};
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        if (o == 'c')
            conf_path = optarg;
        else if (o == 'p')
            r.progress = true;
        else if (o != 't')
            return o == 'h' ? cmd_help(help) : cmd_usage(help);
        else if (parse_seconds(optarg, &give_up_ms) < 0) {
            cmd_say("--timeout %s: must be a number of seconds, at least 1", optarg);
            return EXIT_USAGE;
        }
    }
    if (optind == argc || !conf_path)
        return cmd_usage(help);
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    _cleanup_(sensor_keys_wipe) struct sensor_keys keys = {0};
    if (cmd_conf(conf_path, &conf) != 0 || cmd_keys(conf, conf_path, &keys) != 0 ||
        check_readable(argc - optind, argv + optind) != 0)
        return EXIT_FAILED;
    r.terminal = !r.progress && isatty(STDERR_FILENO);
    return replay(&r, conf, &keys, give_up_ms, argc - optind, argv + optind);
}
