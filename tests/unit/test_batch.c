// Windows, time and batches: frames in, sealed batches out. Every batch here must also be one the
// wire accepts, and records must add up whatever time does.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire.h"
#include "sensor/batch_internal.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/rand_batch.h"

#define T0         1675814400000 // 2023-02-08T00:00:00Z
#define MINUTE     60000
#define RECORDS    20000
#define DAY        86400000LL
#define NO_BATCHES UINT32_MAX

struct bench {
    struct batcher *batcher;
    struct wire_encoder *encoder;
    struct wire_decoder *decoder;
    uint32_t batches;
    uint32_t flows;   // rows
    uint32_t fail_at; // the batch at which the callback fails
    struct window_record sum;
    uint32_t n_records;
    struct window_record records[RECORDS];
    struct batch_size {
        uint32_t flows, floods, windows;
    } sizes[RECORDS];
    bool split[RECORDS];
};

static int on_sealed(void *ctx, const struct batch *batch, const struct counters *counters)
{
    struct bench *b = ctx;
    const uint8_t *payload;
    size_t size;
    struct batch back;
    struct errmsg e = {""};
    if (b->batches == b->fail_at)
        return -ENOSPC;
    assert_int_equal(wire_batch_encode(b->encoder, batch, &payload, &size), 0);
    if (wire_batch_decode(b->decoder, payload, size, &back, &e) != 0)
        fail_msg("the wire refuses it: %s", e.text);
    assert_null(batch_difference(batch, &back));
    b->sizes[b->batches] = (struct batch_size){batch->n_flows, batch->n_floods, batch->n_windows};
    b->split[b->batches] = batch->split;
    b->batches++;
    b->flows += batch->n_flows;
    for (uint32_t i = 0; i < batch->n_windows; i++) {
        const struct window_record *w = &batch->windows[i];
        b->records[b->n_records++] = *w;
        b->sum.covered_ms += w->covered_ms;
        b->sum.frames += w->frames;
        b->sum.non_ip += w->non_ip;
        b->sum.malformed += w->malformed;
        b->sum.row_packets += w->row_packets;
        b->sum.flood_packets += w->flood_packets;
        b->sum.kernel_dropped += w->kernel_dropped;
        b->sum.interface_dropped += w->interface_dropped;
    }
    // the counters are the sum of all records handed out
    const struct counters sum = {
        b->sum.frames,        b->sum.non_ip,         b->sum.malformed,        b->sum.row_packets,
        b->sum.flood_packets, b->sum.kernel_dropped, b->sum.interface_dropped};
    assert_memory_equal(counters, &sum, sizeof sum);
    assert_int_equal(sum.frames, sum.non_ip + sum.malformed + sum.row_packets + sum.flood_packets);
    return 0;
}

static struct bench *bench_new(enum batcher_mode mode, uint32_t table_size)
{
    struct bench *b = calloc(1, sizeof *b);
    const struct batcher_config config = {
        .window_ms = MINUTE,
        .table_size = table_size,
        .max_delay_ms = 60000,
        .mode = mode,
        .order = BATCHER_BY_SOURCE,
    };
    assert_non_null(b);
    b->fail_at = NO_BATCHES;
    assert_int_equal(wire_encoder_new(&b->encoder), 0);
    assert_int_equal(wire_decoder_new(&b->decoder), 0);
    assert_int_equal(batcher_new(&config, on_sealed, b, &b->batcher), 0);
    return b;
}

static void bench_free(struct bench *b)
{
    batcher_free(b->batcher);
    wire_encoder_free(b->encoder);
    wire_decoder_free(b->decoder);
    free(b);
}

