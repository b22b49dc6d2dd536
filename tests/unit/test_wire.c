// The wire format: what goes in comes out, field by field; what was damaged is refused, never read
// wrongly into memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire.h"
#include "tests/unit/rand_batch.h"

struct codec {
    struct wire_encoder *enc;
    struct wire_decoder *dec;
};

static int set_up(void **state)
{
    static struct codec codec;
    *state = &codec;
    return wire_encoder_new(&codec.enc) || wire_decoder_new(&codec.dec);
}

static int tear_down(void **state)
{
    struct codec *codec = *state;
    wire_encoder_free(codec->enc);
    wire_decoder_free(codec->dec);
    return 0;
}

static size_t round_trip(struct codec *codec, const struct batch *b)
{
    const uint8_t *payload;
    size_t size;
    struct batch back;
    struct errmsg e = {""};
    assert_int_equal(wire_batch_encode(codec->enc, b, &payload, &size), 0);
    int r = wire_batch_decode(codec->dec, payload, size, &back, &e);
    if (r != 0)
        fail_msg("refused: %s", e.text);
    const char *difference = batch_difference(b, &back);
    if (difference)
        fail_msg("%s differs", difference);
    return size;
}

static void test_batches_of_every_size(void **state)
{
    static const uint32_t flows[] = {0, 1, 2, 3, 7, 100, 255, 256, 257, 1000, 8191, 8192};
    for (uint32_t seed = 0; seed < 20; seed++) {
        for (size_t i = 0; i < ARRAY_SIZE(flows); i++) {
            struct rand_source r = {seed * 1000 + i};
            struct batch b = rand_batch(&r, RAND_MIXED, flows[i], 1 + rand_below(&r, 12));
            round_trip(*state, &b);
            rand_batch_free(&b);
        }
    }
}

// DESIGN "Numbers to reach": at most 12.0 bytes a flow at 8,192 flows a batch, 16.5 at 100.
static void test_background_is_small(void **state)
{
    static const struct {
        uint32_t flows;
        double most;
    } cases[] = {{8192, 12.0}, {100, 16.5}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t bytes = 0;
        for (uint32_t seed = 0; seed < 10; seed++) {
            struct rand_source r = {seed};
            struct batch b = rand_batch(&r, RAND_BACKGROUND, cases[i].flows, 1);
            bytes += round_trip(*state, &b);
            rand_batch_free(&b);
        }
        double each = (double)bytes / (10.0 * cases[i].flows);
        print_message("%u flows a batch: %.2f bytes a flow\n", cases[i].flows, each);
        assert_true(each <= cases[i].most);
    }
}

static void test_largest_values(void **state)
{
    struct flow flow = {
        .src = {6, {255, 255, 255}},
        .dst = {6, {0}},
        .proto = 255,
        .ttl = 255,
        .tcp_flags = 255,
        .marks = MARK_ALL,
        .has = HAS_ALL,
        .port = 65535,
        .ts_ms = 899999,
        .duration_ms = 899999,
        .packets = INT32_MAX,
        .bytes = INT64_MAX / 2,
        .src_port = 65535,
        .tcp_window = 65535,
        .ip_id = 65535,
        .ip_len = INT32_MAX,
        .options = {OPT_KINDS_MAX, {OPT_KIND_MORE}, 65535, 255},
    };
    struct window_record record = {
        .windows = 1, .covered_ms = 900000, .frames = INT32_MAX, .row_packets = INT32_MAX};
    struct batch b = {900000, 1, 0, 1, &flow, NULL, &record, false};
    round_trip(*state, &b);
    flow.ts_ms -= 900000 * 1000LL; // before 1970
    record.start_ms -= 900000 * 1000LL;
    round_trip(*state, &b);
}

static void test_encoder_refuses_what_breaks_the_rules(void **state)
{
    struct codec *codec = *state;
    struct rand_source r = {1};
    struct batch b = rand_batch(&r, RAND_BACKGROUND, 10, 2);
    const uint8_t *payload;
    size_t size;
    b.flows[9].ts_ms += 1000000; // in no record's window
    assert_int_equal(wire_batch_encode(codec->enc, &b, &payload, &size), -EINVAL);
    b.flows[9].ts_ms -= 1000000;
    b.windows[0].row_packets++; // does not add up
    assert_int_equal(wire_batch_encode(codec->enc, &b, &payload, &size), -EINVAL);
    b.windows[0].row_packets--;
    b.windows[1].start_ms = b.windows[0].start_ms; // overlaps
    assert_int_equal(wire_batch_encode(codec->enc, &b, &payload, &size), -EINVAL);
    b.window_ms = 7000; // does not divide 900 s
    assert_int_equal(wire_batch_encode(codec->enc, &b, &payload, &size), -EINVAL);
    rand_batch_free(&b);
}

