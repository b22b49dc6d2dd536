// Small parts of the collector: accounting slots, the map, array texts, the CSV, TCP option
// layouts, memory and credit.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/array.h"
#include "collector/clock_watch.h"
#include "collector/dims.h"
#include "collector/map.h"
#include "collector/message.h"
#include "collector/observe.h"
#include "collector/organisations.h"
#include "collector/quiet.h"
#include "collector/scanners.h"
#include "collector/text.h"
#include "tests/unit/rand_batch.h"

static void test_map_against_array(void **state)
{
    (void)state;
    static uint32_t model[5000]; // 0: absent
    struct map *map;
    struct rand_source source = {3};
    assert_int_equal(map_new(sizeof(uint64_t), &map), 0);
    for (int i = 0; i < 50000; i++) {
        uint64_t key = rand_below(&source, ARRAY_SIZE(model));
        uint32_t value = 1 + rand_below(&source, 1000);
        if (i == 30000) {
            map_clear(map);
            memset(model, 0, sizeof model);
        }
        if (rand_below(&source, 2)) {
            assert_int_equal(map_put(map, &key, value), 0);
            model[key] = value;
        }
        const uint32_t *got = map_get(map, &key);
        assert_int_equal(got ? *got : 0, model[key]);
    }
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(model); i++)
        n += model[i] != 0;
    assert_int_equal(map_count(map), n);
    map_free(map);
}

static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(slot_of(0), 0);
    assert_int_equal(slot_of(SLOT_MS - 1), 0);
    assert_int_equal(slot_of(SLOT_MS), SLOT_MS);
    assert_int_equal(slot_of(-1), -SLOT_MS);
    assert_int_equal(slot_of(-SLOT_MS), -SLOT_MS);
}

static void test_runs_spread_over_slots(void **state)
{
    static const struct {
        uint32_t windows;
        size_t slots;
    } cases[] = {{1, 1}, {14, 1}, {15, 2}, {29, 2}, {30, 3}, {1440, 97}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct observations *o;
        assert_int_equal(observations_new(&o), 0);
        // begins one window into a slot
        const struct window_record r = {.start_ms = 10 * SLOT_MS + 60000,
                                        .windows = cases[i].windows,
                                        .covered_ms = cases[i].windows * 60000};
        assert_int_equal(observations_add(o, 1, &r, 60000), 0);
        assert_int_equal(observations_count(o), cases[i].slots);
        observations_free(o);
    }
}

// As array_recv reads them (documentation of libpq: none; source of array_send).
static void test_binary_arrays(void **state)
{
    static const char two[] = "\0\0\0\1\0\0\0\1\0\0\0\25\0\0\0\2\0\0\0\1"
                              "\0\0\0\2\377\376\377\377\377\377";
    static const char empty[] = "\0\0\0\0\0\0\0\0\0\0\0\24";
    (void)state;
    struct array arrays[2] = {0};
    const char *values[2];
    int lengths[2];
    for (int round = 0; round < 2; round++) { // memory is used again
        array_begin(&arrays[0], ARRAY_INT2);
        array_begin(&arrays[1], ARRAY_INT8);
        array_int2(&arrays[0], -2);
        array_null(&arrays[0]);
        assert_int_equal(array_end(arrays, 2, values, lengths), 0);
        assert_int_equal(lengths[0], sizeof two - 1);
        assert_memory_equal(values[0], two, sizeof two - 1);
        assert_int_equal(lengths[1], sizeof empty - 1);
        assert_memory_equal(values[1], empty, sizeof empty - 1);
    }
    array_release(arrays, 2);
}

static void test_array_texts(void **state)
{
    (void)state;
    struct text t = {0};
    text_array_end(&t);
    assert_string_equal(t.p, "{}");
    text_clear(&t);
    text_array_int(&t, -5);
    text_array_null(&t);
    text_array_word(&t, "a b");
    text_array_word(&t, NULL);
    text_array_end(&t);
    assert_string_equal(t.p, "{-5,NULL,\"a b\",NULL}");
    text_clear(&t);
    for (int i = 0; i < 1000; i++)
        text_array_int(&t, i);
    text_array_end(&t);
    assert_int_equal(t.used, 2 + 999 + 10 + 180 + 2700);
    assert_false(t.bad);
    text_release(&t);
}