// A TCP SYN from a source of that number, raw IP.
static int frame_at(struct bench *b, int64_t ts_ms, uint32_t source)
{
    uint8_t data[40] = {0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6};
    data[12] = (uint8_t)(source >> 24);
    data[13] = (uint8_t)(source >> 16);
    data[14] = (uint8_t)(source >> 8);
    data[15] = (uint8_t)source;
    data[16] = 198;
    data[19] = 9;
    data[23] = 23;
    data[32] = 0x50;
    data[33] = 2;
    const struct frame frame = {
        .ts_ms = ts_ms, .caplen = sizeof data, .wirelen = sizeof data, .data = data};
    return batcher_frame(b->batcher, decode_link_find(101), &frame);
}

static void junk_at(struct bench *b, int64_t ts_ms)
{
    const struct frame frame = {.ts_ms = ts_ms, .data = (const uint8_t *)""};
    assert_int_equal(batcher_frame(b->batcher, decode_link_find(1), &frame), 0);
}

static void replay(struct bench *b, const int64_t *offsets, size_t n)
{
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(frame_at(b, T0 + offsets[i], (uint32_t)i), 0);
    assert_int_equal(batcher_end(b->batcher, 0, 0), 0);
}

static void check_record(const struct bench *b, uint32_t i, int64_t offset, uint32_t windows,
                         uint32_t covered_ms, uint64_t frames)
{
    assert_true(i < b->n_records);
    const struct window_record *w = &b->records[i];
    assert_int_equal(w->start_ms - T0, offset);
    assert_int_equal(w->windows, windows);
    assert_int_equal(w->covered_ms, covered_ms);
    assert_int_equal(w->frames, frames);
}

static void test_windows_without_packets_are_one_record(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    replay(b, (int64_t[]){59999, 60000, 10 * MINUTE}, 3);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->batches, 1);
    assert_int_equal(b->n_records, 4);
    check_record(b, 0, 0, 1, MINUTE, 1);
    check_record(b, 1, MINUTE, 1, MINUTE, 1);
    check_record(b, 2, 2 * MINUTE, 8, 8 * MINUTE, 0);
    check_record(b, 3, 10 * MINUTE, 1, MINUTE, 1);
    bench_free(b);
}

static void test_between_files_nothing_is_observed(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    replay(b, (int64_t[]){0, 3 * MINUTE}, 2);
    replay(b, (int64_t[]){20 * MINUTE, 21 * MINUTE}, 2);
    // overlaps both: only what is new is covered
    replay(b, (int64_t[]){2 * MINUTE, 22 * MINUTE}, 2);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->sum.covered_ms, 23 * MINUTE);
    assert_int_equal(b->sum.frames, 6);
    bench_free(b);
}

static void test_no_window_is_covered_twice(void **state)
{
    (void)state;
    struct rand_source r = {99};
    for (int round = 0; round < 30; round++) {
        struct bench *b = bench_new(BATCHER_REPLAY, 1024);
        bool covered[400] = {false};
        for (int file = 0; file < 8; file++) {
            int64_t offsets[12];
            int64_t least = 400, most = -1;
            for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
                uint32_t window = rand_below(&r, 400);
                offsets[i] = (int64_t)window * MINUTE + 1001 + rand_below(&r, 58000);
                least = MIN(least, window);
                most = MAX(most, window);
            }
            replay(b, offsets, ARRAY_SIZE(offsets));
            for (int64_t w = least; w <= most; w++)
                covered[w] = true;
        }
        assert_int_equal(batcher_flush(b->batcher), 0);
        uint32_t windows = 0;
        for (size_t i = 0; i < ARRAY_SIZE(covered); i++)
            windows += covered[i];
        assert_int_equal(b->sum.covered_ms, windows * MINUTE);
        assert_int_equal(b->sum.frames, 8 * 12);
        bench_free(b);
    }
}

