// The flow table against a naive model, and under floods: every packet in one row, the slow scan
// kept, memory bounded.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sensor/flood.h"
#include "sensor/flow_table.h"
#include "sensor/hll.h"
#include "sensor/seen.h"
#include "tests/unit/flow_model.h"
#include "tests/unit/rand_batch.h"

#define START_MS 1675814400000

static struct packet make_packet(uint32_t src, uint8_t proto, uint16_t port)
{
    struct packet p = {
        .key = {.port = port,
                .proto = proto,
                .ttl = 64,
                .tcp_flags = proto == 6 ? 2 : 0,
                .has_port = 1,
                .version = 4,
                .dst = {198, 51, 100, 1}},
        .has = HAS_PORT,
        .ip_len = 40,
    };
    memcpy(p.key.src, &src, sizeof src);
    return p;
}

static struct packet random_packet(struct rand_source *r, const uint8_t *options)
{
    static const uint8_t protos[] = {1, 6, 6, 6, 17, 17, 47, 58};
    struct packet p =
        make_packet(rand_below(r, 40), protos[rand_below(r, 8)], (uint16_t)rand_below(r, 6));
    p.key.ttl = (uint8_t)(60 + rand_below(r, 3));
    p.key.tcp_flags = (uint8_t)(p.key.proto == 6 ? 2 << rand_below(r, 2) : 0);
    p.key.version = rand_below(r, 4) ? 4 : 6;
    if (p.key.version == 6)
        p.key.src[15] = (uint8_t)rand_below(r, 3);
    p.key.has_port = p.key.proto != 47;
    if (!p.key.has_port)
        p.key.port = 0;
    p.has = (uint8_t)(p.key.has_port | (rand_below(r, 2) ? HAS_IP_ID : 0));
    p.ip_id = (uint16_t)rand_below(r, 65536);
    p.src_port = (uint16_t)rand_below(r, 65536);
    p.tcp_window = (uint16_t)rand_below(r, 65536);
    p.ip_len = 20 + rand_below(r, 1400);
    p.options_len = p.key.proto == 6 ? (uint8_t)rand_below(r, 41) : 0; // 40 are all that fit
    p.options = options + rand_below(r, 41u - p.options_len);
    return p;
}

// Sorted as asked for? Compares neighbours by the definition, not by the sort's words.
static int compare_source(const struct flow *a, const struct flow *b)
{
    if (a->src.version != b->src.version)
        return a->src.version < b->src.version ? -1 : 1;
    return memcmp(a->src.b, b->src.b, 16);
}

static int compare_key(const struct flow *a, const struct flow *b)
{
    int c = compare_source(a, b);
    if (c == 0)
        c = memcmp(a->dst.b, b->dst.b, 16);
    const int fields[][2] = {
        {a->proto, b->proto}, {a->has & HAS_PORT, b->has & HAS_PORT}, {a->port, b->port},
        {a->ttl, b->ttl},     {a->tcp_flags, b->tcp_flags},           {a->marks, b->marks},
    };
    for (size_t i = 0; c == 0 && i < ARRAY_SIZE(fields); i++)
        c = fields[i][0] - fields[i][1];
    return c;
}

static void check_order(const struct flow *before, const struct flow *now, enum flow_order order)
{
    if (order == FLOW_ORDER_SOURCE)
        assert_true(compare_source(before, now) <= 0);
    if (order == FLOW_ORDER_TIME)
        assert_true(before->ts_ms < now->ts_ms ||
                    (before->ts_ms == now->ts_ms && compare_key(before, now) < 0));
}

