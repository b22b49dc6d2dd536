// The wire's edges: what encoders refuse, what is too large, memory that is not there, and each
// message that is refused for what it says.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire_bound.h"
#include "common/wire_internal.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/rand_batch.h"

// One flow, one flood row, two windows: valid, and made anew for each rule that is broken.
struct sample {
    struct flow flow;
    struct flood flood;
    struct window_record records[2];
    struct batch batch;
};

static struct sample *sample_make(struct sample *s)
{
    *s = (struct sample){
        .flow = {.src = {4, {1}},
                 .dst = {4, {2}},
                 .packets = 2,
                 .bytes = 80,
                 .ip_len = 40,
                 .ts_ms = 60001,
                 .duration_ms = 5},
        .flood = {.dst = {6, {2}}, .packets = 3, .ttl_min = 1, .ttl_max = 2, .ts_ms = 60000},
        .records =
            {{.start_ms = 60000, .windows = 1, .frames = 5, .row_packets = 2, .flood_packets = 3},
             {.start_ms = 120000, .windows = 2, .covered_ms = 120000}},
    };
    s->batch = (struct batch){60000, 1, 1, 2, &s->flow, &s->flood, s->records, false};
    return s;
}

// Breaks one rule of the sample; it must be the only one that is broken.
#define CHECK_BROKEN(change)                                                                       \
    do {                                                                                           \
        sample_make(s);                                                                            \
        assert_int_equal(wire_batch_encode(enc, &s->batch, &payload, &size), 0);                   \
        change;                                                                                    \
        payload = NULL;                                                                            \
        assert_int_equal(wire_batch_encode(enc, &s->batch, &payload, &size), -EINVAL);             \
        assert_null(payload);                                                                      \
    } while (0)

static void test_encoder_keeps_the_rules_of_records(void **state)
{
    (void)state;
    struct sample sample, *s = &sample;
    _cleanup_(wire_encoder_freep) struct wire_encoder *enc = NULL;
    const uint8_t *payload;
    size_t size;
    assert_int_equal(wire_encoder_new(&enc), 0);
    CHECK_BROKEN(s->batch.n_flows = BATCH_FLOWS_MAX + 1);
    CHECK_BROKEN(s->batch.n_floods = BATCH_FLOODS_MAX + 1);
    CHECK_BROKEN(s->batch.n_windows = BATCH_WINDOWS_MAX + 1);
    CHECK_BROKEN(s->batch.window_ms = WINDOW_MS_MIN - 1);
    CHECK_BROKEN(s->batch.window_ms = 2 * WINDOW_MS_MAX);
    CHECK_BROKEN(s->batch.window_ms = 7000);
    CHECK_BROKEN(s->records[0].frames++);
    CHECK_BROKEN((s->records[0].row_packets--, s->records[0].non_ip++));
    CHECK_BROKEN((s->records[0].flood_packets--, s->records[0].non_ip++));
    CHECK_BROKEN(s->records[1].start_ms++);
    CHECK_BROKEN(s->records[1].start_ms = 60000); // behind its time
    CHECK_BROKEN(s->flow.ts_ms = 59999);
    CHECK_BROKEN((s->flow.ts_ms = 59999, s->records[0].row_packets = 0, s->records[0].frames = 3));
    CHECK_BROKEN((s->flood.ts_ms = 0, s->records[0].flood_packets = 0, s->records[0].frames = 2));
}

