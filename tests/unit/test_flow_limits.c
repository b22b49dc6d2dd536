// The flow table's edges. This program has a table of its own, in which a flow holds PACKETS_MAX =
// 100 packets (tests/unit/meson.build): counting to INT32_MAX would take minutes.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sensor/coverage.h"
#include "sensor/flood.h"
#include "sensor/flow_table.h"
#include "sensor/hll.h"
#include "tests/unit/fail_alloc.h"

static struct packet make_packet(uint32_t src, uint16_t port)
{
    struct packet p = {
        .key = {.port = port, .proto = 17, .ttl = 64, .has_port = 1, .version = 4, .dst = {10}},
        .has = HAS_PORT,
        .ip_len = 40,
    };
    memcpy(p.key.src, &src, sizeof src);
    return p;
}

static struct flow_table_totals totals_of(struct flow_table *t)
{
    struct flow_table_totals totals;
    flow_table_settle(t);
    flow_table_totals(t, &totals);
    return totals;
}

static void test_a_full_flow_leaves_the_rest_to_a_flood_row(void **state)
{
    (void)state;
    _cleanup_(flow_table_freep) struct flow_table *t = NULL;
    struct flood floods[FLOOD_ROWS_MAX];
    struct flow flow;
    assert_int_equal(flow_table_new(1024, NULL, &t), 0);
    struct packet p = make_packet(1, 53);
    for (uint32_t i = 0; i < 250; i++)
        flow_table_add(t, &p, i);
    struct flow_table_totals totals = totals_of(t);
    assert_true(totals.flows == 1 && totals.row_packets == 100 && totals.flood_packets == 150);
    assert_int_equal(flow_table_floods(t, 0, floods), 1);
    assert_true(floods[0].packets == 150 && floods[0].bytes == 150 * 40 && floods[0].port == 53);
    flow_table_sort(t, FLOW_ORDER_TIME);
    flow_table_flow(t, 0, 0, &flow);
    assert_true(flow.packets == 100 && flow.bytes == 4000 && flow.duration_ms == 99);
}

// Ports that are all different: no limit folds anything, and the table is full.
static void test_a_full_table_without_a_heavy_port(void **state)
{
    (void)state;
    _cleanup_(flow_table_freep) struct flow_table *t = NULL;
    assert_int_equal(flow_table_new(1024, NULL, &t), 0);
    for (uint32_t i = 0; i < 3000; i++) {
        struct packet p = make_packet(i, (uint16_t)i);
        flow_table_add(t, &p, 0);
    }
    struct flow_table_totals totals = totals_of(t);
    // the last quarter is kept for keys that came before, and none did
    assert_true(totals.flows == 768 && totals.flood_packets == 3000 - 768);
    assert_int_equal(totals.rebuilds, 6); // the limit went down to 1/64, then that quarter
}

// Of a table of a million flows, one port gets what its count can hold.
static void test_limit_of_a_large_table(void **state)
{
    (void)state;
    _cleanup_(flow_table_freep) struct flow_table *t = NULL;
    assert_int_equal(flow_table_new(1u << 20, NULL, &t), 0);
    for (uint32_t i = 0; i < 70000; i++) {
        struct packet p = make_packet(i, 53);
        flow_table_add(t, &p, 0);
    }
    struct flow_table_totals totals = totals_of(t);
    assert_true(totals.flows == UINT16_MAX && totals.flood_packets == 70000 - UINT16_MAX);
}

static int table_once(void *ctx)
{
    (void)ctx;
    _cleanup_(flow_table_freep) struct flow_table *t = NULL;
    return flow_table_new(1024, NULL, &t);
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_each(table_once, NULL), 5);
    flow_table_free(NULL);
    flood_table_free(NULL);
}

// A hash of zeros but for its register's number has the greatest rank there is.
static void test_estimate_with_full_registers(void **state)
{
    (void)state;
    static struct hll h;
    uint64_t before = 0;
    for (uint64_t i = 0; i < HLL_REGISTERS; i += 1024) {
        hll_add(&h, i << (64 - HLL_P));
        uint64_t estimate = hll_estimate(&h);
        assert_true(estimate > before && estimate < 32);
        before = estimate;
    }
    assert_int_equal(before, 16); // sixteen hashes, each in a register of its own
}

static void test_coverage_of_part_of_a_window(void **state)
{
    (void)state;
    struct coverage c = {0};
    struct coverage_added added;
    coverage_begin(&c);
    coverage_add(&c, (struct span){0, 10}, 1000, &added);
    assert_true(added.window && added.n_gaps == 0);
    coverage_add(&c, (struct span){5, 15}, 1000, &added); // half of it is covered
    assert_false(added.window);
    coverage_add(&c, (struct span){15, 25}, 1000, &added);
    assert_true(added.window);
    coverage_add(&c, (struct span){16, 18}, 1000, &added);
    assert_false(added.window);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_flow_leaves_the_rest_to_a_flood_row),
        cmocka_unit_test(test_a_full_table_without_a_heavy_port),
        cmocka_unit_test(test_limit_of_a_large_table),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_estimate_with_full_registers),
        cmocka_unit_test(test_coverage_of_part_of_a_window),
    };
    return cmocka_run_group_tests_name("flow_limits", tests, NULL, NULL);
}
