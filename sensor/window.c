// Windows follow packet time; in live mode also the wall clock, so that silence is seen.
#include <string.h>

#include "sensor/batch_internal.h"

#define NO_WINDOW (INT64_MIN / 4) // no packet time is within a window of it

// A step of the wall clock against the monotonic one that is more than a correction.
#define CLOCK_STEP_MS 1000
// How far packet time may run ahead of the latest tick and still be taken for observed time.
#define AHEAD_MS 5000

static bool config_ok(const struct batcher_config *c)
{
    return c->window_ms >= WINDOW_MS_MIN && c->window_ms <= WINDOW_MS_MAX &&
           WINDOW_MS_MAX % c->window_ms == 0 && c->table_size >= TABLE_SIZE_MIN &&
           c->table_size <= TABLE_SIZE_MAX && c->max_delay_ms >= MAX_DELAY_MS_MIN &&
           c->max_delay_ms <= MAX_DELAY_MS_MAX;
}

int batcher_new(const struct batcher_config *config, batcher_sealed_fn sealed, void *ctx,
                struct batcher **ret)
{
    static const enum flow_order orders[] = {
        [BATCHER_BY_SOURCE] = FLOW_ORDER_SOURCE,
        [BATCHER_BY_TIME] = FLOW_ORDER_TIME,
        [BATCHER_COUNT_ONLY] = FLOW_ORDER_NONE,
    };
    if (!config_ok(config))
        return -EINVAL;
    _cleanup_(batcher_freep) struct batcher *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->config = *config;
    b->order = orders[config->order];
    b->sealed = sealed;
    b->ctx = ctx;
    b->window.start_ms = NO_WINDOW;
    int r = flow_table_new(config->table_size, config->sources, &b->table);
    if (r == 0)
        r = batch_builder_new(&b->builder, config->window_ms);
    if (r < 0)
        return r;
    *ret = b;
    b = NULL;
    return 0;
}

void batcher_free(struct batcher *b)
{
    if (!b)
        return;
    flow_table_free(b->table);
    batch_builder_free(&b->builder);
    free(b);
}

static bool is_open(const struct batcher *b)
{
    return b->window.start_ms != NO_WINDOW;
}

static struct span window_span(const struct batcher *b)
{
    return (struct span){b->window.start_ms, b->window.start_ms + b->config.window_ms};
}

static int64_t window_start(const struct batcher *b, int64_t ts_ms)
{
    int64_t into = ts_ms % b->config.window_ms;
    return ts_ms - (into < 0 ? into + b->config.window_ms : into);
}

// Live: how much of a span was observed and is in no record yet. Spans are of CLOCK_LEAP_MS at
// most.
static uint32_t live_overlap(const struct batcher *b, struct span s)
{
    int64_t lo = MAX(b->live.lo, s.lo), hi = MIN(b->live.hi, s.hi);
    return hi > lo ? (uint32_t)(hi - lo) : 0;
}

// Books what was observed of the open window. One record of it cannot cover more than the window,
// though a clock that is set back lets its minutes pass twice.
static void live_cover(struct batcher *b)
{
    uint32_t covered = b->window.covered_ms + live_overlap(b, window_span(b));
    b->window.covered_ms = MIN(covered, b->config.window_ms);
}

static int window_close(struct batcher *b)
{
    if (!is_open(b))
        return 0;
    struct span span = window_span(b);
    if (b->config.mode == BATCHER_LIVE) {
        live_cover(b);
        if (b->live.lo < span.hi && b->live.hi > span.lo) // a window to come takes nothing
            b->live.lo = MIN(span.hi, MAX(b->live.lo, b->live.hi));
    }
    struct flow_table_totals totals;
    flow_table_settle(b->table);
    flow_table_totals(b->table, &totals);
    const struct window_record *w = &b->window;
    // a flood leaves flows too
    bool frames = w->non_ip || w->malformed || totals.row_packets;
    int r = 0;
    if (frames || w->kernel_dropped || w->interface_dropped)
        r = batch_add_window(b);
    else if (w->covered_ms)
        r = batch_add_empty(b, span, w->covered_ms);
    b->window = (struct window_record){.start_ms = NO_WINDOW};
    return r;
}

static int cover_replay(struct batcher *b, struct span window)
{
    struct coverage_added added;
    coverage_add(&b->coverage, window, CLOCK_LEAP_MS, &added);
    b->report.clock_leaps += added.leap;
    if (added.window)
        b->window.covered_ms = b->config.window_ms;
    int r = 0;
    for (uint32_t i = 0; i < added.n_gaps && r == 0; i++) {
        struct span gap = added.gaps[i];
        r = batch_add_empty(b, gap, (uint64_t)(gap.hi - gap.lo));
    }
    return r;
}

// Live: the windows that passed without a packet since the last one closed.
static int cover_live(struct batcher *b, struct span window)
{
    struct span gap = {window_start(b, b->live.lo), window.lo};
    if (gap.lo >= gap.hi || gap.hi - gap.lo > CLOCK_LEAP_MS)
        return 0;
    uint32_t covered = live_overlap(b, gap);
    b->live.lo = MAX(b->live.lo, MIN(gap.hi, b->live.hi));
    return covered ? batch_add_empty(b, gap, covered) : 0;
}