static void test_encoder_keeps_the_rules_of_rows(void **state)
{
    (void)state;
    struct sample sample, *s = &sample;
    _cleanup_(wire_encoder_freep) struct wire_encoder *enc = NULL;
    const uint8_t *payload;
    size_t size;
    assert_int_equal(wire_encoder_new(&enc), 0);
    CHECK_BROKEN(s->flow.src.version = 0);
    CHECK_BROKEN(s->flow.dst.version = 6);
    CHECK_BROKEN((s->flow.packets = 0, s->records[0].row_packets = 0, s->records[0].frames = 3));
    CHECK_BROKEN((s->flow.packets = 1u << 31, s->records[0].row_packets = 1u << 31,
                  s->records[0].frames = 3 + (1ull << 31)));
    CHECK_BROKEN(s->flow.ip_len = 1u << 31);
    CHECK_BROKEN(s->flow.bytes = INT64_MAX);
    CHECK_BROKEN(s->flow.duration_ms = 60000);
    CHECK_BROKEN((s->flow.packets = 1, s->records[0].row_packets = 1, s->records[0].frames = 4));
    CHECK_BROKEN(s->flood.dst.version = 5);
    CHECK_BROKEN((s->flood.packets = 0, s->records[0].flood_packets = 0, s->records[0].frames = 2));
    CHECK_BROKEN(s->flood.ttl_min = 3);
}

// Random rows of the greatest size that each may have.
static void make_largest(struct rand_source *r, struct batch *b)
{
    const uint64_t most = UINT64_MAX / 64;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        struct flow *f = &b->flows[i];
        *f =
            (struct flow){.src.version = 6, .dst.version = 6, .has = HAS_ALL, .packets = INT32_MAX};
        for (int k = 0; k < 16; k++) {
            f->src.b[k] = (uint8_t)rand_next(r);
            f->dst.b[k] = (uint8_t)rand_next(r);
        }
        f->ip_len = (1u << 30) + rand_below(r, 1u << 30);
        f->bytes = rand_next(r) >> 3;
        f->duration_ms = rand_below(r, b->window_ms);
        f->port = f->src_port = f->ip_id = f->tcp_window = (uint16_t)(i | 0x8000);
        f->options.n = OPT_KINDS_MAX;
        f->options.mss = 65535;
        b->windows[0].row_packets += f->packets;
    }
    for (uint32_t i = 0; i < b->n_floods; i++) {
        b->floods[i] = (struct flood){.dst.version = 6,
                                      .has_port = true,
                                      .port = 65535,
                                      .packets = 1u << 28,
                                      .bytes = most,
                                      .has_sources = true,
                                      .sources_estimate = most};
        b->windows[0].flood_packets += 1u << 28;
    }
    for (uint32_t i = 0; i < b->n_windows; i++) {
        struct window_record *w = &b->windows[i];
        w->start_ms = (int64_t)i * b->window_ms;
        w->windows = 1;
        w->non_ip = w->malformed = w->kernel_dropped = w->interface_dropped = most;
        w->frames = w->non_ip + w->malformed + w->row_packets + w->flood_packets;
    }
}

static void test_what_does_not_fit_is_told(void **state)
{
    (void)state;
    struct rand_source r = {3};
    _cleanup_(wire_encoder_freep) struct wire_encoder *enc = NULL;
    const uint8_t *payload = NULL;
    size_t size;
    struct batch b = {900000,
                      BATCH_FLOWS_MAX,
                      BATCH_FLOODS_MAX,
                      BATCH_WINDOWS_MAX,
                      calloc(BATCH_FLOWS_MAX, sizeof *b.flows),
                      calloc(BATCH_FLOODS_MAX, sizeof *b.floods),
                      calloc(BATCH_WINDOWS_MAX, sizeof *b.windows),
                      false};
    assert_int_equal(wire_encoder_new(&enc), 0);
    make_largest(&r, &b);
    assert_int_equal(wire_batch_encode(enc, &b, &payload, &size), -E2BIG);
    assert_null(payload);
    rand_batch_free(&b);
}

static void test_describe(void **state)
{
    (void)state;
    struct sample s;
    struct wire_header h = {.seq = 7};
    wire_batch_describe(&sample_make(&s)->batch, &h);
    assert_true(h.seq == 7 && h.frames == 5 && h.codec == WIRE_CODEC_ZSTD_COLUMNS);
    assert_true(h.first_window_ms == 60000 && h.last_window_ms == 240000);
    wire_batch_describe(&(struct batch){.window_ms = 60000}, &h);
    assert_true(h.first_window_ms == 0 && h.last_window_ms == 0 && h.frames == 0);
}