// Every truncation, and many damaged bytes: refused, or decoded into something that keeps decode's
// promises.
static void test_damaged_batches(void **state)
{
    struct codec *codec = *state;
    struct rand_source r = {42};
    struct batch b = rand_batch(&r, RAND_MIXED, 300, 5);
    const uint8_t *payload;
    size_t size;
    assert_int_equal(wire_batch_encode(codec->enc, &b, &payload, &size), 0);
    uint8_t *copy = malloc(size);
    struct batch back;
    struct errmsg e;
    for (size_t n = 0; n < size; n++) {
        memcpy(copy, payload, n);
        int got = wire_batch_decode(codec->dec, copy, n, &back, &e);
        assert_true(got == WIRE_REFUSED);
    }
    unsigned decoded = 0;
    for (int i = 0; i < 20000; i++) {
        memcpy(copy, payload, size);
        for (uint32_t k = 0; k <= rand_below(&r, 4); k++)
            copy[rand_below(&r, (uint32_t)size)] = (uint8_t)rand_next(&r);
        int got = wire_batch_decode(codec->dec, copy, size, &back, &e);
        assert_true(got == 0 || got == WIRE_REFUSED);
        decoded += got == 0;
    }
    assert_true(decoded < 20000);
    free(copy);
    rand_batch_free(&b);
}

static void test_header(void **state)
{
    (void)state;
    struct wire_header h = {
        .kind = WIRE_BATCH,
        .spool_id = {1, 2, 3, [15] = 255},
        .seq = UINT64_MAX,
        .run_id = UINT64_MAX,
        .counters = {1, 2, 3, 4, 5, 6, UINT64_MAX},
        .first_window_ms = INT64_MIN,
        .last_window_ms = INT64_MAX,
        .frames = UINT64_MAX,
        .codec = UINT32_MAX,
        .has_sha256 = true,
        .sha256 = {9, [31] = 8},
        .sent_ms = -1,
    };
    uint8_t buf[WIRE_HEADER_MAX];
    size_t size;
    struct wire_header back;
    struct errmsg e;
    assert_int_equal(wire_header_encode(&h, buf, &size), 0);
    assert_int_equal(wire_header_decode(buf, size, &back, &e), 0);
    assert_int_equal(back.kind, h.kind);
    assert_memory_equal(back.spool_id, h.spool_id, sizeof h.spool_id);
    assert_true(back.seq == h.seq && back.run_id == h.run_id && back.frames == h.frames);
    assert_memory_equal(&back.counters, &h.counters, sizeof h.counters);
    assert_true(back.first_window_ms == INT64_MIN && back.last_window_ms == INT64_MAX);
    assert_true(back.codec == h.codec && back.has_sha256 && back.sent_ms == -1);
    assert_memory_equal(back.sha256, h.sha256, sizeof h.sha256);
    for (size_t n = 0; n < size; n++)
        assert_int_not_equal(wire_header_decode(buf, n, &back, &e) & ~WIRE_REFUSED, -1);
    buf[0] ^= 0x55;
    wire_header_decode(buf, size, &back, &e);
    h.kind = 99;
    assert_int_equal(wire_header_encode(&h, buf, &size), -EINVAL);
    assert_int_equal(wire_header_decode(buf, WIRE_HEADER_MAX + 1, &back, &e), WIRE_REFUSED);
    assert_int_equal(wire_header_decode(buf, 0, &back, &e), WIRE_REFUSED);
}

static void test_reply_and_heartbeat(void **state)
{
    (void)state;
    struct wire_reply reply = {.committed_through = 7,
                               .expected_seq = 8,
                               .reason = WIRE_NACK_FORK,
                               .credit = 1 << 20,
                               .db_ok = true,
                               .clock_ms = 1672500000000,
                               .echo_ms = -5,
                               .detail = "why\nnot"};
    uint8_t buf[WIRE_REPLY_MAX];
    size_t size;
    struct wire_reply back;
    struct errmsg e;
    assert_int_equal(wire_reply_encode(&reply, buf, &size), 0);
    assert_int_equal(wire_reply_decode(buf, size, &back, &e), 0);
    assert_true(back.committed_through == 7 && back.expected_seq == 8 && back.credit == 1 << 20);
    assert_true(back.reason == WIRE_NACK_FORK && back.db_ok && back.echo_ms == -5);
    assert_string_equal(back.detail, "why?not");
    struct wire_heartbeat h = {.version = "0.1.0",
                               .uptime_s = 3,
                               .clock_offset_ms = -12,
                               .spool_dropped = 4,
                               .spool_failing = true,
                               .queue_batches = 5,
                               .problem = "no\troom"},
                          again;
    assert_int_equal(wire_heartbeat_encode(&h, buf, &size), 0);
    assert_int_equal(wire_heartbeat_decode(buf, size, &again, &e), 0);
    assert_string_equal(again.version, "0.1.0");
    assert_true(again.uptime_s == 3 && again.clock_offset_ms == -12);
    assert_true(again.spool_dropped == 4 && again.spool_failing && again.queue_batches == 5);
    assert_string_equal(again.problem, "no?room");
}