static void test_layouts(void **state)
{
    static const struct {
        struct tcp_options options;
        const char *text;
    } cases[] = {
        {{0}, ""},
        {{.n = 5, .kinds = {2, 4, 8, 1, 3}}, "mss,sok,ts,nop,ws"},
        {{.n = 3, .kinds = {1, 1, 0}}, "nop,nop,eol"},
        {{.n = 3, .kinds = {5, 34, OPT_KIND_MORE}}, "sack,?34,..."},
    };
    (void)state;
    char text[DIMS_LAYOUT_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        dims_layout(&cases[i].options, text);
        assert_string_equal(text, cases[i].text);
    }
    struct tcp_options longest = {.n = OPT_KINDS_MAX};
    memset(longest.kinds, 254, sizeof longest.kinds);
    dims_layout(&longest, text);
    assert_int_equal(strlen(text), 4 * OPT_KINDS_MAX + OPT_KINDS_MAX - 1);
}

// Reads a CSV from memory.
static int read_csv(const char *text, struct organisations *ret, size_t *ret_refused,
                    struct errmsg *e)
{
    FILE *f = fmemopen((void *)text, strlen(text), "r");
    struct refusals refusals = {.file = "test", .lines = REFUSALS_SHOWN}; // silent
    assert_non_null(f);
    int r = organisations_read(f, &refusals, ret, e);
    fclose(f);
    *ret_refused = refusals.n;
    return r;
}

static void test_csv(void **state)
{
    (void)state;
    struct organisations o;
    struct errmsg e;
    size_t refused;
    assert_int_equal(
        read_csv("name,prefixes,contacts,tlp\r\n"
                 "\"Example, \"\"Inc\"\"\",198.18.0.0/20;198.19.0.0/24,\"a\nb\",GREEN\r\n"
                 "B, 2001:db8::/32 ,,\r\n",
                 &o, &refused, &e),
        0);
    assert_int_equal(refused, 0);
    assert_int_equal(o.n, 2);
    assert_string_equal(o.list[0].name, "Example, \"Inc\"");
    assert_string_equal(o.list[0].prefixes, "{\"198.18.0.0/20\",\"198.19.0.0/24\"}");
    assert_string_equal(o.list[0].contacts, "a\nb");
    assert_string_equal(o.list[1].tlp, "AMBER");
    organisations_release(&o);
}

static void test_csv_refusals(void **state)
{
    static const char *const bad[] = {
        ",198.18.0.0/20,,",           "A,,,", "A,198.18.0.1/20,,", "A,198.18.0.0/20,,PINK",
        "G,198.18.0.0/20,,", // there already
        "A,198.18.0.0/20;nonsense,,",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct organisations o;
        size_t refused;
        char text[256];
        snprintf(text, sizeof text, "name,prefixes,contacts,tlp\nG,10.0.0.0/8,,RED\n%s\n", bad[i]);
        assert_int_equal(read_csv(text, &o, &refused, NULL), 0);
        assert_int_equal(refused, 1);
        assert_int_equal(o.n, 1);
        organisations_release(&o);
    }
}

static void test_csv_of_another_kind(void **state)
{
    static const char *const bad[] = {
        "prefix,country\n10.0.0.0/8,JP\n",
        "\n\n",
        "name,prefixes\nA,\"10.0.0.0/8\n",
        "name,prefixes\nA,\"10.0.0.0/8\"x,\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct organisations o;
        struct errmsg e = {""};
        size_t refused;
        assert_int_equal(read_csv(bad[i], &o, &refused, &e), -EINVAL);
        assert_string_not_equal(e.text, "");
    }
}