static void check_against_model(struct flow_table *t, struct model *m, enum flow_order order)
{
    struct flow_table_totals totals;
    flow_table_settle(t);
    flow_table_totals(t, &totals);
    assert_int_equal(totals.flows, m->n);
    assert_int_equal(totals.flood_packets, 0);
    flow_table_sort(t, order);
    struct flow before, now;
    uint64_t packets = 0;
    for (uint32_t i = 0; i < totals.flows; i++) {
        flow_table_flow(t, i, START_MS, &now);
        packets += now.packets;
        if (i)
            check_order(&before, &now, order);
        before = now;
        const char *difference = model_take(m, &now, START_MS);
        if (difference)
            fail_msg("flow %u: %s", i, difference);
    }
    assert_int_equal(packets, totals.row_packets);
    assert_int_equal(m->left, 0);
    model_clear(m);
    flow_table_clear(t);
}

static void test_equals_model(void **state)
{
    (void)state;
    static struct model model;
    static const uint32_t packets[] = {0, 1, 7, 8, 9, 100, 3000, 12000, 50};
    uint8_t options[40];
    struct rand_source r = {4711};
    for (size_t i = 0; i < sizeof options; i++)
        options[i] = (uint8_t)rand_below(&r, 6);
    struct flow_table *t;
    assert_int_equal(flow_table_new(20000, NULL, &t), 0);
    // one table through many windows: what clear leaves behind would show
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
            for (uint32_t n = 0; n < packets[i]; n++) {
                struct packet p = random_packet(&r, options);
                uint32_t offset = rand_below(&r, 60000);
                flow_table_add(t, &p, offset);
                model_add(&model, &p, offset);
            }
            check_against_model(t, &model, (enum flow_order)(round % 3));
        }
    }
    flow_table_free(t);
}

// What a flooded window comes to.
struct outcome {
    struct flow_table_totals totals;
    uint64_t packets, bytes; // over all rows
    uint32_t slow;           // flows to port 23
    uint32_t n_floods;
    struct flood floods[FLOOD_ROWS_MAX];
};

static void close_window(struct flow_table *t, struct outcome *ret)
{
    memset(ret, 0, sizeof *ret);
    flow_table_settle(t);
    flow_table_totals(t, &ret->totals);
    ret->n_floods = flow_table_floods(t, START_MS, ret->floods);
    assert_true(ret->n_floods <= FLOOD_ROWS_MAX);
    flow_table_sort(t, FLOW_ORDER_SOURCE);
    for (uint32_t i = 0; i < ret->totals.flows; i++) {
        struct flow flow;
        flow_table_flow(t, i, START_MS, &flow);
        ret->packets += flow.packets;
        ret->bytes += flow.bytes;
        ret->slow += flow.port == 23;
    }
    assert_int_equal(ret->packets, ret->totals.row_packets);
    for (uint32_t i = 0; i < ret->n_floods; i++) {
        ret->packets += ret->floods[i].packets;
        ret->bytes += ret->floods[i].bytes;
    }
    assert_int_equal(ret->packets, ret->totals.row_packets + ret->totals.flood_packets);
    flow_table_clear(t);
}

// packets from sources of their own on ports[], one slow scanner of port 23 every so often
static void flood_ports(struct flow_table *t, uint32_t packets, const uint16_t *ports,
                        uint32_t n_ports, uint32_t scanners)
{
    for (uint32_t i = 0; i < packets; i++) {
        struct packet p = make_packet(i * 2654435761u, 6, ports[i % n_ports]);
        p.key.ttl = (uint8_t)(30 + i % 200);
        if (i % (packets / scanners) == packets / scanners - 1)
            p = make_packet(0xc0000200u + i / (packets / scanners), 6, 23);
        flow_table_add(t, &p, i / (packets / 59000 + 1));
    }
}

