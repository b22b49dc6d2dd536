#include "tests/unit/rand_batch.h"

#include <stdlib.h>
#include <string.h>

#include "common/util.h"

uint64_t rand_next(struct rand_source *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u; // splitmix64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t rand_below(struct rand_source *r, uint32_t n)
{
    return (uint32_t)(rand_next(r) % n);
}

static struct ip_addr random_address(struct rand_source *r, uint8_t version)
{
    struct ip_addr a = {.version = version};
    for (int i = 0; i < (version == 4 ? 4 : 16); i++)
        a.b[i] = (uint8_t)rand_next(r);
    if (version == 6) { // a few networks, as sorted real sources have
        memset(a.b, 0, 6);
        a.b[0] = 0x20;
        a.b[1] = 0x01;
    }
    return a;
}

static void random_options(struct rand_source *r, struct flow *f)
{
    static const uint8_t linux_kinds[] = {2, 4, 8, 1, 3};
    f->options = (struct tcp_options){0};
    if (rand_below(r, 3) == 0)
        return;
    f->options.wscale = WSCALE_NONE;
    if (rand_below(r, 2)) {
        f->options.n = sizeof linux_kinds;
        memcpy(f->options.kinds, linux_kinds, sizeof linux_kinds);
        f->options.mss = 1460;
        f->options.wscale = 7;
    } else {
        f->options.n = (uint8_t)(1 + rand_below(r, OPT_KINDS_MAX));
        for (int i = 0; i < f->options.n; i++)
            f->options.kinds[i] = (uint8_t)rand_below(r, 9);
        f->options.mss = (uint16_t)rand_next(r);
    }
}

static void random_measures(struct rand_source *r, struct flow *f, uint32_t window_ms)
{
    f->packets = rand_below(r, 10) ? 1 : 1 + rand_below(r, 1000);
    f->bytes = (uint64_t)f->packets * f->ip_len + (f->packets > 1 ? rand_below(r, 5000) : 0);
    f->duration_ms = f->packets > 1 ? rand_below(r, window_ms) : 0;
}

static void mixed_flow(struct rand_source *r, struct flow *f, uint32_t window_ms)
{
    static const uint8_t protos[] = {6, 17, 1, 58, 47, 132};
    uint8_t version = rand_below(r, 4) ? 4 : 6;
    f->src = random_address(r, version);
    f->dst = random_address(r, version);
    if (rand_below(r, 2))
        memset(f->dst.b, 7, version == 4 ? 4 : 16);
    f->proto = protos[rand_below(r, ARRAY_SIZE(protos))];
    f->ttl = (uint8_t)rand_next(r);
    f->tcp_flags = f->proto == 6 ? (uint8_t)rand_next(r) : 0;
    f->marks = (uint8_t)rand_below(r, MARK_ALL + 1);
    f->has = (uint8_t)rand_below(r, HAS_ALL + 1);
    f->port = f->has & HAS_PORT ? (uint16_t)rand_next(r) : 0;
    f->src_port = f->has & HAS_SRC_PORT ? (uint16_t)rand_next(r) : 0;
    f->ip_id = f->has & HAS_IP_ID ? (uint16_t)rand_next(r) : 0;
    f->ip_len = rand_below(r, 20) ? 20 + rand_below(r, 1480) : rand_below(r, INT32_MAX);
    if (f->has & HAS_TCP_WINDOW) {
        f->tcp_window = rand_below(r, 2) ? 65535 : (uint16_t)rand_next(r);
        random_options(r, f);
    }
    random_measures(r, f, window_ms);
}

// One sensor's background: one address, SYNs of a few tools, some UDP.
static void background_flow(struct rand_source *r, struct flow *f, uint32_t window_ms)
{
    static const uint16_t ports[] = {23, 22, 80, 443, 6379, 445, 3389, 8080, 5555, 81};
    static const uint16_t windows[] = {1024, 65535, 64240, 29200, 14600, 5840};
    f->src = random_address(r, 4);
    f->dst = (struct ip_addr){4, {192, 0, 2, 1}};
    bool tcp = rand_below(r, 10) != 0;
    f->proto = tcp ? 6 : 17;
    f->ttl = (uint8_t)((rand_below(r, 2) ? 64 : 255) - 8 - rand_below(r, 16));
    f->tcp_flags = tcp ? 2 : 0;
    f->has = HAS_PORT | HAS_SRC_PORT | HAS_IP_ID | (tcp ? HAS_TCP_WINDOW : 0);
    f->port = rand_below(r, 3) ? ports[rand_below(r, ARRAY_SIZE(ports))] : (uint16_t)rand_next(r);
    f->src_port = (uint16_t)(1024 + rand_below(r, 60000));
    f->ip_id = rand_below(r, 3) ? (uint16_t)rand_next(r) : 54321;
    f->ip_len = tcp ? 40 : 28 + rand_below(r, 64);
    if (tcp) {
        f->tcp_window = windows[rand_below(r, ARRAY_SIZE(windows))];
        f->options.wscale = WSCALE_NONE;
        if (rand_below(r, 2)) {
            f->options = (struct tcp_options){5, {2, 4, 8, 1, 3}, 1460, 7};
            f->ip_len = 60;
        }
    }
    f->packets = rand_below(r, 12) ? 1 : 2 + rand_below(r, 2);
    f->bytes = (uint64_t)f->packets * f->ip_len;
    f->duration_ms = f->packets > 1 ? rand_below(r, window_ms / 4) : 0;
}

static int by_source(const void *a, const void *b)
{
    const struct flow *x = a, *y = b;
    if (x->src.version != y->src.version)
        return x->src.version < y->src.version ? -1 : 1;
    return memcmp(x->src.b, y->src.b, sizeof x->src.b);
}

static void random_flood(struct rand_source *r, struct flood *f, int64_t start_ms)
{
    *f = (struct flood){.ts_ms = start_ms, .proto = 6, .tcp_flags = 2};
    f->dst = random_address(r, rand_below(r, 2) ? 4 : 6);
    f->ttl_min = (uint8_t)rand_below(r, 100);
    f->ttl_max = (uint8_t)(f->ttl_min + rand_below(r, 100));
    f->has_port = rand_below(r, 2);
    f->port = f->has_port ? (uint16_t)rand_next(r) : 0;
    f->packets = 1 + rand_next(r) % 1000000000;
    f->bytes = f->packets * 40;
    f->has_sources = rand_below(r, 2);
    f->sources_estimate = f->has_sources ? rand_below(r, 5000000) : 0;
}

static void fill_window(struct rand_source *r, enum rand_shape shape, struct batch *b,
                        struct window_record *record, uint32_t flows)
{
    struct flow *first = &b->flows[b->n_flows];
    for (uint32_t i = 0; i < flows; i++) {
        struct flow *f = &b->flows[b->n_flows++];
        *f = (struct flow){0};
        if (shape == RAND_MIXED)
            mixed_flow(r, f, b->window_ms);
        else
            background_flow(r, f, b->window_ms);
        f->ts_ms = record->start_ms + rand_below(r, b->window_ms);
        record->row_packets += f->packets;
    }
    qsort(first, flows, sizeof *first, by_source);
    for (uint32_t i = 0; shape == RAND_MIXED && i < rand_below(r, 3); i++) {
        random_flood(r, &b->floods[b->n_floods], record->start_ms);
        record->flood_packets += b->floods[b->n_floods++].packets;
    }
    record->non_ip = rand_below(r, 5);
    record->malformed = rand_below(r, 2);
    record->kernel_dropped = rand_below(r, 50) ? 0 : rand_below(r, 1000);
    record->frames =
        record->row_packets + record->flood_packets + record->non_ip + record->malformed;
}

struct batch rand_batch(struct rand_source *r, enum rand_shape shape, uint32_t n_flows,
                        uint32_t n_windows)
{
    static const uint32_t lengths[] = {1000, 60000, 60000, 60000, 300000, 900000};
    struct batch b = {.window_ms = shape == RAND_MIXED ? lengths[rand_below(r, ARRAY_SIZE(lengths))]
                                                       : 60000};
    b.flows = calloc(n_flows + 1, sizeof *b.flows);
    b.floods = calloc(2 * (size_t)n_windows + 1, sizeof *b.floods);
    b.windows = calloc(2 * (size_t)n_windows + 1, sizeof *b.windows);
    int64_t at = (int64_t)(1672500000000 / b.window_ms) * b.window_ms;
    for (uint32_t w = 0; w < n_windows; w++) {
        if (shape == RAND_MIXED && rand_below(r, 3) == 0) { // a quiet run in between
            uint32_t run = 1 + rand_below(r, 1000);
            b.windows[b.n_windows++] =
                (struct window_record){.start_ms = at, .windows = run, .covered_ms = run * 1000};
            at += (int64_t)run * b.window_ms;
        }
        struct window_record *record = &b.windows[b.n_windows++];
        *record = (struct window_record){.start_ms = at, .windows = 1, .covered_ms = b.window_ms};
        uint32_t left = n_flows - b.n_flows;
        fill_window(r, shape, &b, record, w + 1 == n_windows ? left : left / (n_windows - w));
        at += b.window_ms;
    }
    return b;
}

void rand_batch_free(struct batch *b)
{
    free(b->flows);
    free(b->floods);
    free(b->windows);
    *b = (struct batch){0};
}

#define DIFFER(field)                                                                              \
    if (memcmp(&x->field, &y->field, sizeof x->field) != 0)                                        \
    return #field

static const char *flow_difference(const struct flow *x, const struct flow *y)
{
    DIFFER(src);
    DIFFER(dst);
    DIFFER(proto);
    DIFFER(ttl);
    DIFFER(tcp_flags);
    DIFFER(marks);
    DIFFER(has);
    DIFFER(port);
    DIFFER(ts_ms);
    DIFFER(duration_ms);
    DIFFER(packets);
    DIFFER(bytes);
    DIFFER(src_port);
    DIFFER(tcp_window);
    DIFFER(ip_id);
    DIFFER(ip_len);
    DIFFER(options.n);
    DIFFER(options.kinds);
    DIFFER(options.mss);
    DIFFER(options.wscale);
    return NULL;
}

static const char *flood_difference(const struct flood *x, const struct flood *y)
{
    DIFFER(dst);
    DIFFER(proto);
    DIFFER(tcp_flags);
    DIFFER(ttl_min);
    DIFFER(ttl_max);
    DIFFER(has_port);
    DIFFER(has_sources);
    DIFFER(port);
    DIFFER(ts_ms);
    DIFFER(packets);
    DIFFER(bytes);
    DIFFER(sources_estimate);
    return NULL;
}

static const char *record_difference(const struct window_record *x, const struct window_record *y)
{
    DIFFER(start_ms);
    DIFFER(windows);
    DIFFER(covered_ms);
    DIFFER(frames);
    DIFFER(non_ip);
    DIFFER(malformed);
    DIFFER(row_packets);
    DIFFER(flood_packets);
    DIFFER(kernel_dropped);
    DIFFER(interface_dropped);
    return NULL;
}

const char *batch_difference(const struct batch *a, const struct batch *b)
{
    if (a->window_ms != b->window_ms || a->n_flows != b->n_flows || a->n_floods != b->n_floods ||
        a->n_windows != b->n_windows)
        return "counts";
    const char *field = NULL;
    for (uint32_t i = 0; !field && i < a->n_flows; i++)
        field = flow_difference(&a->flows[i], &b->flows[i]);
    for (uint32_t i = 0; !field && i < a->n_floods; i++)
        field = flood_difference(&a->floods[i], &b->floods[i]);
    for (uint32_t i = 0; !field && i < a->n_windows; i++)
        field = record_difference(&a->windows[i], &b->windows[i]);
    return field;
}
