// hirundo-sensor flows: capture files to flow summaries on standard output.
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sensor/batch.h"
#include "sensor/capture.h"
#include "sensor/commands.h"
#include "sensor/flows_print.h"
#include "sensor/source_set.h"

#define TICK_FRAMES 4096

// What the frames themselves say, flow or flood row.
struct counts {
    uint64_t version[2]; // IPv4, IPv6
    uint64_t proto[2][256];
    uint64_t fragments;
    uint64_t bytes;
    uint8_t ttl_min;
    uint8_t ttl_max;
};

struct flows {
    enum flows_format format;
    bool summary;
    bool opened; // a capture at least
    const struct decode_link *link;
    struct batcher *batcher;
    struct source_set *sources;
    struct counts counts;
};

static void flows_clear(struct flows *f)
{
    batcher_free(f->batcher);
    source_set_free(f->sources);
}

static int on_batch(void *ctx, const struct batch *batch, const struct counters *counters)
{
    struct flows *f = ctx;
    (void)counters;
    if (f->summary)
        return 0;
    // A window's flood rows carry its start as their time and come in the first batch that holds
    // flows of it, so they go before the first flow that is not older.
    uint32_t flood = 0;
    for (uint32_t i = 0; i < batch->n_flows; i++) {
        while (flood < batch->n_floods && batch->floods[flood].ts_ms <= batch->flows[i].ts_ms)
            flows_print_flood(stdout, f->format, &batch->floods[flood++]);
        flows_print_flow(stdout, f->format, &batch->flows[i]);
    }
    while (flood < batch->n_floods)
        flows_print_flood(stdout, f->format, &batch->floods[flood++]);
    return 0;
}

static void count(struct counts *c, const struct packet *packet)
{
    const struct flow_key *key = &packet->key;
    unsigned six = key->version == 6;
    c->version[six]++;
    c->proto[six][key->proto]++;
    c->fragments += (key->marks & MARK_FRAGMENT) != 0;
    c->bytes += packet->ip_len;
    c->ttl_min = MIN(c->ttl_min, key->ttl);
    c->ttl_max = MAX(c->ttl_max, key->ttl);
}

static int on_frame(void *ctx, const struct frame *frame)
{
    struct flows *f = ctx;
    struct packet packet;
    enum decode_result decoded = decode_frame(f->link, frame, &packet);
    if (decoded == DECODE_IP)
        count(&f->counts, &packet);
    return batcher_packet(f->batcher, frame, decoded, &packet);
}

static int read_capture(struct flows *f, const char *path, struct errmsg *e)
{
    _cleanup_(capture_freep) struct capture *capture = NULL;
    int r = capture_open_file(path, &capture, e);
    if (r < 0)
        return r;
    if (!f->opened && !f->summary)
        flows_print_header(stdout, f->format);
    f->opened = true;
    f->link = decode_link_find(capture_link_type(capture));
    r = batcher_begin(f->batcher, 0, 0);
    if (r == 0)
        r = capture_read(capture, 0, 0, on_frame, f, e);
    int closed = batcher_end(f->batcher, 0, 0);
    return r < 0 ? r : closed;
}

static void print_summary(const struct flows *f)
{
    const struct counts *c = &f->counts;
    const struct counters *n = batcher_counters(f->batcher);
    const struct batcher_report *report = batcher_report(f->batcher);
    uint64_t ip = c->version[0] + c->version[1];
    uint64_t tcp = c->proto[0][IPPROTO_TCP] + c->proto[1][IPPROTO_TCP];
    uint64_t udp = c->proto[0][IPPROTO_UDP] + c->proto[1][IPPROTO_UDP];
    uint64_t icmp = c->proto[0][IPPROTO_ICMP];
    uint64_t icmpv6 = c->proto[1][IPPROTO_ICMPV6];
    bool estimated;
    uint64_t sources = source_set_count(f->sources, &estimated);
    char ttl_min[8] = "null", ttl_max[8] = "null";
    if (ip) {
        snprintf(ttl_min, sizeof ttl_min, "%u", c->ttl_min);
        snprintf(ttl_max, sizeof ttl_max, "%u", c->ttl_max);
    }
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"frames", n->frames},
        {"ipv4", c->version[0]},
        {"ipv6", c->version[1]},
        {"non_ip", n->non_ip},
        {"malformed", n->malformed},
        {"fragments", c->fragments},
        {"tcp", tcp},
        {"udp", udp},
        {"icmp", icmp},
        {"icmpv6", icmpv6},
        {"other", ip - tcp - udp - icmp - icmpv6},
        {"packets_in_flows", n->row_packets},
        {"flood_packets", n->flood_packets},
        {"flows", report->flows},
        {"distinct_sources", sources},
    };
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        printf("%s\"%s\": %" PRIu64, i ? ", " : "{", fields[i].name, fields[i].value);
    printf(", \"distinct_sources_estimated\": %s, \"ttl_min\": %s, \"ttl_max\": %s, \"bytes\": "
           "%" PRIu64,
           estimated ? "true" : "false", ttl_min, ttl_max, c->bytes);
    printf(", \"times_clamped\": %" PRIu64 ", \"clock_leaps\": %" PRIu64
           ", \"windows_reopened\": %" PRIu64 ", \"flood_windows\": %" PRIu64 "}\n",
           report->times_clamped, report->clock_leaps, report->windows_reopened,
           report->flood_windows);
}