static void test_late_and_backward(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    replay(b, (int64_t[]){MINUTE, MINUTE - 1000, MINUTE - 1001, MINUTE - 1, MINUTE + 5}, 5);
    assert_int_equal(batcher_flush(b->batcher), 0);
    // (1) 60.000 and, clamped, 59.000; (0) 58.999 and 59.999; (1) again 60.005
    assert_int_equal(b->batches, 2); // records ascend within a batch
    assert_int_equal(b->n_records, 3);
    check_record(b, 0, MINUTE, 1, MINUTE, 2);
    check_record(b, 1, 0, 1, MINUTE, 2);
    check_record(b, 2, MINUTE, 1, 0, 1);
    const struct batcher_report *report = batcher_report(b->batcher);
    assert_int_equal(report->late_frames, 1);
    assert_int_equal(report->windows_reopened, 1);
    assert_int_equal(report->clock_leaps, 0);
    bench_free(b);
}

static void test_leaps_are_not_observed_time(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    replay(b,
           (int64_t[]){0, 31 * DAY, 63 * DAY, -T0, 64 * DAY, FRAME_TS_MAX - T0, FRAME_TS_MIN - T0},
           7);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(batcher_report(b->batcher)->clock_leaps, 5);
    assert_int_equal(b->sum.frames, 7);
    // 31 days and a window in one piece, then five windows, and the day from 63 to 64 is not among
    // them: its file had leapt in between
    assert_int_equal(b->sum.covered_ms, (uint32_t)(31 * DAY + 6 * MINUTE));
    bench_free(b);
}

// A sparse capture does not make one batch of years: the collector makes a partition for each day.
static void test_a_batch_spans_a_month_at_most(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    for (int day = 0; day < 365; day++)
        assert_int_equal(frame_at(b, T0 + day * DAY, 1), 0);
    assert_int_equal(batcher_end(b->batcher, 0, 0), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->sum.frames, 365);
    assert_int_equal(b->batches, 12);
    for (uint32_t i = 0; i < b->batches; i++)
        assert_true(b->sizes[i].flows <= 33);
    bench_free(b);
}

static void test_bounded_under_random_times(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    struct rand_source r = {5};
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    for (int i = 0; i < 5000; i++) {
        int64_t span = FRAME_TS_MAX - FRAME_TS_MIN;
        int64_t ts_ms = FRAME_TS_MIN + (int64_t)(rand_next(&r) % (uint64_t)span);
        assert_int_equal(frame_at(b, ts_ms, 1), 0);
    }
    assert_int_equal(batcher_end(b->batcher, 0, 0), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->sum.frames, 5000);
    assert_true(b->n_records < 5100);
    bench_free(b);
}

static void test_a_full_window_is_sliced(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 65536);
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    for (uint32_t i = 0; i < 20000; i++)
        assert_int_equal(frame_at(b, T0 + i, 20000 - i), 0);
    junk_at(b, T0 + 30000);
    junk_at(b, T0 + 90000);
    assert_int_equal(batcher_end(b->batcher, 0, 0), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->batches, 3);
    assert_int_equal(b->sizes[0].flows, BATCH_FLOWS_MAX);
    assert_int_equal(b->sizes[1].flows, BATCH_FLOWS_MAX);
    assert_true(b->split[0] && b->split[1] && !b->split[2]);
    assert_int_equal(b->flows, 20000);
    // what is not of a row stands in the window's first record only
    check_record(b, 0, 0, 1, MINUTE, BATCH_FLOWS_MAX + 1);
    check_record(b, 1, 0, 1, 0, BATCH_FLOWS_MAX);
    check_record(b, 2, 0, 1, 0, 20000 - 2 * BATCH_FLOWS_MAX);
    check_record(b, 3, MINUTE, 1, MINUTE, 1);
    assert_int_equal(b->records[0].malformed, 1);
    assert_int_equal(b->records[1].malformed, 0);
    bench_free(b);
}

static void test_flood_goes_with_the_first_slice(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 65536);
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(frame_at(b, T0 + i / 2, i), 0);
    assert_int_equal(batcher_end(b->batcher, 0, 0), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->sum.row_packets, 32768);
    assert_int_equal(b->sum.flood_packets, 100000 - 32768);
    assert_int_equal(b->sizes[0].floods, 1);
    assert_int_equal(b->batches, 4);
    assert_int_equal(batcher_report(b->batcher)->flood_windows, 1);
    assert_int_equal(batcher_report(b->batcher)->flows, 32768);
    bench_free(b);
}