// A quote that does not end is found before it has swallowed the file, and named where it begins.
static void test_csv_quote_without_an_end(void **state)
{
    (void)state;
    enum { LINES = 3000, LONG = 1 << 20 };
    struct organisations o;
    struct errmsg e = {""};
    size_t refused;
    _cleanup_(freep) char *text = malloc(LINES * 40 + 6 * LONG);
    assert_non_null(text);
    char *p = text + sprintf(text, "name,prefixes\nA,10.0.0.0/8\nB,\"10.0.0.0/8\n");
    char *start = p;
    for (int i = 0; i < LINES; i++)
        p += sprintf(p, "C%d,10.0.0.0/8\n", i);
    assert_int_equal(read_csv(text, &o, &refused, &e), -EINVAL);
    assert_non_null(
        strstr(e.text, "line 3: a quoted field begins here and has no end within 1000 lines"));
    *start = '\0';
    assert_int_equal(read_csv(text, &o, &refused, &e), -EINVAL);
    assert_non_null(strstr(e.text, "line 3: a quoted field begins here and has no end"));
    p = start;
    for (int i = 0; i < 5; i++, p += LONG)
        memset(p, i == 4 ? 'y' : 'x', LONG - 1), p[LONG - 1] = '\n';
    *p = '\0';
    assert_int_equal(read_csv(text, &o, &refused, &e), -EINVAL);
    assert_non_null(
        strstr(e.text, "line 3: a quoted field begins here and has no end within 4 MiB"));
    // Many lines in one field, and many such fields, are good as long as they end.
    p = text + sprintf(text, "name,prefixes,contacts\n");
    for (int i = 0; i < 3; i++) {
        p += sprintf(p, "D%d,10.0.0.0/8,\"", i);
        for (int k = 0; k < 900; k++)
            p += sprintf(p, "line\n");
        p += sprintf(p, "\"\n");
    }
    assert_int_equal(read_csv(text, &o, &refused, &e), 0);
    assert_int_equal(o.n, 3);
    organisations_release(&o);
}

// One line for each in ten minutes, ten a minute in all, however many come; the rest is told.
static void test_quiet(void **state)
{
    (void)state;
    struct quiet q = {0};
    char more[QUIET_MORE_MAX], whom[16];
    assert_true(quiet_allows(&q, "a", 0, more));
    assert_string_equal(more, "");
    for (int i = 0; i < 5; i++)
        assert_false(quiet_allows(&q, "a", 1000 * i, more));
    assert_true(quiet_allows(&q, "b", 5000, more));
    assert_string_equal(more, " (and 5 more such since)");
    assert_false(quiet_allows(&q, "a", QUIET_AGAIN_MS, more));
    assert_true(quiet_allows(&q, "a", QUIET_AGAIN_MS + 1, more));
    int lines = 0;
    for (int i = 0; i < 60000; i++) { // a minute of strangers, each another one
        snprintf(whom, sizeof whom, "x%d", i);
        lines += quiet_allows(&q, whom, 2LL * QUIET_AGAIN_MS + i, more);
    }
    assert_int_equal(lines, QUIET_MINUTE);
    assert_true(quiet_allows(&q, "c", 2LL * QUIET_AGAIN_MS + 60000, more));
    assert_string_equal(more, " (and 59990 more such since)");
}

// Comments before the heading count as lines.
static void test_csv_line_numbers(void **state)
{
    (void)state;
    char text[] = "# a list\n\nprefix,nome\n198.18.0.0/20,A\n";
    struct refusals refusals = {.file = "list"};
    struct scanner_list list = {0};
    struct errmsg e = {""};
    FILE *f = fmemopen(text, strlen(text), "r");
    assert_non_null(f);
    assert_int_equal(scanners_read(f, NULL, &refusals, &list, &e), -EINVAL);
    assert_non_null(strstr(e.text, "line 3:"));
    fclose(f);
    scanner_list_release(&list);
}

static struct message *new_message(struct budget *budget, int16_t sensor, size_t size, int *ret)
{
    zmq_msg_t header, payload;
    struct message *m = NULL;
    zmq_msg_init(&header);
    zmq_msg_init_size(&payload, size);
    *ret = message_new(budget, sensor, &header, &payload, &m);
    zmq_msg_close(&header);
    zmq_msg_close(&payload);
    return m;
}