static void test_flood_keeps_the_slow_scan(void **state)
{
    (void)state;
    static struct outcome o;
    static const uint16_t ports[] = {80, 443, 445, 8080, 22, 3389};
    struct flow_table *t;
    assert_int_equal(flow_table_new(65536, NULL, &t), 0);
    for (uint32_t n = 1; n <= ARRAY_SIZE(ports); n++) {
        flood_ports(t, 600000, ports, n, 50);
        close_window(t, &o);
        assert_int_equal(o.packets, 600000);
        assert_int_equal(o.bytes, 600000 * 40);
        assert_int_equal(o.slow, 50);
        assert_true(o.totals.rebuilds <= 6);
        assert_int_equal(o.n_floods, n);
        for (uint32_t i = 0; i < n; i++) {
            const struct flood *f = &o.floods[i];
            assert_true(f->has_port && f->has_sources && f->tcp_flags == 2 && f->proto == 6);
            assert_true(f->ttl_min >= 30 && f->ttl_max <= 229 && f->ttl_max - f->ttl_min > 150);
            double error = (double)f->sources_estimate / (double)f->packets - 1;
            assert_true(error < 0.04 && error > -0.04);
        }
    }
    flow_table_free(t);
}

// One packet of each of 50 scanners of port 23.
static void scan(struct flow_table *t, uint32_t offset_ms)
{
    for (uint32_t i = 0; i < 50; i++) {
        struct packet p = make_packet(0xc0000200u + i, 6, 23);
        flow_table_add(t, &p, offset_ms);
    }
}

static void flood_all_ports(struct flow_table *t, struct rand_source *r, uint32_t packets)
{
    for (uint32_t i = 0; i < packets; i++) {
        struct packet p = make_packet((uint32_t)rand_next(r), 6, (uint16_t)rand_next(r));
        flow_table_add(t, &p, 30000);
    }
}

// Of the scanners' flows, how many have that many packets.
static uint32_t scanners_with(struct flow_table *t, uint32_t packets)
{
    struct flow_table_totals totals;
    uint32_t n = 0;
    flow_table_settle(t);
    flow_table_totals(t, &totals);
    flow_table_sort(t, FLOW_ORDER_NONE);
    for (uint32_t i = 0; i < totals.flows; i++) {
        struct flow flow;
        flow_table_flow(t, i, START_MS, &flow);
        n += flow.port == 23 && (flow.src.b[3] & 0xc0) == 0xc0 && flow.src.b[1] == 2 &&
             flow.src.b[2] == 0 && flow.packets == packets;
    }
    return n;
}

// No port is to blame, so no limit helps; but the scanners were there before the flood.
static void test_flood_on_all_ports_keeps_who_came_before(void **state)
{
    (void)state;
    static struct outcome o;
    struct rand_source r = {31};
    struct flow_table *t;
    assert_int_equal(flow_table_new(65536, NULL, &t), 0);
    scan(t, 1);
    close_window(t, &o);
    flood_ports(t, 600000, (const uint16_t[]){80}, 1, 50); // the scanners' one packet each
    close_window(t, &o);
    assert_int_equal(o.slow, 50);
    for (uint32_t window = 0; window < 5; window++) { // beyond what a generation remembers
        // before the table is full, and long after
        flood_all_ports(t, &r, window % 2 ? 60000 : 300000);
        scan(t, 40000);
        flood_all_ports(t, &r, window % 2 ? 540000 : 300000);
        assert_int_equal(scanners_with(t, 1), 50);
        close_window(t, &o);
        assert_int_equal(o.packets, 600050);
        assert_int_equal(o.bytes, 600050 * 40);
        assert_int_equal(o.totals.rebuilds, 6);
        assert_true(o.totals.flows >= 65536 / 4 * 3 && o.totals.flows < 65536);
    }
    flow_table_free(t);
}

// Nobody knew them before, but they come again: from then on they have rows of their own.
static void test_flood_on_all_ports_keeps_who_comes_again(void **state)
{
    (void)state;
    static struct outcome o;
    struct rand_source r = {32};
    struct flow_table *t;
    assert_int_equal(flow_table_new(65536, NULL, &t), 0);
    for (uint32_t part = 0; part < 4; part++) {
        flood_all_ports(t, &r, 100000);
        scan(t, 20000 + part);
    }
    assert_int_equal(scanners_with(t, 3), 50); // the first packet was folded
    close_window(t, &o);
    assert_int_equal(o.packets, 400200);
    flood_all_ports(t, &r, 100000);
    scan(t, 50000);
    assert_int_equal(scanners_with(t, 1), 50);
    flow_table_free(t);
}