static void test_loss(void **state)
{
    (void)state;
    struct window_record records[3] = {
        {.start_ms = 60000, .windows = 1, .covered_ms = 60000, .frames = 5, .row_packets = 5},
        {.start_ms = 120000, .windows = 30, .covered_ms = 1800000},
        {.start_ms = -60000, .windows = 1, .frames = 2, .non_ip = 2, .kernel_dropped = 9},
    };
    struct loss_item items[3] = {
        {.seq_first = 4, .seq_last = 4, .n_records = 2, .records = records, .reason = "spool full"},
        {.seq_first = 5, .seq_last = 9, .n_records = 1, .records = records + 2},
        {.seq_first = 10, .seq_last = 10, .unknown = true, .first_ms = 1, .last_ms = 2},
    };
    _cleanup_(freep) uint8_t *p = NULL;
    _cleanup_(freep) struct loss_item *back = NULL;
    size_t size, n;
    struct errmsg e;
    assert_int_equal(wire_loss_encode(items, 3, &p, &size), 0);
    assert_int_equal(wire_loss_decode(p, size, &back, &n, &e), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(back[0].records, records, 2 * sizeof *records);
    assert_memory_equal(back[1].records, records + 2, sizeof *records);
    assert_true(back[2].unknown && back[2].first_ms == 1 && !back[2].records);
    assert_string_equal(back[0].reason, "spool full");
    for (size_t cut = 0; cut < size; cut++) {
        struct loss_item *damaged = NULL;
        if (wire_loss_decode(p, cut, &damaged, &n, &e) == 0)
            free(damaged);
    }
}

static void test_loss_refused(void **state)
{
    (void)state;
    struct loss_item gap[2] = {{.seq_first = 4, .seq_last = 4}, {.seq_first = 6, .seq_last = 6}};
    struct window_record wrong = {.start_ms = 0, .windows = 1, .frames = 3, .row_packets = 2};
    struct loss_item sum = {.seq_first = 1, .seq_last = 1, .n_records = 1, .records = &wrong};
    struct loss_item *back = NULL;
    uint8_t *p;
    size_t size, n;
    struct errmsg e;
    assert_int_equal(wire_loss_encode(gap, 2, &p, &size), 0);
    assert_int_equal(wire_loss_decode(p, size, &back, &n, &e), WIRE_REFUSED);
    free(p);
    assert_int_equal(wire_loss_encode(&sum, 1, &p, &size), 0);
    assert_int_equal(wire_loss_decode(p, size, &back, &n, &e), WIRE_REFUSED);
    free(p);
    // A megabyte of empty items would take far more memory than it is long: refused before that.
    uint8_t *many = calloc(1, BATCH_PAYLOAD_MAX);
    for (size_t i = 0; i < BATCH_PAYLOAD_MAX; i += 2)
        many[i] = 0x0a; // items, length 0
    assert_int_equal(wire_loss_decode(many, BATCH_PAYLOAD_MAX, &back, &n, &e), WIRE_REFUSED);
    free(many);
    assert_null(back);
}

static void test_records_alone(void **state)
{
    (void)state;
    struct window_record records[2] = {{.start_ms = 0, .windows = 7},
                                       {.start_ms = 9, .windows = 1}};
    _cleanup_(freep) uint8_t *p = NULL;
    _cleanup_(freep) struct window_record *back = NULL;
    size_t size, n;
    assert_int_equal(wire_records_encode(records, 2, &p, &size), 0);
    assert_int_equal(wire_records_decode(p, size, &back, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_memory_equal(back, records, sizeof records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_batches_of_every_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_background_is_small, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_largest_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_encoder_refuses_what_breaks_the_rules, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_batches, set_up, tear_down),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_reply_and_heartbeat),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_loss_refused),
        cmocka_unit_test(test_records_alone),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