static void test_one_sensor_cannot_take_the_budget(void **state)
{
    (void)state;
    struct budget *budget = calloc(1, sizeof *budget);
    struct message *held[64];
    size_t n = 0;
    int r;
    budget->limit = 64 << 20;
    while (n < 64 && (held[n] = new_message(budget, 1, 1 << 20, &r)))
        n++;
    assert_int_equal(r, -EDQUOT);
    assert_in_range(n, 2 * CREDIT_SENSOR_MAX >> 20, 8); // sent twice fits
    struct message *other = new_message(budget, 2, 1 << 20, &r);
    assert_int_equal(r, 0);
    assert_int_equal(budget_credit(budget, 3), CREDIT_SENSOR_MAX);
    message_free(other);
    while (n > 0)
        message_free(held[--n]);
    assert_int_equal(budget->used, 0);
    free(budget);
}

static void test_budget(void **state)
{
    (void)state;
    struct budget *budget = calloc(1, sizeof *budget);
    struct message *held[16];
    int r;
    budget->limit = 8 << 20;
    assert_int_equal(budget_credit(budget, 3), CREDIT_SENSOR_MAX);
    for (int i = 0; i < 7; i++) {
        held[i] = new_message(budget, (int16_t)(1 + i % 2), 1 << 20, &r);
        assert_int_equal(r, 0);
    }
    assert_int_equal(budget_credit(budget, 3), CREDIT_BATCH); // shares shrink
    assert_null(new_message(budget, 1, 1 << 20, &r));
    assert_int_equal(r, -ENOBUFS);
    held[7] = new_message(budget, 1, (1 << 20) - 64 * 1024, &r);
    assert_int_equal(budget_credit(budget, 3), 0);
    message_release(held[7]); // gives back once
    message_free(held[7]);
    for (int i = 0; i < 7; i++)
        message_free(held[i]);
    assert_int_equal(budget->used, 0);
    assert_int_equal(budget->by_sensor[1], 0);
    assert_int_equal(budget->by_sensor[2], 0);
    free(budget);
}

static void test_missed_messages(void **state)
{
    (void)state;
    struct budget *budget = calloc(1, sizeof *budget);
    struct message *m, *again;
    int r;
    budget->limit = 8 << 20;
    assert_int_equal(message_missed(budget, 7, &m), 1);
    assert_true(m->missed && m->sensor_id == 7);
    assert_true(message_is_missed(budget, 7));
    assert_false(message_is_missed(budget, 8));
    assert_int_equal(message_missed(budget, 7, &again), 0); // one for each sensor
    assert_ptr_equal(again, m);
    assert_int_equal(budget->used, 0);
    message_missed_over(budget, m);
    assert_false(message_is_missed(budget, 7));
    message_free(m);
    assert_int_equal(budget_may_ask(budget), 32); // 128 KiB each in half of it
    m = new_message(budget, 1, 3 << 20, &r);
    assert_int_equal(budget_may_ask(budget), 7);
    again = new_message(budget, 2, 3 << 20, &r);
    assert_int_equal(budget_may_ask(budget), 1); // never none
    budget->paused = true;
    assert_int_equal(budget_may_ask(budget), 0); // but while nothing is committed
    message_free(again);
    message_free(m);
    free(budget);
}

static void beat(struct heartbeats *h, int16_t sensor_id, int64_t heard_ms, int64_t offset_ms)
{
    struct heartbeat b = {.sensor_id = sensor_id, .received_mono_ms = heard_ms};
    b.beat.clock_offset_ms = offset_ms;
    assert_int_equal(heartbeats_put(h, &b), 0);
}

