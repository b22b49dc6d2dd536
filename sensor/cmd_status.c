// hirundo-sensor status: what the spool says, whether run is running or not.
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "common/clock.h"
#include "sensor/cmd.h"
#include "sensor/spool.h"

static const char help[] =
    "usage: hirundo-sensor status -c FILE\n\n"
    "Prints what waits in the spool, how old it is, and when the collector last acknowledged\n"
    "something. Read only; works beside run and without it.\n";

static void print_time(const char *name, int64_t ms)
{
    char text[CLOCK_TEXT] = "never";
    if (ms != 0)
        clock_text(ms, text);
    printf("%-15s %s\n", name, text);
}

static void print_receipts(const struct spool_receipts *r)
{
    printf("%-15s %llu frames by the run that is on, or was last\n", "seen",
           (unsigned long long)r->frames);
    print_time("last_seen", r->seen_ms);
    print_time("last_taken", r->taken_ms);
    print_time("last_put_aside", r->aside_ms);
    if (r->aside_ms != 0)
        printf("%-15s batch %llu: %s\n", "put_aside", (unsigned long long)r->aside_seq,
               r->aside_reason);
}

static void print_status(const char *path, const struct spool_status *s)
{
    int64_t age = s->oldest_ms != 0 ? MAX(0, wall_ms() / 1000 - s->oldest_ms / 1000) : 0;
    printf("%-15s %s\n", "spool", path);
    printf("%-15s ", "spool_id");
    for (size_t i = 0; i < sizeof s->spool_id; i++)
        printf("%02x", s->spool_id[i]);
    printf("\n%-15s %llu batches, %llu bytes\n", "waiting", (unsigned long long)s->waiting,
           (unsigned long long)s->waiting_bytes);
    printf("%-15s %llu\n", "declared_losses", (unsigned long long)s->lost);
    printf("%-15s %lld s\n", "oldest", (long long)age);
    printf("%-15s %llu\n", "delivered_kept", (unsigned long long)s->kept);
    printf("%-15s %llu of %lld bytes\n", "used", (unsigned long long)s->used_bytes,
           (long long)s->cap_bytes);
    printf("%-15s %llu\n", "next_seq", (unsigned long long)s->next_seq);
    printf("%-15s %llu\n", "acked_through", (unsigned long long)s->acked_through);
    print_time("last_ack", s->last_ack_ms);
    print_time("last_window", s->last_window_ms);
    print_time("delivered_until", s->delivered_ms);
    printf("%-15s %s\n", "peer", s->peer[0] ? s->peer : "none yet");
    if (s->clock_ms != 0)
        printf("%-15s %lld ms (collector's clock less this one's), round trip %lld ms\n",
               "clock_offset", (long long)s->clock_offset_ms, (long long)s->round_trip_ms);
    else
        printf("%-15s not measured yet\n", "clock_offset");
    if (s->has_receipts)
        print_receipts(&s->receipts);
    printf("%-15s %s\n", "last_error", s->last_error[0] ? s->last_error : "none");
}

int command_status(int argc, char *argv[])
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
    if (cmd_conf(conf_path, &conf) != 0)
        return EXIT_FAILED;
    struct spool_status status;
    struct errmsg e;
    int r = spool_status_read(conf->values.spool_path, &status, &e);
    if (r == -ENOENT)
        errmsg_set(
            &e, r,
            "spool %s does not exist yet: neither run nor replay has been started, or it was "
            "deleted",
            conf->values.spool_path);
    if (r < 0) {
        cmd_say("%s", e.text);
        return EXIT_FAILED;
    }
    print_status(conf->values.spool_path, &status);
    return 0;
}