// A table that those fill who came before stays as it is: nobody is better than they.
static void test_a_table_full_of_who_came_before(void **state)
{
    (void)state;
    static struct outcome o;
    struct flow_table *t;
    assert_int_equal(flow_table_new(1024, NULL, &t), 0);
    for (uint32_t window = 0; window < 2; window++) {
        for (uint32_t i = 0; i < 1000 + 500 * window; i++) {
            struct packet p = make_packet(i, 6, (uint16_t)(1000 + i));
            flow_table_add(t, &p, 0);
            flow_table_add(t, &p, 0);
        }
        close_window(t, &o);
        assert_int_equal(o.packets, 2 * (1000 + 500 * window));
        assert_int_equal(o.totals.flows, 1000 + 24 * window);
    }
    flow_table_free(t);
}

static void test_seen_forgets_in_order(void **state)
{
    (void)state;
    struct seen *s;
    struct rand_source r = {33};
    uint32_t wrong = 0;
    assert_int_equal(seen_new(&s), 0);
    seen_add(s, 0);
    for (uint32_t i = 0; i < SEEN_GENERATION; i++) {
        assert_true(seen_has(s, 0));
        seen_add(s, (uint32_t)rand_next(&r));
        seen_add(s, 0); // known already: nothing new
    }
    for (uint32_t i = 0; i < 100000; i++)
        wrong += seen_has(s, (uint32_t)rand_next(&r));
    assert_true(wrong < 100);
    for (uint32_t i = 0; i < 3 * SEEN_GENERATION; i++)
        seen_add(s, (uint32_t)rand_next(&r));
    assert_false(seen_has(s, 0));
    seen_free(s);
    seen_free(NULL);
}

static void test_seen_again_is_bounded(void **state)
{
    (void)state;
    struct seen *s;
    struct rand_source r = {34};
    uint32_t again = 0;
    assert_int_equal(seen_new(&s), 0);
    assert_false(seen_again(s, 7));
    assert_true(seen_again(s, 7));
    for (uint32_t i = 0; i < 2000000; i++)
        again += seen_again(s, (uint32_t)rand_next(&r));
    // hashes of 32 bits repeat: 400,000 of them are a ten-thousandth of all
    assert_true(again < 2000000 / 500);
    assert_true(seen_again(s, 7));
    seen_window(s);
    assert_false(seen_again(s, 7));
    seen_free(s);
}

static void test_same_key_is_never_in_two_rows(void **state)
{
    (void)state;
    static struct outcome o;
    static const uint16_t ports[] = {80, 443};
    struct flow_table *t;
    assert_int_equal(flow_table_new(4096, NULL, &t), 0);
    // every source comes twice, before and after the folding
    flood_ports(t, 20000, ports, 2, 50);
    flood_ports(t, 20000, ports, 2, 50);
    close_window(t, &o);
    assert_int_equal(o.packets, 40000);
    assert_int_equal(o.slow, 50);
    assert_int_equal(o.totals.row_packets % 2, 0); // a row that is kept has both its packets
    flow_table_free(t);
}

// By destination, protocol, port and flags.
static int flood_key_compare(const struct flood *a, const struct flood *b)
{
    uint8_t keys[2][22];
    const struct flood *rows[] = {a, b};
    for (unsigned i = 0; i < 2; i++) {
        keys[i][0] = rows[i]->dst.version;
        memcpy(&keys[i][1], rows[i]->dst.b, 16);
        keys[i][17] = rows[i]->proto;
        keys[i][18] = rows[i]->has_port;
        keys[i][19] = (uint8_t)(rows[i]->port >> 8);
        keys[i][20] = (uint8_t)rows[i]->port;
        keys[i][21] = rows[i]->tcp_flags;
    }
    return memcmp(keys[0], keys[1], sizeof keys[0]);
}