static int codec_once(void *ctx)
{
    _cleanup_(wire_encoder_freep) struct wire_encoder *enc = NULL;
    _cleanup_(wire_decoder_freep) struct wire_decoder *dec = NULL;
    const struct batch *b = ctx;
    const uint8_t *payload;
    size_t size;
    int r = wire_encoder_new(&enc);
    if (r == 0)
        r = wire_decoder_new(&dec);
    struct batch back;
    if (r == 0)
        r = wire_batch_encode(enc, b, &payload, &size);
    return r == 0 ? wire_batch_decode(dec, payload, size, &back, NULL) : r;
}

static int loss_once(void *ctx)
{
    _cleanup_(freep) uint8_t *p = NULL;
    _cleanup_(freep) struct window_record *records = NULL;
    size_t size, n;
    int r = wire_records_encode(ctx, 1, &p, &size);
    if (r != 0)
        return r;
    return wire_records_decode(p, size, &records, &n, NULL);
}

static void test_without_memory(void **state)
{
    (void)state;
    struct sample s;
    struct window_record record = {.windows = 1};
    assert_true(fail_alloc_each(codec_once, &sample_make(&s)->batch) > 20);
    assert_true(fail_alloc_each(loss_once, &record) > 6);
    wire_encoder_free(NULL);
    wire_decoder_free(NULL);
}

// --- losses

static void check_loss(const struct loss_item *items, size_t n, const char *says)
{
    _cleanup_(freep) uint8_t *p = NULL;
    struct loss_item *back = NULL;
    size_t size, got;
    struct errmsg e = {""};
    assert_int_equal(wire_loss_encode(items, n, &p, &size), 0);
    assert_int_equal(wire_loss_decode(p, size, &back, &got, &e), WIRE_REFUSED);
    assert_null(back);
    assert_non_null(strstr(e.text, says));
}

static void test_losses_that_are_none(void **state)
{
    (void)state;
    const char *order = "loss of numbers that do not follow one another";
    const char *interval = "loss with an interval that is none";
    struct window_record record = {.windows = 1};
    struct loss_item unknown = {
        .seq_first = 1, .seq_last = 1, .unknown = true, .n_records = 1, .records = &record};
    struct loss_item many[2] = {{.seq_first = 1, .seq_last = 2}, {.seq_first = 4, .seq_last = 4}};
    check_loss(&(struct loss_item){.seq_first = 0, .seq_last = 1}, 1, order);
    check_loss(&(struct loss_item){.seq_first = 2, .seq_last = 1}, 1, order);
    check_loss(&(struct loss_item){.seq_first = 1, .seq_last = INT64_MAX}, 1, order);
    check_loss(many, 2, order);
    check_loss(
        &(struct loss_item){.seq_first = 1, .seq_last = 1, .first_ms = INT64_MIN, .last_ms = 0}, 1,
        interval);
    check_loss(
        &(struct loss_item){
            .seq_first = 1, .seq_last = 1, .first_ms = INT64_MAX, .last_ms = INT64_MAX},
        1, interval);
    check_loss(
        &(struct loss_item){.seq_first = 1, .seq_last = 1, .first_ms = 0, .last_ms = INT64_MAX}, 1,
        interval);
    check_loss(&(struct loss_item){.seq_first = 1, .seq_last = 1, .first_ms = 5, .last_ms = 4}, 1,
               interval);
    check_loss(&unknown, 1, interval);
}