static void test_max_delay_is_wall_time(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    assert_int_equal(batcher_begin(b->batcher, 0, 1000), 0);
    // packet time runs through ten windows while the clock stands still
    for (int i = 0; i < 10; i++)
        assert_int_equal(frame_at(b, T0 + i * MINUTE, 1), 0);
    assert_int_equal(batcher_tick(b->batcher, 0, 60999), 0);
    assert_int_equal(b->batches, 0);
    assert_int_equal(batcher_tick(b->batcher, 0, 61000), 0);
    assert_int_equal(b->batches, 1);
    assert_int_equal(b->sizes[0].windows, 9); // the tenth is open
    // an empty batch does not age
    assert_int_equal(batcher_tick(b->batcher, 0, 500000), 0);
    assert_int_equal(b->batches, 1);
    bench_free(b);
}

static void test_callback_failure_is_forwarded(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    b->fail_at = 0;
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    assert_int_equal(frame_at(b, T0 + MINUTE, 1), 0);
    assert_int_equal(frame_at(b, T0, 1), 0);
    assert_int_equal(frame_at(b, T0 - 10 * MINUTE, 1), -ENOSPC); // a step back seals
    bench_free(b);
}

// Live.

static void tick_to(struct bench *b, int64_t from, int64_t to)
{
    for (int64_t at = from; at <= to; at += 250)
        assert_int_equal(batcher_tick(b->batcher, T0 + at, at), 0);
}

static void test_live_covers_from_start_to_stop(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0 + 20000, 20000), 0);
    tick_to(b, 20000, 30000);
    assert_int_equal(frame_at(b, T0 + 30100, 1), 0);
    tick_to(b, 30250, 5 * MINUTE);
    assert_int_equal(frame_at(b, T0 + 5 * MINUTE + 10, 1), 0);
    tick_to(b, 5 * MINUTE + 250, 5 * MINUTE + 15000);
    assert_int_equal(batcher_end(b->batcher, T0 + 5 * MINUTE + 15100, 5 * MINUTE + 15100), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->sum.covered_ms, 5 * MINUTE + 15100 - 20000);
    assert_int_equal(b->sum.frames, 2);
    check_record(b, 0, 0, 1, 40000, 1);
    bench_free(b);
}

static void test_live_silence_is_seen(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    tick_to(b, 0, 10 * MINUTE + 2000);
    // sealed once a minute or two, without a packet
    assert_true(b->batches >= 4);
    assert_int_equal(b->sum.frames, 0);
    assert_int_equal(b->sum.covered_ms % MINUTE, 0);
    assert_true(b->sum.covered_ms >= 8 * MINUTE);
    bench_free(b);
}

// The process stood still for minutes: the kernel went on capturing, the time was observed.
static void test_live_after_a_pause(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    assert_int_equal(frame_at(b, T0 + 10, 1), 0);
    assert_int_equal(batcher_tick(b->batcher, T0 + 7 * MINUTE + 500, 7 * MINUTE + 500), 0);
    assert_int_equal(frame_at(b, T0 + 7 * MINUTE + 600, 1), 0);
    assert_int_equal(batcher_end(b->batcher, T0 + 7 * MINUTE + 700, 7 * MINUTE + 700), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->n_records, 3);
    check_record(b, 0, 0, 1, MINUTE, 1);
    check_record(b, 1, MINUTE, 6, 6 * MINUTE, 0);
    check_record(b, 2, 7 * MINUTE, 1, 700, 1);
    bench_free(b);
}