// What makes the figures mean something else than they seem to.
static void print_notes(const struct batcher_report *report)
{
    if (report->times_clamped)
        fprintf(stderr,
                "hirundo-sensor flows: %" PRIu64 " frames have times before year 1 or after year "
                "9999 and count at that edge\n",
                report->times_clamped);
    if (report->clock_leaps)
        fprintf(stderr,
                "hirundo-sensor flows: the packets' clock leaps by more than 31 days %" PRIu64
                " time%s\n",
                report->clock_leaps, report->clock_leaps == 1 ? "" : "s");
}

static int read_captures(struct flows *f, char *paths[], int n)
{
    int status = 0;
    for (int i = 0; i < n; i++) {
        struct errmsg e = {"out of memory"};
        if (read_capture(f, paths[i], &e) < 0) {
            fflush(stdout);
            fprintf(stderr, "hirundo-sensor flows: %s\n", e.text);
            status = EXIT_FAILED;
        }
    }
    batcher_flush(f->batcher);
    if (f->opened && f->summary)
        print_summary(f);
    if (status == 0)
        print_notes(batcher_report(f->batcher));
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "hirundo-sensor flows: standard output: %s\n", strerror(errno));
        status = EXIT_FAILED;
    }
    return status;
}

static int run(struct flows *f, char *paths[], int n)
{
    int r = source_set_new(&f->sources);
    const struct batcher_config config = {
        .window_ms = WINDOW_MS_DEFAULT,
        .table_size = TABLE_SIZE_DEFAULT,
        .max_delay_ms = MAX_DELAY_MS_DEFAULT,
        .mode = BATCHER_REPLAY,
        .order = f->summary ? BATCHER_COUNT_ONLY : BATCHER_BY_TIME,
        .sources = f->sources,
    };
    if (r == 0)
        r = batcher_new(&config, on_batch, f, &f->batcher);
    if (r < 0) {
        fprintf(stderr, "hirundo-sensor flows: %s\n", strerror(-r));
        return EXIT_FAILED;
    }
    return read_captures(f, paths, n);
}

static void usage(FILE *out)
{
    fputs("usage: hirundo-sensor flows PCAP... [--format csv|json] [--summary]\n"
          "\n"
          "Prints the flow summaries of pcap and pcapng files.\n"
          "  --format csv|json  a line a flow, as csv with a header line (default) or as json\n"
          "  --summary          only one JSON object with the totals of all files\n",
          out);
}

int command_flows(int argc, char *argv[])
{
    static const struct option options[] = {
        {"format", required_argument, NULL, 'f'},
        {"summary", no_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    _cleanup_(flows_clear) struct flows f = {.counts.ttl_min = UINT8_MAX};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            usage(stdout);
            return 0;
        }
        if (c == 's')
            f.summary = true;
        else if (c == 'f' && strcmp(optarg, "json") == 0)
            f.format = FLOWS_JSON;
        else if (c != 'f') {
            usage(stderr);
            return EXIT_USAGE;
        } else if (strcmp(optarg, "csv") == 0) {
            f.format = FLOWS_CSV;
        } else {
            fprintf(stderr, "hirundo-sensor flows: --format %s: must be csv or json\n", optarg);
            return EXIT_USAGE;
        }
    }
    if (optind == argc) {
        usage(stderr);
        return EXIT_USAGE;
    }
    return run(&f, argv + optind, argc - optind);
}