static void test_records_that_are_none(void **state)
{
    (void)state;
    const uint64_t most = UINT64_MAX / 16;
    const char *range = "window record out of range";
    const struct {
        struct window_record record;
        const char *says;
    } cases[] = {
        {{.windows = 1, .frames = most}, range},
        {{.windows = 1, .non_ip = most}, range},
        {{.windows = 1, .malformed = most}, range},
        {{.windows = 1, .row_packets = most}, range},
        {{.windows = 1, .flood_packets = most}, range},
        {{.windows = 1, .kernel_dropped = most}, range},
        {{.windows = 1, .interface_dropped = most}, range},
        {{.windows = 1, .start_ms = INT64_MIN}, range},
        {{.windows = 1, .start_ms = INT64_MAX}, range},
        {{.windows = 0}, range},
        {{.windows = 1, .frames = 1}, "window record whose frames do not add up"},
        {{.windows = 3, .frames = 1, .non_ip = 1}, "frames in a run of 3 windows"},
        {{.windows = 2, .covered_ms = 1800001}, "1800001 ms observed in 2 windows"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct loss_item item = {
            .seq_first = 1, .seq_last = 1, .n_records = 1, .records = &cases[i].record};
        check_loss(&item, 1, cases[i].says);
    }
}

static void test_losses_too_large(void **state)
{
    (void)state;
    struct window_record *records = calloc(WIRE_RECORDS_MAX + 1, sizeof *records);
    struct loss_item *items = calloc(WIRE_LOSS_ITEMS_MAX + 1, sizeof *items);
    static uint8_t large[BATCH_PAYLOAD_MAX + 1];
    struct loss_item *back = NULL;
    uint8_t *p = NULL;
    size_t size, n;
    struct errmsg e;
    items[0].records = records;
    assert_int_equal(wire_loss_encode(items, 0, &p, &size), -EINVAL);
    assert_int_equal(wire_loss_encode(items, WIRE_LOSS_ITEMS_MAX + 1, &p, &size), -E2BIG);
    items[0].n_records = WIRE_RECORDS_MAX + 1;
    assert_int_equal(wire_loss_encode(items, 1, &p, &size), -E2BIG);
    items[0].n_records = WIRE_RECORDS_MAX;
    for (size_t i = 0; i < WIRE_RECORDS_MAX; i++) {
        memset(&records[i], 0xff, sizeof records[i]);
        records[i].start_ms = INT64_MIN;
    }
    for (size_t i = 0; i < WIRE_LOSS_ITEMS_MAX; i++) {
        items[i].seq_first = items[i].seq_last = UINT64_MAX;
        items[i].first_ms = items[i].last_ms = INT64_MIN;
        memset(items[i].reason, 'x', WIRE_TEXT_MAX);
    }
    assert_int_equal(wire_loss_encode(items, WIRE_LOSS_ITEMS_MAX, &p, &size), -E2BIG);
    assert_null(p);
    assert_int_equal(wire_loss_decode(large, sizeof large, &back, &n, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "loss of 1048577 bytes");
    assert_int_equal(wire_loss_decode(large, 0, &back, &n, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "loss of 0 items and 0 records");
    static const uint8_t digest_of_5[] = {0x0a, 11, 8, 1, 16, 1, 0x42, 5, 1, 2, 3, 4, 5};
    assert_int_equal(wire_loss_decode(digest_of_5, sizeof digest_of_5, &back, &n, &e),
                     WIRE_REFUSED);
    assert_string_equal(e.text, "loss with a digest of 5 bytes");
    free(items);
    free(records);
}

static void append_empty_items(uint8_t *p, size_t n, uint8_t tag)
{
    for (size_t i = 0; i < n; i++) {
        p[2 * i] = tag; // length-delimited, length 0
        p[2 * i + 1] = 0;
    }
}

static void test_losses_of_too_many(void **state)
{
    (void)state;
    static uint8_t p[2 * WIRE_RECORDS_MAX + 100];
    struct loss_item *back = NULL;
    size_t n;
    struct errmsg e;
    append_empty_items(p, WIRE_LOSS_ITEMS_MAX + 1, 0x0a);
    int r = wire_loss_decode(p, 2 * (WIRE_LOSS_ITEMS_MAX + 1), &back, &n, &e);
    assert_int_equal(r, WIRE_REFUSED);
    assert_string_equal(e.text, "loss of 1025 items and 0 records");
    // one item with one record too many
    const ProtobufCFieldDescriptor *records = protobuf_c_message_descriptor_get_field_by_name(
        &hirundo__v1__loss__item__descriptor, "records");
    const size_t size = 2 * (WIRE_RECORDS_MAX + 1);
    p[0] = 0x0a;
    p[1] = (uint8_t)(size | 0x80);
    p[2] = (uint8_t)((size >> 7) | 0x80);
    p[3] = (uint8_t)(size >> 14);
    append_empty_items(p + 4, WIRE_RECORDS_MAX + 1, (uint8_t)(records->id << 3 | 2));
    assert_int_equal(wire_loss_decode(p, 4 + size, &back, &n, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "loss of 1 items and 8193 records");
}

static void test_records_of_several(void **state)
{
    (void)state;
    struct loss_item items[2] = {{.seq_first = 1, .seq_last = 1}, {.seq_first = 2, .seq_last = 2}};
    struct window_record *records = NULL;
    uint8_t *p = NULL;
    size_t size, n;
    struct errmsg e;
    assert_int_equal(wire_loss_encode(items, 2, &p, &size), 0);
    assert_int_equal(wire_records_decode(p, size, &records, &n, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "records of 2 batches");
    assert_int_equal(wire_records_decode(p, size - 1, &records, &n, &e), WIRE_REFUSED);
    assert_null(records);
    free(p);
    assert_int_equal(wire_records_encode(NULL, 0, &p, &size), 0);
    assert_int_equal(wire_records_decode(p, size, &records, &n, &e), 0);
    assert_int_equal(n, 0);
    free(records);
    free(p);
}

// --- headers, replies, heartbeats

static size_t pack(const ProtobufCMessage *m, uint8_t buf[1024])
{
    size_t size = 0;
    assert_int_equal(wire_pack(m, buf, 1024, &size), 0);
    return size;
}

static void test_header_refused(void **state)
{
    (void)state;
    uint8_t buf[1024], id[32] = {1};
    struct wire_header h = {.seq = 99};
    struct errmsg e;
    Hirundo__V1__Header m = HIRUNDO__V1__HEADER__INIT;
    m.kind = 77;
    m.spool_id = (ProtobufCBinaryData){16, id};
    assert_int_equal(wire_header_decode(buf, pack(&m.base, buf), &h, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "unknown kind of message 77");
    m.kind = HIRUNDO__V1__KIND__KIND_PING;
    m.spool_id.len = 15;
    assert_int_equal(wire_header_decode(buf, pack(&m.base, buf), &h, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "spool id of 15 bytes");
    m.spool_id.len = 16;
    m.sha256 = (ProtobufCBinaryData){31, id};
    assert_int_equal(wire_header_decode(buf, pack(&m.base, buf), &h, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "digest of 31 bytes");
    assert_int_equal(h.seq, 99); // untouched
    m.sha256.len = 0;
    assert_int_equal(wire_header_decode(buf, pack(&m.base, buf), &h, &e), 0);
    assert_true(h.kind == WIRE_PING && !h.has_sha256 && h.counters.frames == 0);
    assert_int_equal(wire_header_decode((const uint8_t *)"\xff", 1, &h, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "header is not a hirundo.v1.Header");
}

static void test_header_without_digest(void **state)
{
    (void)state;
    uint8_t buf[WIRE_HEADER_MAX];
    size_t size;
    struct wire_header h = {.kind = WIRE_PING}, back;
    assert_int_equal(wire_header_encode(&h, buf, &size), 0);
    assert_int_equal(wire_header_decode(buf, size, &back, NULL), 0);
    assert_false(back.has_sha256);
    Hirundo__V1__Header m = HIRUNDO__V1__HEADER__INIT;
    m.seq = 1;
    assert_int_equal(wire_pack(&m.base, buf, 1, &size), -E2BIG);
    // FIPS 180-2, appendix B.1
    uint8_t digest[WIRE_SHA256_SIZE];
    wire_sha256((const uint8_t *)"abc", 3, digest);
    assert_memory_equal(digest, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8);
}

static void test_reply_refused(void **state)
{
    (void)state;
    uint8_t buf[1024];
    char text[WIRE_TEXT_MAX + 2] = "";
    struct wire_reply reply = {.credit = 99};
    struct errmsg e;
    Hirundo__V1__Reply m = HIRUNDO__V1__REPLY__INIT;
    m.reason = 7;
    assert_int_equal(wire_reply_decode(buf, pack(&m.base, buf), &reply, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "unknown reason of a nack 7");
    m.reason = HIRUNDO__V1__NACK_REASON__NACK_GAP;
    memset(text, 'x', WIRE_TEXT_MAX + 1);
    m.detail = text;
    assert_int_equal(wire_reply_decode(buf, pack(&m.base, buf), &reply, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "detail of 201 bytes, at most 200");
    assert_int_equal(wire_reply_decode(buf, WIRE_REPLY_MAX + 1, &reply, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "reply of 513 bytes");
    assert_int_equal(wire_reply_decode((const uint8_t *)"\xff", 1, &reply, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "payload is not a hirundo.v1.Reply");
    assert_int_equal(reply.credit, 99); // untouched
    text[WIRE_TEXT_MAX] = '\0';
    text[0] = 0x7f; // moves a cursor
    assert_int_equal(wire_reply_decode(buf, pack(&m.base, buf), &reply, &e), 0);
    assert_true(reply.reason == WIRE_NACK_GAP && reply.detail[0] == '?');
}

static void test_reasons(void **state)
{
    (void)state;
    static const enum wire_nack reasons[] = {0, WIRE_NACK_GAP, WIRE_NACK_FORK};
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        uint8_t buf[WIRE_REPLY_MAX];
        size_t size;
        struct wire_reply reply = {.reason = reasons[i]}, back;
        assert_int_equal(wire_reply_encode(&reply, buf, &size), 0);
        assert_int_equal(wire_reply_decode(buf, size, &back, NULL), 0);
        assert_int_equal(back.reason, reasons[i]);
    }
}

static void test_heartbeat_refused(void **state)
{
    (void)state;
    uint8_t buf[1024];
    char text[WIRE_TEXT_MAX + 2] = "";
    struct wire_heartbeat h = {.rss_kib = 99};
    struct errmsg e;
    Hirundo__V1__Heartbeat m = HIRUNDO__V1__HEARTBEAT__INIT;
    memset(text, 'x', WIRE_TEXT_MAX + 1);
    m.version = text;
    assert_int_equal(wire_heartbeat_decode(buf, pack(&m.base, buf), &h, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "version of 201 bytes, at most 200");
    assert_int_equal(wire_heartbeat_decode(buf, WIRE_HEADER_MAX + 1, &h, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "heartbeat of 513 bytes");
    assert_int_equal(wire_heartbeat_decode((const uint8_t *)"\xff", 1, &h, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "payload is not a hirundo.v1.Heartbeat");
    assert_int_equal(h.rss_kib, 99); // untouched
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoder_keeps_the_rules_of_records),
        cmocka_unit_test(test_encoder_keeps_the_rules_of_rows),
        cmocka_unit_test(test_what_does_not_fit_is_told),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_losses_that_are_none),
        cmocka_unit_test(test_records_that_are_none),
        cmocka_unit_test(test_losses_too_large),
        cmocka_unit_test(test_losses_of_too_many),
        cmocka_unit_test(test_records_of_several),
        cmocka_unit_test(test_header_refused),
        cmocka_unit_test(test_header_without_digest),
        cmocka_unit_test(test_reply_refused),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_heartbeat_refused),
    };
    return cmocka_run_group_tests_name("wire_limits", tests, NULL, NULL);
}