static void test_live_clock_that_is_set(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    tick_to(b, 0, 30000);
    // an hour forward: that hour was not observed
    for (int64_t at = 30250; at <= 40000; at += 250)
        assert_int_equal(batcher_tick(b->batcher, T0 + 60 * MINUTE + at, at), 0);
    // ten minutes back
    for (int64_t at = 40250; at <= 50000; at += 250)
        assert_int_equal(batcher_tick(b->batcher, T0 + 50 * MINUTE + at, at), 0);
    assert_int_equal(batcher_end(b->batcher, T0 + 50 * MINUTE + 50000, 50000), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    // half a second is lost: the ticks at which the steps were found
    assert_int_equal(b->sum.covered_ms, 50000 - 2 * 250);
    bench_free(b);
}

// 40 s back within one window: its minute passes almost twice, in one record, which the collector
// takes only as long as it covers no more than the window.
static void test_live_clock_that_is_set_back_within_a_window(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    tick_to(b, 0, 50000);
    assert_int_equal(frame_at(b, T0 + 50000, 1), 0);
    for (int64_t at = 50250; at <= 102000; at += 250)
        assert_int_equal(batcher_tick(b->batcher, T0 - 40000 + at, at), 0);
    assert_int_equal(batcher_end(b->batcher, T0 + 62000, 102000), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->n_records, 2);
    check_record(b, 0, 0, 1, MINUTE, 1);
    check_record(b, 1, MINUTE, 1, 2000, 0);
    bench_free(b);
}

static void test_live_drops_count_in_the_open_window(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    batcher_drops(b->batcher, 7, 0);
    tick_to(b, 0, MINUTE + 2000);
    batcher_drops(b->batcher, 0, 3);
    assert_int_equal(batcher_end(b->batcher, T0 + MINUTE + 2000, MINUTE + 2000), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->n_records, 2);
    assert_int_equal(b->records[0].kernel_dropped, 7);
    assert_int_equal(b->records[1].interface_dropped, 3);
    bench_free(b);
}

static void test_live_late_packets(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    tick_to(b, 0, MINUTE + 750);
    assert_int_equal(frame_at(b, T0 + MINUTE - 1, 1), 0); // its window is still open
    tick_to(b, MINUTE + 1000, MINUTE + 1500);
    assert_int_equal(frame_at(b, T0 + MINUTE - 900, 1), 0); // now it is clamped
    assert_int_equal(batcher_end(b->batcher, T0 + MINUTE + 1500, MINUTE + 1500), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    check_record(b, 0, 0, 1, MINUTE, 1);
    check_record(b, 1, MINUTE, 1, 1500, 1);
    bench_free(b);
}

static void test_config_ranges(void **state)
{
    (void)state;
    const struct batcher_config good = {
        .window_ms = MINUTE, .table_size = 1024, .max_delay_ms = 1000};
    struct batcher *batcher = NULL;
    struct batcher_config bad[6];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        bad[i] = good;
    bad[0].window_ms = 0;
    bad[1].window_ms = 7 * 1000; // no divisor of 900 s
    bad[2].window_ms = 1800000;
    bad[3].table_size = 1023;
    bad[4].table_size = TABLE_SIZE_MAX + 1;
    bad[5].max_delay_ms = 0;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(batcher_new(&bad[i], on_sealed, NULL, &batcher), -EINVAL);
    assert_null(batcher);
    assert_int_equal(batcher_new(&good, on_sealed, NULL, &batcher), 0);
    batcher_free(batcher);
    batcher_free(NULL);
}

// Edges.

static int batcher_once(void *ctx)
{
    _cleanup_(batcher_freep) struct batcher *batcher = NULL;
    return batcher_new(ctx, on_sealed, NULL, &batcher);
}

static void test_without_memory(void **state)
{
    (void)state;
    struct batcher_config config = {
        .window_ms = MINUTE, .table_size = 1024, .max_delay_ms = MAX_DELAY_MS_MAX};
    assert_true(fail_alloc_each(batcher_once, &config) >= 8);
    config.max_delay_ms++;
    assert_int_equal(batcher_once(&config), -EINVAL);
}

static int on_sealed_count(void *ctx, const struct batch *batch, const struct counters *counters)
{
    (void)counters;
    struct batch *sum = ctx;
    assert_true(batch->n_floods <= BATCH_FLOODS_MAX && batch->n_flows == 0);
    sum->n_floods += batch->n_floods;
    sum->n_windows++;
    return 0;
}

// Counting alone, batches hold no flows, but the flood rows of sixteen windows at most.
static void test_flood_rows_seal_a_batch(void **state)
{
    (void)state;
    _cleanup_(batcher_freep) struct batcher *batcher = NULL;
    struct batch sum = {0};
    const struct batcher_config config = {.window_ms = MINUTE,
                                          .table_size = 1024,
                                          .max_delay_ms = 60000,
                                          .order = BATCHER_COUNT_ONLY};
    // Keys that came before are known by a hash of 32 bits: by chance two of 4,000 share one in a
    // window of 500 or so, and one flow more is let in.
    fail_alloc_same_random(true);
    assert_int_equal(batcher_new(&config, on_sealed_count, &sum, &batcher), 0);
    fail_alloc_same_random(false);
    assert_int_equal(batcher_begin(batcher, 0, 0), 0);
    for (int i = 0; i < 20 * 4000; i++) {
        const struct frame frame = {.ts_ms = T0 + i / 4000 * MINUTE};
        struct packet p = {.key = {.proto = 6, .has_port = 1, .version = 4}, .ip_len = 40};
        p.key.port = (uint16_t)i;
        p.key.dst[0] = (uint8_t)(i % 100);
        assert_int_equal(batcher_packet(batcher, &frame, DECODE_IP, &p), 0);
    }
    assert_int_equal(batcher_end(batcher, 0, 0), 0);
    assert_int_equal(batcher_flush(batcher), 0);
    assert_int_equal(sum.n_windows, 2); // batches
    assert_true(sum.n_floods > BATCH_FLOODS_MAX);
    const struct batcher_report *report = batcher_report(batcher);
    // three quarters of the table: the last one is kept for keys that came before
    assert_true(report->flood_windows == 20 && report->flows == 20 * 768);
}

// What the open batch holds decides; the records are made as the windows make them.
static void test_room_in_a_batch(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    struct batcher *batcher = b->batcher;
    struct batch *batch = &batcher->builder.batch;
    const struct span first = {T0, T0 + MINUTE}, later = {T0 + 2 * MINUTE, T0 + 3 * MINUTE};
    assert_int_equal(batch_add_empty(batcher, first, MINUTE), 0);
    // a gap apart: a record of its own
    assert_int_equal(batch_add_empty(batcher, later, MINUTE), 0);
    assert_int_equal(batch->n_windows, 2);
    // too many uncompressed bytes for one more
    batcher->builder.raw = BATCH_RAW_MAX;
    assert_int_equal(batch_add_empty(batcher, (struct span){T0 + DAY, T0 + DAY + MINUTE}, 1), 0);
    assert_true(b->batches == 1 && batch->n_windows == 1);
    // no room for the flood rows that may come
    batch->n_floods = BATCH_FLOODS_MAX - FLOOD_ROWS_MAX + 1;
    batch->floods[0] = (struct flood){0};
    assert_int_equal(
        batch_add_empty(batcher, (struct span){T0 + 2 * DAY, T0 + 2 * DAY + MINUTE}, 1), 0);
    assert_int_equal(batch->n_windows, 2);
    batch->n_floods = 0;
    // records of drops are not runs of nothing
    batch->windows[1].kernel_dropped = 1;
    assert_int_equal(
        batch_add_empty(batcher, (struct span){T0 + 2 * DAY + MINUTE, T0 + 2 * DAY + 2 * MINUTE},
                        1),
        0);
    assert_int_equal(batch->n_windows, 3);
    batch->windows[1].kernel_dropped = 0;
    batch->windows[2].interface_dropped = 1;
    const struct span third = {T0 + 2 * DAY + 2 * MINUTE, T0 + 2 * DAY + 3 * MINUTE};
    assert_int_equal(batch_add_empty(batcher, third, 1), 0);
    assert_int_equal(batch->n_windows, 4);
    // observed time stays within 32 bits
    batch->windows[3].covered_ms = UINT32_MAX;
    const struct span fourth = {third.hi, third.hi + MINUTE};
    assert_int_equal(batch_add_empty(batcher, fourth, 1), 0);
    assert_int_equal(batch->n_windows, 5);
    batch->n_windows = 0;
    bench_free(b);
}

// As many IPv6 flows as a batch may hold are more bytes than it may.
static void test_bytes_seal_a_batch(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 65536);
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    for (uint32_t i = 0; i < BATCH_FLOWS_MAX; i++) {
        const struct frame frame = {.ts_ms = T0};
        struct packet p = {.key = {.proto = 47, .version = 6}, .has = HAS_TCP_WINDOW, .ip_len = 60};
        memcpy(p.key.src, &i, sizeof i);
        assert_int_equal(batcher_packet(b->batcher, &frame, DECODE_IP, &p), 0);
    }
    assert_int_equal(batcher_end(b->batcher, 0, 0), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->batches, 2);
    assert_true(b->sizes[0].flows * 56 <= BATCH_RAW_MAX && b->flows == BATCH_FLOWS_MAX);
    bench_free(b);
}

// Each way that leads to a seal forwards its failure. The batch is full: the next record seals it.
static struct bench *bench_full(enum batcher_mode mode)
{
    struct bench *b = bench_new(mode, 1024);
    b->fail_at = 0;
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    assert_int_equal(frame_at(b, T0, 1), 0);
    const struct span span = {T0 - DAY, T0 - DAY + MINUTE};
    assert_int_equal(batch_add_empty(b->batcher, span, 1), 0);
    b->batcher->builder.raw = BATCH_RAW_MAX;
    return b;
}

static void test_failures_are_forwarded(void **state)
{
    (void)state;
    struct bench *b = bench_full(BATCHER_LIVE);
    assert_int_equal(batcher_tick(b->batcher, T0 + 2 * MINUTE, 2 * MINUTE), -ENOSPC);
    bench_free(b);
    b = bench_full(BATCHER_LIVE);
    assert_int_equal(batcher_end(b->batcher, T0 + 2 * MINUTE, 2 * MINUTE), -ENOSPC);
    bench_free(b);
    b = bench_full(BATCHER_LIVE);
    assert_int_equal(batcher_tick(b->batcher, T0 + 1, 60001), -ENOSPC); // its time is up
    bench_free(b);
    b = bench_full(BATCHER_REPLAY);
    assert_int_equal(batcher_end(b->batcher, 0, 0), -ENOSPC);
    bench_free(b);
    b = bench_full(BATCHER_REPLAY);
    assert_int_equal(batcher_flush(b->batcher), -ENOSPC);
    bench_free(b);
    b = bench_full(BATCHER_REPLAY);
    assert_int_equal(frame_at(b, T0 + MINUTE, 1), -ENOSPC);
    bench_free(b);
}

// The windows between two packets are records too, here two runs around an earlier file's window,
// and there may be no room for them.
static void test_a_gap_that_cannot_be_sealed(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    replay(b, (int64_t[]){5 * MINUTE}, 1);
    assert_int_equal(batcher_flush(b->batcher), 0);
    b->fail_at = b->batches;
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    assert_int_equal(frame_at(b, T0, 1), 0);
    b->batcher->builder.raw = BATCH_RAW_MAX - 70; // the window's own record and flow still fit
    assert_int_equal(frame_at(b, T0 + 10 * MINUTE, 1), -ENOSPC);
    bench_free(b);
}

static void test_frames_that_are_no_ip(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_REPLAY, 1024);
    const struct frame frame = {.ts_ms = T0};
    assert_int_equal(batcher_begin(b->batcher, 0, 0), 0);
    assert_int_equal(batcher_packet(b->batcher, &frame, DECODE_NON_IP, NULL), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_true(b->sum.non_ip == 1 && b->sum.frames == 1 && b->flows == 0);
    bench_free(b);
}

static void test_nothing_to_close(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_tick(b->batcher, T0, 0), 0); // before the beginning
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    assert_int_equal(batcher_flush(b->batcher), 0); // nothing was observed yet
    assert_int_equal(b->batches, 0);
    batcher_free(NULL);
    bench_free(b);
}