static int window_open(struct batcher *b, int64_t start_ms)
{
    b->window = (struct window_record){.start_ms = start_ms, .windows = 1};
    struct span window = window_span(b);
    return b->config.mode == BATCHER_REPLAY ? cover_replay(b, window) : cover_live(b, window);
}

// A packet outside of the open window: within LATE_MS before it, it counts in it; else the window
// closes and the packet's opens, earlier or later.
static int window_move(struct batcher *b, int64_t ts_ms)
{
    int64_t start = b->window.start_ms;
    if (is_open(b)) {
        if (ts_ms < start && start - ts_ms <= LATE_MS) {
            b->report.late_frames++;
            return 0;
        }
        b->report.windows_reopened += ts_ms < start;
        // its own clock says that the window is over
        int64_t ahead = ts_ms - b->live.hi;
        if (b->config.mode == BATCHER_LIVE && ahead > 0 && ahead <= AHEAD_MS)
            b->live.hi = ts_ms;
    }
    int r = window_close(b);
    return r != 0 ? r : window_open(b, window_start(b, ts_ms));
}

int batcher_packet(struct batcher *b, const struct frame *frame, enum decode_result decoded,
                   const struct packet *packet)
{
    uint64_t offset = (uint64_t)(frame->ts_ms - b->window.start_ms);
    if (offset >= b->config.window_ms) {
        int r = window_move(b, frame->ts_ms);
        if (r != 0)
            return r;
        offset = (uint64_t)MAX(frame->ts_ms - b->window.start_ms, 0);
    }
    b->report.times_clamped += frame->time_clamped;
    if (decoded == DECODE_IP)
        flow_table_add(b->table, packet, (uint32_t)offset);
    else if (decoded == DECODE_NON_IP)
        b->window.non_ip++;
    else
        b->window.malformed++;
    return 0;
}

int batcher_frame(struct batcher *b, const struct decode_link *link, const struct frame *frame)
{
    struct packet packet;
    enum decode_result decoded = decode_frame(link, frame, &packet);
    return batcher_packet(b, frame, decoded, &packet);
}

void batcher_drops(struct batcher *b, uint64_t kernel, uint64_t interface)
{
    b->window.kernel_dropped += kernel;
    b->window.interface_dropped += interface;
}

int batcher_begin(struct batcher *b, int64_t wall_ms, int64_t mono_ms)
{
    b->wall_ms = wall_ms;
    b->mono_ms = mono_ms;
    if (b->config.mode == BATCHER_REPLAY) {
        coverage_begin(&b->coverage);
        return 0;
    }
    b->live = (struct span){wall_ms, wall_ms};
    return window_open(b, window_start(b, wall_ms));
}

// Moves the observed time on. When the wall clock was set, what came before the step is booked and
// observation starts anew.
static void live_advance(struct batcher *b, int64_t wall_ms, int64_t mono_ms)
{
    int64_t step = (wall_ms - b->wall_ms) - (mono_ms - b->mono_ms);
    if (step > CLOCK_STEP_MS || step < -CLOCK_STEP_MS) {
        live_cover(b);
        b->live = (struct span){wall_ms, wall_ms};
        b->report.clock_leaps += step > CLOCK_LEAP_MS || step < -CLOCK_LEAP_MS;
    }
    b->live.hi = MAX(b->live.hi, wall_ms);
}

static int live_tick(struct batcher *b, int64_t wall_ms, int64_t mono_ms)
{
    live_advance(b, wall_ms, mono_ms);
    struct span window = window_span(b);
    if (wall_ms >= window.lo - LATE_MS && wall_ms < window.hi + LATE_MS)
        return 0;
    int r = window_close(b);
    return r != 0 ? r : window_open(b, window_start(b, wall_ms));
}

int batcher_tick(struct batcher *b, int64_t wall_ms, int64_t mono_ms)
{
    int r = 0;
    if (b->config.mode == BATCHER_LIVE && is_open(b))
        r = live_tick(b, wall_ms, mono_ms);
    b->wall_ms = wall_ms;
    b->mono_ms = mono_ms;
    if (r == 0 && b->builder.batch.n_windows &&
        mono_ms - b->builder.since_ms >= (int64_t)b->config.max_delay_ms)
        r = batch_seal(b);
    return r;
}

int batcher_end(struct batcher *b, int64_t wall_ms, int64_t mono_ms)
{
    int r = batcher_tick(b, wall_ms, mono_ms);
    return r != 0 ? r : window_close(b);
}

int batcher_flush(struct batcher *b)
{
    int r = window_close(b);
    return r != 0 ? r : batch_seal(b);
}

const struct counters *batcher_counters(const struct batcher *b)
{
    return &b->counters;
}

const struct batcher_report *batcher_report(const struct batcher *b)
{
    return &b->report;
}