static void test_flood_rows_are_bounded(void **state)
{
    (void)state;
    static struct outcome o;
    struct flow_table *t;
    assert_int_equal(flow_table_new(1024, NULL, &t), 0);
    // random ports, destinations and protocols, IPv4 and IPv6: every level of folding
    for (uint32_t i = 0; i < 200000; i++) {
        struct packet p = make_packet(i, (uint8_t)(i % 7 ? i >> 8 : 6), (uint16_t)(i * 40503u));
        p.key.dst[3] = (uint8_t)(i % 100);
        p.key.version = i % 3 ? 4 : 6;
        p.key.has_port = p.key.proto == 6 || p.key.proto == 17;
        p.key.port = p.key.has_port ? p.key.port : 0;
        flow_table_add(t, &p, 0);
    }
    close_window(t, &o);
    assert_int_equal(o.packets, 200000);
    assert_int_equal(o.bytes, 200000 * 40);
    assert_int_equal(o.n_floods, FLOOD_ROWS_MAX);
    uint32_t port_rows = 0, folded = 0, estimates = 0, rest = 0;
    for (uint32_t i = 0; i < o.n_floods; i++) {
        const struct flood *f = &o.floods[i];
        port_rows += f->has_port;
        estimates += f->has_sources;
        rest += f->dst.b[0] == 0;
        folded += !f->has_port && f->dst.b[0] != 0;
        if (!f->has_port)
            assert_int_equal(f->tcp_flags, 0);
        if (i)
            assert_true(flood_key_compare(f - 1, f) < 0);
    }
    assert_int_equal(port_rows, FLOOD_PORT_ROWS);
    assert_int_equal(folded, FLOOD_DST_ROWS);
    assert_int_equal(estimates, FLOOD_ESTIMATES);
    assert_int_equal(rest, FLOOD_OTHER_ROWS);
    // the next window starts as if nothing had been
    flood_ports(t, 100, (const uint16_t[]){80}, 1, 50);
    close_window(t, &o);
    assert_int_equal(o.packets, 100);
    assert_int_equal(o.n_floods, 0);
    assert_int_equal(o.totals.rebuilds, 0);
    flow_table_free(t);
}

static void test_flood_of_two_kinds_of_segments(void **state)
{
    (void)state;
    static struct outcome o;
    struct flow_table *t;
    assert_int_equal(flow_table_new(1024, NULL, &t), 0);
    for (uint32_t i = 0; i < 20000; i++) {
        struct packet p = make_packet(i * 2654435761u, 6, 80);
        p.key.tcp_flags = i % 2 ? 2 : 16;
        flow_table_add(t, &p, 0);
    }
    close_window(t, &o);
    assert_int_equal(o.packets, 20000);
    assert_int_equal(o.n_floods, 2);
    assert_int_equal(o.floods[0].tcp_flags, 2);
    assert_int_equal(o.floods[1].tcp_flags, 16);
    flow_table_free(t);
}