static void test_live_packets_out_of_their_time(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0 + 30000, 0), 0);
    assert_int_equal(batcher_tick(b->batcher, T0 + 61000, 31000), 0);
    assert_int_equal(b->batcher->window.start_ms, T0 + MINUTE);
    // minutes ahead of the clock: not taken for observed time
    assert_int_equal(frame_at(b, T0 + 10 * MINUTE, 1), 0);
    // minutes behind it, which opens a window that was observed by nobody
    assert_int_equal(frame_at(b, T0 - 10 * MINUTE, 2), 0);
    // beyond any leap
    assert_int_equal(frame_at(b, T0 + 365 * DAY, 3), 0);
    assert_int_equal(batcher_end(b->batcher, T0 + 62000, 32000), 0);
    assert_int_equal(batcher_flush(b->batcher), 0);
    assert_int_equal(b->sum.frames, 3);
    assert_int_equal(b->sum.covered_ms, 32000);
    bench_free(b);
}

static void test_live_clock_leaps(void **state)
{
    (void)state;
    struct bench *b = bench_new(BATCHER_LIVE, 1024);
    assert_int_equal(batcher_begin(b->batcher, T0, 0), 0);
    assert_int_equal(batcher_tick(b->batcher, T0 + 40 * DAY, 1000), 0);
    assert_int_equal(batcher_tick(b->batcher, T0 - 40 * DAY, 2000), 0);
    assert_int_equal(batcher_report(b->batcher)->clock_leaps, 2);
    assert_int_equal(batcher_flush(b->batcher), 0);
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_without_packets_are_one_record),
        cmocka_unit_test(test_between_files_nothing_is_observed),
        cmocka_unit_test(test_no_window_is_covered_twice),
        cmocka_unit_test(test_late_and_backward),
        cmocka_unit_test(test_leaps_are_not_observed_time),
        cmocka_unit_test(test_a_batch_spans_a_month_at_most),
        cmocka_unit_test(test_bounded_under_random_times),
        cmocka_unit_test(test_a_full_window_is_sliced),
        cmocka_unit_test(test_flood_goes_with_the_first_slice),
        cmocka_unit_test(test_max_delay_is_wall_time),
        cmocka_unit_test(test_callback_failure_is_forwarded),
        cmocka_unit_test(test_live_covers_from_start_to_stop),
        cmocka_unit_test(test_live_silence_is_seen),
        cmocka_unit_test(test_live_after_a_pause),
        cmocka_unit_test(test_live_clock_that_is_set),
        cmocka_unit_test(test_live_clock_that_is_set_back_within_a_window),
        cmocka_unit_test(test_live_drops_count_in_the_open_window),
        cmocka_unit_test(test_live_late_packets),
        cmocka_unit_test(test_config_ranges),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_flood_rows_seal_a_batch),
        cmocka_unit_test(test_room_in_a_batch),
        cmocka_unit_test(test_bytes_seal_a_batch),
        cmocka_unit_test(test_failures_are_forwarded),
        cmocka_unit_test(test_a_gap_that_cannot_be_sealed),
        cmocka_unit_test(test_frames_that_are_no_ip),
        cmocka_unit_test(test_nothing_to_close),
        cmocka_unit_test(test_live_packets_out_of_their_time),
        cmocka_unit_test(test_live_clock_leaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
