// COPY's binary format, byte by byte, and rows too large for an integer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/copy_row.h"
#include "tests/unit/rand_batch.h"

#define HEAD 19 // signature 11, flags 4, extension length 4

static int64_t be(const char *p, size_t n)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0; // signed
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (uint8_t)p[i];
    return (int64_t)v;
}

// Field k of the row at p: its length, and where it is.
static int64_t field(const char *p, int k, const char **ret)
{
    p += 2;
    for (; k > 0; k--) {
        int64_t n = be(p, 4);
        p += 4 + (n > 0 ? n : 0);
    }
    *ret = p + 4;
    return be(p, 4);
}

static int64_t number(const char *row, int k)
{
    const char *p;
    int64_t n = field(row, k, &p);
    return be(p, (size_t)n);
}

static const struct flow sample = {
    .src = {4, {198, 18, 0, 7}},
    .dst = {4, {192, 0, 2, 1}},
    .proto = 6,
    .ttl = 244,
    .tcp_flags = 2,
    .marks = 1,
    .has = HAS_ALL,
    .port = 40000,
    .ts_ms = 1675836000123,
    .duration_ms = 250,
    .packets = 3,
    .bytes = 180,
    .src_port = 65535,
    .tcp_window = 1024,
    .ip_id = 54321,
    .ip_len = 60,
};

static void test_head_and_tail(void **state)
{
    (void)state;
    struct copy_buffer b = {0};
    assert_int_equal(copy_begin(&b), 0);
    assert_int_equal(b.used, HEAD);
    assert_memory_equal(b.p, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", HEAD);
    assert_int_equal(copy_end(&b), 0);
    assert_memory_equal(b.p + HEAD, "\377\377", 2);
    assert_int_equal(b.used, HEAD + 2);
    copy_buffer_release(&b);
}

static void test_flow(void **state)
{
    (void)state;
    struct copy_buffer b = {0};
    copy_begin(&b);
    assert_int_equal(copy_flow(&b, &sample, 5, 2, 77), 0);
    const char *row = b.p + HEAD, *p;
    const int64_t want[] = {(1675836000123 - COPY_EPOCH_MS) * 1000,
                            250,
                            3,
                            180,
                            40000,
                            65535,
                            1024,
                            54321,
                            60,
                            77,
                            5,
                            2,
                            6,
                            244,
                            2,
                            1};
    assert_int_equal(be(row, 2), 17);
    for (int k = 0; k < 16; k++)
        assert_int_equal(number(row, k), want[k]);
    assert_int_equal(field(row, 0, &p), 8);
    assert_int_equal(field(row, 1, &p), 4);
    assert_int_equal(field(row, 13, &p), 2);
    assert_int_equal(field(row, 16, &p), 8);
    assert_memory_equal(p, "\2\40\0\4\306\22\0\7", 8);
    assert_int_equal(p + 8 - b.p, b.used);
    copy_buffer_release(&b);
}

static void test_absent_columns_are_null(void **state)
{
    (void)state;
    struct copy_buffer b = {0};
    struct flow f = sample;
    const char *p;
    f.has = 0;
    f.src = (struct ip_addr){6, {0x20, 0x01, 0x0d, 0xb8}};
    copy_begin(&b);
    copy_flow(&b, &f, 5, 2, COPY_NO_OPTIONS);
    const char *row = b.p + HEAD;
    for (int k = 4; k <= 7; k++)
        assert_int_equal(field(row, k, &p), -1);
    assert_int_equal(number(row, 8), 60);
    assert_int_equal(field(row, 9, &p), -1);
    assert_int_equal(field(row, 16, &p), 20);
    assert_memory_equal(p, "\3\200\0\20\40\1\15\270", 8);
    copy_buffer_release(&b);
}

static void test_enormous_flows_are_split(void **state)
{
    static const struct {
        uint32_t packets;
        uint64_t bytes, rows;
    } cases[] = {
        {1, 40, 1},
        {INT32_MAX, INT32_MAX, 1},
        {(uint32_t)INT32_MAX + 1, 4000000000, 2},
        {UINT32_MAX, UINT32_MAX, 3},
        {5, (uint64_t)INT32_MAX * 4, 4},
        {5, (uint64_t)INT32_MAX * 4 + 1, 5},
        {1000000000, 1500000000000, 699},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct copy_buffer b = {0};
        struct flow f = sample;
        f.packets = cases[i].packets;
        f.bytes = cases[i].bytes;
        assert_int_equal(copy_flow_rows(&f), cases[i].rows);
        copy_begin(&b);
        assert_int_equal(copy_flow(&b, &f, 1, 1, 0), 0);
        assert_int_equal(b.rows, cases[i].rows);
        uint64_t packets = 0, bytes = 0;
        size_t size = (b.used - HEAD) / b.rows;
        for (size_t k = 0; k < b.rows; k++) {
            const char *row = b.p + HEAD + k * size;
            assert_true(number(row, 2) >= 0 && number(row, 3) >= 0);
            packets += (uint64_t)number(row, 2);
            bytes += (uint64_t)number(row, 3);
        }
        assert_int_equal(packets, f.packets);
        assert_int_equal(bytes, f.bytes);
        copy_buffer_release(&b);
    }
}

static void test_flood(void **state)
{
    (void)state;
    struct copy_buffer b = {0};
    const struct flood f = {.dst = {4, {192, 0, 2, 1}},
                            .proto = 17,
                            .ttl_min = 3,
                            .ttl_max = 250,
                            .has_port = true,
                            .port = 53,
                            .ts_ms = COPY_EPOCH_MS,
                            .packets = 1ull << 40,
                            .bytes = 1ull << 46};
    const char *p;
    copy_begin(&b);
    assert_int_equal(copy_flood(&b, &f, 9, 1), 0);
    const char *row = b.p + HEAD;
    assert_int_equal(be(row, 2), 11);
    assert_int_equal(number(row, 0), 0);
    assert_int_equal(number(row, 1), 1ll << 40);
    assert_int_equal(number(row, 2), 1ll << 46);
    assert_int_equal(field(row, 3, &p), -1);
    assert_int_equal(number(row, 4), 53);
    assert_int_equal(number(row, 10), 250);
    copy_buffer_release(&b);
}

static void test_buffer_grows_and_starts_again(void **state)
{
    (void)state;
    struct copy_buffer b = {0};
    for (int round = 0; round < 2; round++) {
        copy_begin(&b);
        for (int i = 0; i < 20000; i++)
            assert_int_equal(copy_flow(&b, &sample, 1, 1, 0), 0);
        assert_int_equal(b.rows, 20000);
        assert_int_equal((b.used - HEAD) % 20000, 0);
    }
    copy_buffer_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_and_tail),
        cmocka_unit_test(test_flow),
        cmocka_unit_test(test_absent_columns_are_null),
        cmocka_unit_test(test_enormous_flows_are_split),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_buffer_grows_and_starts_again),
    };
    return cmocka_run_group_tests_name("copy_row", tests, NULL, NULL);
}
