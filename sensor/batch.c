// Windows become batches here; window.c decides when they do.
#include "sensor/batch_internal.h"

#include <string.h>
#include <sys/mman.h>

// What one of them takes of a batch's BATCH_RAW_MAX, uncompressed, estimated from above.
#define FLOW_RAW_IPV4 30
#define FLOW_RAW_IPV6 56
#define FLOOD_RAW     48
#define WINDOW_RAW    40

// So records need no limit of their own.
_Static_assert(BATCH_WINDOWS_MAX *WINDOW_RAW >= BATCH_RAW_MAX, "bytes run out before records");

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int batch_builder_new(struct batch_builder *builder, uint32_t window_ms)
{
    builder->batch = (struct batch){
        .window_ms = window_ms,
        .flows = reserve(BATCH_FLOWS_MAX * sizeof(struct flow)),
        .floods = reserve(BATCH_FLOODS_MAX * sizeof(struct flood)),
        .windows = reserve(BATCH_WINDOWS_MAX * sizeof(struct window_record)),
    };
    const struct batch *batch = &builder->batch;
    return batch->flows && batch->floods && batch->windows ? 0 : -ENOMEM;
}

void batch_builder_free(struct batch_builder *builder)
{
    struct batch *batch = &builder->batch;
    if (batch->flows)
        munmap(batch->flows, BATCH_FLOWS_MAX * sizeof(struct flow));
    if (batch->floods)
        munmap(batch->floods, BATCH_FLOODS_MAX * sizeof(struct flood));
    if (batch->windows)
        munmap(batch->windows, BATCH_WINDOWS_MAX * sizeof(struct window_record));
}

int batch_seal(struct batcher *b)
{
    struct batch_builder *builder = &b->builder;
    struct batch *batch = &builder->batch;
    if (batch->n_windows == 0)
        return 0;
    int r = b->sealed(b->ctx, batch, &b->counters);
    batch->split = false;
    batch->n_flows = batch->n_floods = batch->n_windows = 0;
    builder->raw = 0;
    return r;
}

static void counters_add(struct counters *c, const struct window_record *w)
{
    c->frames += w->frames;
    c->non_ip += w->non_ip;
    c->malformed += w->malformed;
    c->row_packets += w->row_packets;
    c->flood_packets += w->flood_packets;
    c->kernel_dropped += w->kernel_dropped;
    c->interface_dropped += w->interface_dropped;
}

// Where the batch's last record ends; it has one.
static int64_t records_end(const struct batch *batch)
{
    const struct window_record *last = &batch->windows[batch->n_windows - 1];
    return last->start_ms + (int64_t)last->windows * batch->window_ms;
}

// Seals first when there is no room for another record with that many flood rows, when time went
// backwards (records ascend within a batch), or when a sparse capture would make the batch span
// more days than a collector wants to make partitions for at once.
static int make_room(struct batcher *b, int64_t start_ms, uint32_t floods)
{
    const struct batch *batch = &b->builder.batch;
    if (batch->n_windows == 0)
        return 0;
    bool full = start_ms < records_end(batch) ||
                start_ms - batch->windows[0].start_ms > BATCH_SPAN_MAX_MS ||
                batch->n_floods + floods > BATCH_FLOODS_MAX ||
                b->builder.raw + WINDOW_RAW + floods * FLOOD_RAW > BATCH_RAW_MAX;
    return full ? batch_seal(b) : 0;
}

static void record_append(struct batcher *b, const struct window_record *record)
{
    struct batch *batch = &b->builder.batch;
    if (batch->n_windows == 0)
        b->builder.since_ms = b->mono_ms;
    batch->windows[batch->n_windows++] = *record;
    b->builder.raw += WINDOW_RAW;
    counters_add(&b->counters, record);
}

static bool is_empty(const struct window_record *w)
{
    return w->frames == 0 && w->kernel_dropped == 0 && w->interface_dropped == 0;
}

int batch_add_empty(struct batcher *b, struct span span, uint64_t covered_ms)
{
    struct batch *batch = &b->builder.batch;
    uint32_t window_ms = b->config.window_ms;
    struct window_record run = {
        .start_ms = span.lo,
        .windows = (uint32_t)((span.hi - span.lo) / window_ms),
        .covered_ms = (uint32_t)covered_ms,
    };
    if (batch->n_windows && records_end(batch) == span.lo) {
        struct window_record *last = &batch->windows[batch->n_windows - 1];
        if (is_empty(last) && last->covered_ms <= UINT32_MAX - run.covered_ms) {
            last->windows += run.windows;
            last->covered_ms += run.covered_ms;
            return 0;
        }
    }
    int r = make_room(b, run.start_ms, 0);
    if (r == 0)
        record_append(b, &run);
    return r;
}

// Moves flows from the table into the batch until one of them is full; how many.
static uint32_t take_flows(struct batcher *b, uint32_t from, uint32_t n, uint64_t *ret_packets)
{
    struct batch *batch = &b->builder.batch;
    uint32_t taken = 0;
    uint64_t packets = 0;
    while (from + taken < n && batch->n_flows < BATCH_FLOWS_MAX) {
        struct flow *flow = &batch->flows[batch->n_flows];
        flow_table_flow(b->table, from + taken, b->window.start_ms, flow);
        size_t raw = flow->src.version == 4 ? FLOW_RAW_IPV4 : FLOW_RAW_IPV6;
        if (b->builder.raw + raw > BATCH_RAW_MAX - WINDOW_RAW)
            break;
        b->builder.raw += raw;
        packets += flow->packets;
        batch->n_flows++;
        taken++;
    }
    *ret_packets = packets;
    return taken;
}

// The window's flood rows, its counts and as many flows as fit go into this batch; the rest of the
// flows into further ones, each with a record of just those.
int batch_add_window(struct batcher *b)
{
    struct flow_table_totals totals;
    flow_table_totals(b->table, &totals);
    bool rows = b->config.order != BATCHER_COUNT_ONLY;
    if (rows)
        flow_table_sort(b->table, b->order);
    int r = make_room(b, b->window.start_ms, totals.flood_packets ? FLOOD_ROWS_MAX : 0);
    struct batch *batch = &b->builder.batch;
    struct window_record share = b->window;
    if (totals.flood_packets) {
        uint32_t n = flow_table_floods(b->table, share.start_ms, batch->floods + batch->n_floods);
        batch->n_floods += n;
        b->builder.raw += n * FLOOD_RAW;
        b->report.flood_windows++;
    }
    share.flood_packets = totals.flood_packets;
    share.frames = share.non_ip + share.malformed + share.flood_packets;
    for (uint32_t done = 0; r == 0;) {
        if (rows) {
            done += take_flows(b, done, totals.flows, &share.row_packets);
        } else {
            done = totals.flows;
            share.row_packets = totals.row_packets;
        }
        share.frames += share.row_packets;
        record_append(b, &share);
        if (done == totals.flows)
            break;
        share = (struct window_record){.start_ms = share.start_ms, .windows = 1};
        batch->split = true;
        r = batch_seal(b);
    }
    b->report.flows += totals.flows;
    b->report.table_rebuilds += totals.rebuilds;
    flow_table_clear(b->table);
    return r;
}