// Whatever is flooded, the others keep their rows: each protocol's ports have a limit of their own.
static void test_every_kind_of_flood_has_its_limit(void **state)
{
    (void)state;
    static struct outcome o;
    static const struct {
        uint8_t proto, version;
        bool has_port;
    } kinds[] = {{1, 4, true}, {17, 4, true}, {58, 6, true}, {47, 4, false}, {6, 4, false}};
    struct flow_table *t;
    assert_int_equal(flow_table_new(4096, NULL, &t), 0);
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        for (uint32_t i = 0; i < 50000; i++) {
            struct packet p = make_packet(i, kinds[k].proto, kinds[k].has_port ? 2048 : 0);
            p.key.version = kinds[k].version;
            p.key.has_port = kinds[k].has_port;
            if (i % 1000 == 999)
                p = make_packet(0xc0000200u + i / 1000, 6, 23);
            flow_table_add(t, &p, 0);
        }
        close_window(t, &o);
        assert_int_equal(o.packets, 50000);
        assert_int_equal(o.slow, 50);
        assert_int_equal(o.n_floods, 1);
        assert_int_equal(o.floods[0].proto, kinds[k].proto);
        assert_int_equal(o.floods[0].has_port, kinds[k].has_port);
        assert_int_equal(o.floods[0].dst.version, kinds[k].version);
    }
    flow_table_free(t);
}

static void test_estimates_over_seeds(void **state)
{
    (void)state;
    static struct hll h;
    static const uint32_t counts[] = {10, 1000, 20000, 100000, 1000000};
    for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
        double sum = 0, absolute = 0;
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct rand_source r = {seed * 77 + 1};
            memset(&h, 0, sizeof h);
            for (uint32_t i = 0; i < counts[c]; i++)
                hll_add(&h, rand_next(&r));
            double error = (double)hll_estimate(&h) / counts[c] - 1;
            sum += error;
            absolute += error < 0 ? -error : error;
        }
        assert_true(absolute / 20 < 0.01);
        assert_true(sum / 20 < 0.006 && sum / 20 > -0.006);
    }
    memset(&h, 0, sizeof h);
    assert_int_equal(hll_estimate(&h), 0);
}

static void test_sources_exact_then_estimated(void **state)
{
    (void)state;
    struct source_set *s;
    bool estimated;
    assert_int_equal(source_set_new(&s), 0);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < SOURCES_EXACT; i++) {
            struct packet p = make_packet(i, 6, 1);
            p.key.version = i % 2 ? 4 : 6;
            source_set_add(s, source_set_hash(s, &p.key));
        }
        assert_int_equal(source_set_count(s, &estimated), SOURCES_EXACT);
        assert_false(estimated);
    }
    struct packet p = make_packet(SOURCES_EXACT, 6, 1);
    source_set_add(s, source_set_hash(s, &p.key));
    uint64_t n = source_set_count(s, &estimated);
    assert_true(estimated);
    assert_true(n > 96000 && n < 104000);
    source_set_free(s);
}

static void test_sources_come_with_the_window(void **state)
{
    (void)state;
    static struct outcome o;
    struct source_set *s;
    struct flow_table *t;
    bool estimated;
    assert_int_equal(source_set_new(&s), 0);
    assert_int_equal(flow_table_new(1024, s, &t), 0);
    flood_ports(t, 30000, (const uint16_t[]){80}, 1, 50);
    close_window(t, &o);
    assert_true(o.totals.flood_packets > 0);
    assert_int_equal(source_set_count(s, &estimated), 30000); // flows and flood rows alike
    flow_table_free(t);
    source_set_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_model),
        cmocka_unit_test(test_flood_keeps_the_slow_scan),
        cmocka_unit_test(test_flood_on_all_ports_keeps_who_came_before),
        cmocka_unit_test(test_flood_on_all_ports_keeps_who_comes_again),
        cmocka_unit_test(test_a_table_full_of_who_came_before),
        cmocka_unit_test(test_seen_forgets_in_order),
        cmocka_unit_test(test_seen_again_is_bounded),
        cmocka_unit_test(test_same_key_is_never_in_two_rows),
        cmocka_unit_test(test_flood_rows_are_bounded),
        cmocka_unit_test(test_flood_of_two_kinds_of_segments),
        cmocka_unit_test(test_every_kind_of_flood_has_its_limit),
        cmocka_unit_test(test_estimates_over_seeds),
        cmocka_unit_test(test_sources_exact_then_estimated),
        cmocka_unit_test(test_sources_come_with_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
