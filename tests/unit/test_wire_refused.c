// Batches made by hand, each wrong in one place: every refusal of the decoder, by its message.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "common/wire_internal.h"

#define RAW_MAX 512

// A column, each value as a varint (below 128: as a byte).
struct column {
    uint8_t n;
    uint64_t values[24];
};
#define COLUMN(...)                                                                                \
    {                                                                                              \
        sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),                                      \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

// One TCP flow over IPv4 and one UDP flow over IPv6, a flood row, a window with them and a run of
// two windows without.
static const struct column good[COL_COUNT] = {
    [COL_RECORDS] = COLUMN(0, 1, 60000, 2, 1, 0, 0, 0, 0, /**/ 0, 2, 0, 0, 0, 0, 0, 0, 0),
    [COL_VERSIONS] = COLUMN(1, 1),
    [COL_DST_TABLE] =
        COLUMN(4, 10, 0, 0, 1, /**/ 6, 32, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
    [COL_DST] = COLUMN(1, 0, 1),
    [COL_TUPLE_TABLE] = COLUMN(1, /**/ 6, 2, 0, 5, 40, 1024, 0, 0, 7, /**/ 17, 0, 0, 3, 60),
    [COL_TUPLE] = COLUMN(1, 0, 1),
    [COL_TTL] = COLUMN(64, 65),
    [COL_PACKETS] = COLUMN(1, 0),
    [COL_BYTES] = COLUMN(0, 0),
    [COL_DURATION] = COLUMN(7),
    [COL_FLOODS] = COLUMN(4, 10, 0, 0, 2, 6, 2, 1, 2, 81, 9, 360, 6),
    [COL_PORT] = COLUMN(1, 23, 53),
    [COL_SRC6] = COLUMN(32, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2),
    [COL_SRC4] = COLUMN(4, 4, 3, 2, 1),
    [COL_TIME] = COLUMN(1, 5, 6),
    [COL_SRC_PORT] = COLUMN(1, 99),
    [COL_IP_ID] = COLUMN(0),
    [COL_WINDOW] = COLUMN(0),
};

struct hostile {
    Hirundo__V1__Batch m;
    uint32_t lengths[COL_COUNT + 64];
    uint8_t raw[RAW_MAX];
    size_t raw_size;
    uint8_t compressed[2 * RAW_MAX];
    uint8_t payload[4 * RAW_MAX];
};

static void hostile_compress(struct hostile *h)
{
    size_t n = ZSTD_compress(h->compressed, sizeof h->compressed, h->raw, h->raw_size, 1);
    assert_false(ZSTD_isError(n));
    h->m.columns = (ProtobufCBinaryData){n, h->compressed};
}

static void hostile_make(struct hostile *h, const struct column columns[COL_COUNT])
{
    struct out_bytes out = {h->raw, 0, RAW_MAX, false};
    hirundo__v1__batch__init(&h->m);
    h->m.window_ms = 60000;
    h->m.flows = h->m.windows = 2;
    h->m.floods = 1;
    h->m.column_lengths = h->lengths;
    h->m.n_column_lengths = COL_COUNT;
    memset(h->lengths, 0, sizeof h->lengths);
    for (size_t i = 0; i < COL_COUNT; i++) {
        size_t before = out.used;
        for (size_t k = 0; k < columns[i].n; k++)
            put_varint(&out, columns[i].values[k]);
        h->lengths[i] = (uint32_t)(out.used - before);
    }
    assert_false(out.bad);
    h->raw_size = out.used;
    hostile_compress(h);
}

static int decode(struct hostile *h, struct batch *ret, struct errmsg *e, struct wire_decoder *dec)
{
    assert_true(protobuf_c_message_get_packed_size(&h->m.base) <= sizeof h->payload);
    size_t size = protobuf_c_message_pack(&h->m.base, h->payload);
    return wire_batch_decode(dec, h->payload, size, ret, e);
}

static void check_refused(struct hostile *h, struct wire_decoder *dec, const char *what,
                          const char *says)
{
    struct errmsg e = {""};
    struct batch b = {.n_flows = 12345};
    if (decode(h, &b, &e, dec) != WIRE_REFUSED)
        fail_msg("not refused: %s", what);
    if (!strstr(e.text, says))
        fail_msg("%s: \"%s\" and not \"%s\"", what, e.text, says);
    assert_int_equal(b.n_flows, 12345); // untouched
}

static int set_up(void **state)
{
    return wire_decoder_new((struct wire_decoder **)state);
}

static int tear_down(void **state)
{
    wire_decoder_free(*state);
    return 0;
}

static void test_the_good_one(void **state)
{
    static struct hostile h;
    struct batch b;
    struct errmsg e = {""};
    hostile_make(&h, good);
    if (decode(&h, &b, &e, *state) != 0)
        fail_msg("refused: %s", e.text);
    const struct flow *tcp = &b.flows[0], *udp = &b.flows[1];
    assert_memory_equal(tcp->src.b, ((uint8_t[]){1, 2, 3, 4}), 4);
    assert_true(tcp->dst.version == 4 && tcp->dst.b[0] == 10 && tcp->proto == 6);
    assert_true(tcp->tcp_window == 1024 && tcp->options.wscale == 7 && tcp->port == 23);
    assert_true(tcp->packets == 2 && tcp->bytes == 80 && tcp->duration_ms == 7 && tcp->ttl == 64);
    assert_true(udp->src.version == 6 && udp->src.b[0] == 32 && udp->src.b[15] == 2);
    assert_true(udp->src_port == 99 && udp->bytes == 60 && udp->ts_ms == 6 && udp->ip_id == 0);
    const struct flood *flood = &b.floods[0];
    assert_true(flood->has_port && flood->port == 80 && flood->packets == 9);
    assert_true(flood->has_sources && flood->sources_estimate == 5 && flood->bytes == 360);
    assert_true(b.windows[0].frames == 12 && b.windows[0].row_packets == 3);
    assert_true(b.windows[1].start_ms == 60000 && b.windows[1].windows == 2);
    // columns of a later version are passed over, missing ones are empty
    h.m.n_column_lengths = COL_COUNT + 1;
    h.lengths[COL_COUNT] = 3;
    h.raw_size += 3;
    hostile_compress(&h);
    assert_int_equal(decode(&h, &b, &e, *state), 0);
}

// zigzag
#define Z(v) (((uint64_t)(v) << 1) ^ ((int64_t)(v) < 0 ? UINT64_MAX : 0))

struct change {
    enum wire_column column;
    struct column to;
};

struct wrong {
    const char *what;
    const char *says; // after "batch with damaged "
    struct change changes[2];
    int n;
};

#define ONE(column, ...)                {{column, COLUMN(__VA_ARGS__)}}, 1
#define EMPTY(column)                   {{column, {0}}}, 1
#define TABLE_EMPTY(table, to, indices) {{table, to}, {indices, COLUMN(0)}}, 2

// A start that is a window's, beyond what can be calculated with; the second record as it should
// be.
#define FAR  ((INT64_MAX / 4 / 60000 + 1) * 60000)
#define REST 0, 1, 0, 0, 0, 0, 0, 0, 0

static const struct wrong records[] = {
    {"start beyond any calendar", "", ONE(COL_RECORDS, Z(FAR), 1, 0, 2, 1, 0, 0, 0, 0, REST)},
    {"start before any calendar", "", ONE(COL_RECORDS, Z(-FAR), 1, 0, 2, 1, 0, 0, 0, 0, REST)},
    {"start of ten bytes", "", ONE(COL_RECORDS, UINT64_MAX, 1, 0, 2, 1, 0, 0, 0, 0, REST)},
    {"start beyond 64 bits", "",
     ONE(COL_RECORDS, 0, 1, 0, 2, 1, 0, 0, 0, 0, Z(INT64_MAX), 1, 0, 0, 0, 0, 0, 0, 0)},
    {"start inside a window", "", ONE(COL_RECORDS, Z(1), 1, 0, 2, 1, 0, 0, 0, 0, REST)},
    {"records that overlap", "",
     ONE(COL_RECORDS, 0, 1, 0, 2, 1, 0, 0, 0, 0, Z(-60000), 1, 0, 0, 0, 0, 0, 0, 0)},
    {"no windows", "", ONE(COL_RECORDS, 0, 0, 0, 2, 1, 0, 0, 0, 0, REST)},
    {"flows in a run", "", ONE(COL_RECORDS, 0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0)},
    {"floods in a run", "", ONE(COL_RECORDS, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0)},
    {"more observed than there was", "", ONE(COL_RECORDS, 0, 1, 60001, 2, 1, 0, 0, 0, 0, REST)},
    {"more flows than there are", "", ONE(COL_RECORDS, 0, 1, 0, 3, 1, 0, 0, 0, 0, REST)},
    {"cut off", "", ONE(COL_RECORDS, 0, 1, 0, 2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)},
    {"something behind", "", ONE(COL_RECORDS, 0, 1, 0, 2, 1, 0, 0, 0, 0, REST, 0)},
    {"a flow in no window", "", ONE(COL_RECORDS, 0, 1, 0, 1, 1, 0, 0, 0, 0, REST)},
    {"a flood row in no window", "", ONE(COL_RECORDS, 0, 1, 0, 2, 0, 0, 0, 0, 0, REST)},
};

static const struct wrong addresses[] = {
    {"too many versions", "address versions", ONE(COL_VERSIONS, 1, 2)},
    {"too few versions", "address versions", ONE(COL_VERSIONS, 1)},
    {"IPv4 without planes", "source addresses", EMPTY(COL_SRC4)},
    {"five planes", "source addresses", ONE(COL_SRC4, 5, 4, 3, 2, 1, 0)},
    {"IPv4 cut off", "source addresses", ONE(COL_SRC4, 4, 3, 2, 1)},
    {"IPv6 cut off", "source addresses", ONE(COL_SRC6, 32, 1)},
    {"version 5", "destination addresses", ONE(COL_DST_TABLE, 5, 10, 0, 0, 1)},
    {"destination cut off", "destination addresses", ONE(COL_DST_TABLE, 4, 10, 0, 0, 1, 6, 32, 1)},
    {"more destinations than flows", "destination addresses",
     ONE(COL_DST_TABLE, 4, 1, 1, 1, 1, 4, 1, 1, 1, 2, 4, 1, 1, 1, 3)},
    {"no destinations", "destination addresses", TABLE_EMPTY(COL_DST_TABLE, {0}, COL_DST)},
    {"a destination that is not there", "destination addresses", ONE(COL_DST, 1, 0, 2)},
    {"IPv4 to IPv6", "destination addresses", ONE(COL_DST, 1, 1, 1)},
};

#define UDP_TUPLE 17, 0, 0, 3, 60

static const struct wrong tuples[] = {
    {"no table", "tuples", EMPTY(COL_TUPLE_TABLE)},
    {"neither with nor without windows", "tuples",
     ONE(COL_TUPLE_TABLE, 2, 6, 2, 0, 5, 40, 1024, 0, 0, 7, UDP_TUPLE)},
    {"more tuples than flows", "tuples",
     ONE(COL_TUPLE_TABLE, 1, 6, 2, 0, 5, 40, 1024, 0, 0, 7, UDP_TUPLE, UDP_TUPLE)},
    {"cut off", "tuples", ONE(COL_TUPLE_TABLE, 1, 6, 2, 0, 5, 40, 1024, 0, 0, 7, 17, 0, 0, 3)},
    {"unknown marks", "tuples",
     ONE(COL_TUPLE_TABLE, 1, 6, 2, MARK_ALL + 1, 5, 40, 1024, 0, 0, 7, UDP_TUPLE)},
    {"unknown fields", "tuples", ONE(COL_TUPLE_TABLE, 1, 6, 2, 0, HAS_ALL + 1, 40, UDP_TUPLE)},
    {"too many options", "tuples",
     ONE(COL_TUPLE_TABLE, 1, 6, 2, 0, 5, 40, 0, OPT_KINDS_MAX + 1, 0, 7, UDP_TUPLE)},
    {"a window beyond 65535", "tuples",
     ONE(COL_TUPLE_TABLE, 1, 6, 2, 0, 5, 40, 65536, 0, 0, 7, UDP_TUPLE)},
    {"no tuples", "tuples", TABLE_EMPTY(COL_TUPLE_TABLE, COLUMN(1), COL_TUPLE)},
    {"a tuple that is not there", "tuples", ONE(COL_TUPLE, 1, 0, 2)},
    {"windows twice", "TCP windows", ONE(COL_WINDOW, 1, 7)},
    {"windows nowhere", "TCP windows", EMPTY(COL_WINDOW)},
};

static const struct wrong measures[] = {
    {"one TTL", "TTLs", ONE(COL_TTL, 64)},
    {"three TTLs", "TTLs", ONE(COL_TTL, 64, 64, 64)},
    {"ports cut off", "ports", ONE(COL_PORT, 1, 23)},
    {"a port beyond 65535", "ports", ONE(COL_PORT, 3, 0, 0, 0, 0, 1, 0)},
    {"no source ports", "source ports", EMPTY(COL_SRC_PORT)},
    {"an IP id of nobody", "IP ids", ONE(COL_IP_ID, 1, 1)},
    {"a time beyond the window", "times", ONE(COL_TIME, 3, 0, 0, 0, 0, 1, 0)},
    {"packets beyond an integer", "packet or byte", ONE(COL_PACKETS, INT32_MAX, 0)},
    {"packets cut off", "packet or byte", ONE(COL_PACKETS, 1)},
    {"bytes beyond 64 bits", "byte counts", ONE(COL_BYTES, Z(INT64_MAX), 0)},
    {"bytes below 0", "byte counts", ONE(COL_BYTES, Z(-81), 0)},
    {"bytes that no sum could hold", "byte counts", ONE(COL_BYTES, Z(INT64_MAX / 2), 0)},
    {"bytes cut off", "packet or byte", ONE(COL_BYTES, 0)},
    {"durations cut off", "packet or byte", EMPTY(COL_DURATION)},
    {"a duration too many", "packet or byte", ONE(COL_DURATION, 7, 7)},
    {"a duration beyond the window", "packet or byte", ONE(COL_DURATION, 60000)},
};

static const struct wrong floods[] = {
    {"no address", "", ONE(COL_FLOODS, 0)},
    {"cut off", "", ONE(COL_FLOODS, 4, 10, 0, 0, 2, 6, 2, 1, 2, 0, 9)},
    {"no packets", "", ONE(COL_FLOODS, 4, 10, 0, 0, 2, 6, 2, 1, 2, 0, 0, 0, 0)},
    {"least TTL above the greatest", "", ONE(COL_FLOODS, 4, 10, 0, 0, 2, 6, 2, 3, 2, 0, 9, 9, 0)},
    {"a port beyond 65535", "", ONE(COL_FLOODS, 4, 10, 0, 0, 2, 6, 2, 1, 2, 65537, 9, 360, 0)},
    {"something behind", "", ONE(COL_FLOODS, 4, 10, 0, 0, 2, 6, 2, 1, 2, 81, 9, 360, 6, 0)},
};

static void check_all(struct wire_decoder *dec, const struct wrong *cases, size_t n,
                      const char *family)
{
    static struct hostile h;
    for (size_t i = 0; i < n; i++) {
        struct column columns[COL_COUNT];
        char says[100];
        memcpy(columns, good, sizeof good);
        for (int k = 0; k < cases[i].n; k++)
            columns[cases[i].changes[k].column] = cases[i].changes[k].to;
        hostile_make(&h, columns);
        snprintf(says, sizeof says, "batch with damaged %s", *family ? family : cases[i].says);
        check_refused(&h, dec, cases[i].what, says);
    }
}

static void test_columns(void **state)
{
    check_all(*state, records, ARRAY_SIZE(records), "window records");
    check_all(*state, addresses, ARRAY_SIZE(addresses), "");
    check_all(*state, tuples, ARRAY_SIZE(tuples), "");
    check_all(*state, measures, ARRAY_SIZE(measures), "");
    check_all(*state, floods, ARRAY_SIZE(floods), "flood rows");
}

static void test_frames_in_a_run(void **state)
{
    static struct hostile h;
    struct column columns[COL_COUNT];
    memcpy(columns, good, sizeof good);
    columns[COL_RECORDS].values[9 + 5] = 1; // non-IP frames of the second record
    hostile_make(&h, columns);
    check_refused(&h, *state, "frames in a run", "frames in a run of 2 windows");
}

static void test_varint_beyond_64_bits(void **state)
{
    static struct hostile h;
    hostile_make(&h, good);
    // the first record's ten bytes, of which the last says too much
    memset(h.raw, 0xff, 9);
    h.raw[9] = 2;
    hostile_compress(&h);
    check_refused(&h, *state, "varint beyond 64 bits", "damaged window records");
}

static void check_counts(struct wire_decoder *dec, uint32_t window_ms, uint32_t flows,
                         uint32_t floods_, uint32_t windows, const char *says)
{
    static struct hostile h;
    hostile_make(&h, good);
    h.m.window_ms = window_ms;
    h.m.flows = flows;
    h.m.floods = floods_;
    h.m.windows = windows;
    check_refused(&h, dec, says, says);
}

static void test_counts(void **state)
{
    check_counts(*state, 60000, BATCH_FLOWS_MAX + 1, 1, 2, "batch of 8193 flows, 1 flood rows");
    check_counts(*state, 60000, 2, BATCH_FLOODS_MAX + 1, 2, "batch of 2 flows, 4097 flood rows");
    check_counts(*state, 60000, 2, 1, BATCH_WINDOWS_MAX + 1, "1 flood rows, 8193 records");
    check_counts(*state, 999, 2, 1, 2, "batch with windows of 999 ms");
    check_counts(*state, 1800000, 2, 1, 2, "batch with windows of 1800000 ms");
    check_counts(*state, 7000, 2, 1, 2, "batch with windows of 7000 ms");
}

static void test_envelope(void **state)
{
    static struct hostile h;
    static uint8_t large[BATCH_PAYLOAD_MAX + 1];
    struct batch b;
    struct errmsg e = {""};
    hostile_make(&h, good);
    h.m.n_column_lengths = 65;
    check_refused(&h, *state, "65 columns", "damaged column lengths");
    h.m.n_column_lengths = COL_COUNT + 1;
    h.lengths[COL_COUNT] = 1;
    check_refused(&h, *state, "a column that is not there", "damaged column lengths");
    h.lengths[COL_COUNT] = WIRE_COLUMNS_MAX;
    check_refused(&h, *state, "a column too large", "batch of more than 1048576 bytes");
    hostile_make(&h, good);
    h.compressed[0] ^= 1;
    check_refused(&h, *state, "not zstd", "batch does not decompress");
    assert_int_equal(wire_batch_decode(*state, large, sizeof large, &b, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "batch of 1048577 bytes, at most 1048576");
    assert_int_equal(wire_batch_decode(*state, large, 9, &b, &e), WIRE_REFUSED);
    assert_string_equal(e.text, "payload is not a hirundo.v1.Batch");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_good_one),          cmocka_unit_test(test_columns),
        cmocka_unit_test(test_frames_in_a_run),       cmocka_unit_test(test_counts),
        cmocka_unit_test(test_varint_beyond_64_bits), cmocka_unit_test(test_envelope),
    };
    return cmocka_run_group_tests_name("wire_refused", tests, set_up, tear_down);
}