static void test_whose_clock_is_off(void **state)
{
    (void)state;
    _cleanup_(heartbeats_freep) struct heartbeats *h = NULL;
    struct clock_signs signs = {.limit_ms = 5000};
    struct heartbeats_clocks *s = &signs.sensors;
    const int64_t day = 86400000;
    assert_int_equal(heartbeats_new(&h), 0);
    heartbeats_clocks(h, 0, 5000, s);
    assert_int_equal(clock_watch_judge(&signs), CLOCK_GOOD); // nobody tells
    signs.database_ms = -2 * day;
    assert_int_equal(clock_watch_judge(&signs), CLOCK_OURS);
    beat(h, 1, 100, 3 * day);
    beat(h, 2, 100, 3 * day + 40);
    beat(h, 3, 100, 20);
    beat(h, 4, 99, 3 * day); // too long ago
    heartbeats_clocks(h, 100, 5000, s);
    assert_int_equal(s->heard, 3);
    assert_int_equal(s->behind, 2);
    assert_int_equal(s->ahead, 0);
    assert_int_equal(s->median_ms, 3 * day);
    assert_int_equal(clock_watch_judge(&signs), CLOCK_OURS);
    beat(h, 2, 100, -3 * day); // to both sides: the sensors' own fault
    heartbeats_clocks(h, 100, 5000, s);
    assert_int_equal(clock_watch_judge(&signs), CLOCK_DATABASE);
    signs.database_ms = 5000;
    assert_int_equal(clock_watch_judge(&signs), CLOCK_GOOD);
    beat(h, 1, 100, -5001);
    heartbeats_clocks(h, 100, 5000, s);
    assert_int_equal(s->ahead, 2);
    assert_int_equal(clock_watch_judge(&signs), CLOCK_OURS);
}

static void test_queue(void **state)
{
    (void)state;
    struct budget *budget = calloc(1, sizeof *budget);
    struct queue *q;
    int r;
    budget->limit = 8 << 20;
    assert_int_equal(queue_new(&q), 0);
    assert_null(queue_pop(q, 0));
    struct message *a = new_message(budget, 1, 10, &r), *b = new_message(budget, 1, 10, &r);
    queue_push(q, a);
    queue_push(q, b);
    assert_ptr_equal(queue_pop(q, 1000), a);
    queue_close(q);
    assert_ptr_equal(queue_pop(q, 1000), b); // what waits is still given out
    assert_null(queue_pop(q, 100000));
    queue_pause(q, 100000);
    queue_push(q, a);
    queue_push(q, b);
    queue_free(q); // and frees what is left
    assert_int_equal(budget->used, 0);
    free(budget);
}

static void *push_three(void *data)
{
    struct queue *q = data;
    for (int i = 0; i < 3; i++)
        queue_push(q, message_new_bare((int16_t)i));
    return NULL;
}

static void test_queue_in_bulk(void **state)
{
    (void)state;
    struct queue *q;
    pthread_t thread;
    assert_int_equal(queue_new(&q), 0);
    assert_null(queue_take(q, 0));
    assert_int_equal(queue_wait(q, 1, 1), 0);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(pthread_create(&thread, NULL, push_three, q), 0);
        assert_int_equal(queue_wait(q, 3, 100000), 3);
        pthread_join(thread, NULL);
        struct message *m = queue_take(q, round % 2 ? 100000 : 0);
        for (int16_t i = 0; i < 3; i++) {
            assert_non_null(m);
            assert_int_equal(m->sensor_id, i);
            struct message *next = m->next;
            message_free(m);
            m = next;
        }
        assert_null(m);
        assert_null(queue_pop(q, 0));
    }
    assert_int_equal(pthread_create(&thread, NULL, push_three, q), 0);
    struct message *m = queue_take(q, 100000); // as soon as one is there
    pthread_join(thread, NULL);
    assert_int_equal(m->sensor_id, 0);
    while (m) {
        struct message *next = m->next;
        message_free(m);
        m = next;
    }
    queue_close(q);
    assert_true(queue_wait(q, 4, 100000) < 3);
    queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_against_array),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_runs_spread_over_slots),
        cmocka_unit_test(test_binary_arrays),
        cmocka_unit_test(test_array_texts),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_csv_refusals),
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_csv_quote_without_an_end),
        cmocka_unit_test(test_csv_of_another_kind),
        cmocka_unit_test(test_csv_line_numbers),
        cmocka_unit_test(test_one_sensor_cannot_take_the_budget),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_missed_messages),
        cmocka_unit_test(test_whose_clock_is_off),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_queue_in_bulk),
    };
    return cmocka_run_group_tests_name("collector_parts", tests, NULL, NULL);
}
