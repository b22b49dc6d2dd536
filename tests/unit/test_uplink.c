// The uplink with its threads, a real spool and a real CURVE socket, against a collector played by
// the test.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "sensor/uplink_internal.h"
#include "tests/unit/uplink_bench.h"

static void deliver(enum manner manner, unsigned spools, uint64_t frames)
{
    struct fake *f = fake_new(manner);
    struct bench b;
    bench_open(&b, f);
    bench_start(&b);
    for (uint64_t i = 1; i <= 30; i++)
        bench_seal(&b, i);
    queue_close(b.queue);
    struct errmsg e;
    int outcome = uplink_join(b.uplink, &e);
    if (outcome != 0)
        fail_msg("manner %d: %s", (int)manner, e.text);
    struct uplink_view view;
    uplink_view(b.uplink, &view);
    assert_true(view.ended);
    assert_int_equal(view.spooled, 30);
    assert_int_equal(view.waiting, 0);
    bench_close(&b);
    fake_halt(f);
    assert_int_equal(f->spools, spools);
    assert_int_equal(f->frames, frames);
    fake_free(f);
}

static void test_plain(void **state)
{
    (void)state;
    deliver(PLAIN, 1, 30 * 31 / 2);
}

static void test_gap(void **state)
{
    (void)state;
    deliver(GAP_ONCE, 1, 30 * 31 / 2);
}

static void test_fork(void **state)
{
    (void)state;
    deliver(FORK_ONCE, 2, 30 * 31 / 2 - 1); // number 1 stays in the first spool
}

static void wait_until(atomic_uint *value, unsigned least)
{
    for (int ms = 0; *value < least; ms++) {
        if (ms > WAIT_MS)
            fail_msg("waited in vain");
        usleep(1000);
    }
}

static void test_credit_0_pings_only(void **state)
{
    (void)state;
    struct fake *f = fake_new(POOR);
    struct bench b;
    bench_open(&b, f);
    bench_start(&b);
    wait_until(&f->pings, 1);
    for (uint64_t i = 1; i <= 5; i++)
        bench_seal(&b, i);
    queue_close(b.queue);
    wait_until(&f->pings, 2);
    assert_true(f->batches <= 1); // sent before the first pong came, if at all
    f->rich = true;
    assert_int_equal(uplink_join(b.uplink, NULL), 0);
    bench_close(&b);
    fake_halt(f);
    assert_int_equal(f->frames, 15);
    fake_free(f);
}

static void test_stop_leaves_the_rest_in_the_spool(void **state)
{
    (void)state;
    struct fake *f = fake_new(POOR);
    struct bench b;
    bench_open(&b, f);
    bench_start(&b);
    wait_until(&f->pings, 1);
    for (uint64_t i = 1; i <= 5; i++)
        bench_seal(&b, i);
    uplink_stop(b.uplink);
    assert_int_equal(uplink_join(b.uplink, NULL), UPLINK_UNDELIVERED);
    struct uplink_view view;
    uplink_view(b.uplink, &view);
    assert_int_equal(view.waiting, 5);
    uplink_free(b.uplink);
    // The next start delivers them.
    f->rich = true;
    queue_free(b.queue);
    assert_int_equal(queue_new(1 << 20, 64, &b.queue), 0);
    bench_start(&b);
    queue_close(b.queue);
    assert_int_equal(uplink_join(b.uplink, NULL), 0);
    bench_close(&b);
    fake_halt(f);
    assert_int_equal(f->frames, 15);
    fake_free(f);
}

static void test_give_up(void **state)
{
    (void)state;
    struct fake *f = fake_new(PLAIN);
    struct bench b;
    bench_open(&b, f);
    memset(b.config.server_key, 7, KEY_SIZE); // nobody has that key
    b.config.give_up_ms = 500;
    bench_start(&b);
    bench_seal(&b, 1);
    struct errmsg e = {""};
    assert_int_equal(uplink_join(b.uplink, &e), UPLINK_GAVE_UP);
    assert_non_null(strstr(e.text, "server_key"));
    bench_close(&b);
    fake_halt(f);
    assert_int_equal(f->batches, 0);
    fake_free(f);
}

static void test_full_queue_is_declared(void **state)
{
    (void)state;
    _cleanup_(queue_freep) struct queue *q = NULL;
    assert_int_equal(queue_new(1 << 20, 2, &q), 0);
    struct packer_config config = {.queue = q, .run_id = 5};
    struct bench b = {.queue = q};
    assert_int_equal(packer_new(&config, &b.packer), 0);
    for (uint64_t i = 1; i <= 5; i++)
        bench_seal(&b, i); // 3, 4, 5 find no room
    assert_int_equal(packer_dropped(b.packer), 3);
    queue_drop(q, 1);
    assert_int_equal(packer_flush(b.packer, 0), 0);
    struct spool_item items[2];
    assert_int_equal(queue_front(q, items, 2, 1 << 20), 2);
    assert_null(items[1].payload);
    assert_int_equal(items[1].header.frames, 12);
    struct window_record *records;
    size_t n;
    assert_int_equal(
        wire_records_decode(items[1].records, items[1].records_size, &records, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_int_equal(records[2].frames, 5);
    free(records);
    // Beyond a thousand windows: one interval.
    for (uint64_t i = 6; i <= 1200; i++)
        bench_seal(&b, i);
    queue_drop(q, 2);
    assert_int_equal(packer_flush(b.packer, 0), 0);
    assert_int_equal(queue_front(q, items, 2, 1 << 20), 1);
    assert_true(items[0].unknown);
    assert_int_equal(items[0].header.last_window_ms, 1675836000000 + 1201 * 60000LL);
    packer_free(b.packer);
}

// A replay that is told to end while its spool is full keeps what it counted.
static void test_replay_told_to_end_declares_what_found_no_room(void **state)
{
    (void)state;
    _cleanup_(queue_freep) struct queue *q = NULL;
    assert_int_equal(queue_new(1 << 20, 1, &q), 0);
    volatile sig_atomic_t stop = 1;
    struct packer_config config = {.queue = q, .run_id = 5, .wait = true, .stop = &stop};
    struct bench b = {.queue = q};
    assert_int_equal(packer_new(&config, &b.packer), 0);
    bench_seal(&b, 1);
    bench_seal(&b, 2);
    queue_drop(q, 1);
    assert_int_equal(packer_flush(b.packer, 0), 0);
    struct spool_item item;
    assert_int_equal(queue_front(q, &item, 1, 1 << 20), 1);
    assert_null(item.payload);
    assert_int_equal(item.header.frames, 2);
    packer_free(b.packer);
}

// Of a window that takes several batches nothing is whole until the last of them.
static void test_split_window_is_not_whole(void **state)
{
    (void)state;
    _cleanup_(queue_freep) struct queue *q = NULL;
    _cleanup_(packer_freep) struct packer *p = NULL;
    assert_int_equal(queue_new(1 << 20, 2, &q), 0);
    struct packer_config config = {.queue = q, .run_id = 5};
    assert_int_equal(packer_new(&config, &p), 0);
    struct window_record record = {.start_ms = 1675836000000, .windows = 1};
    struct batch batch = {.window_ms = 60000, .n_windows = 1, .windows = &record};
    struct counters counters = {0};
    struct spool_item items[2];
    batch.split = true;
    assert_int_equal(packer_sealed(p, &batch, &counters), 0);
    batch.split = false;
    assert_int_equal(packer_sealed(p, &batch, &counters), 0);
    assert_int_equal(queue_front(q, items, 2, 1 << 20), 2);
    assert_int_equal(items[0].whole_ms, record.start_ms);
    assert_int_equal(items[1].whole_ms, record.start_ms + 60000);
    batch.split = true; // finds no room, and is declared as lost
    assert_int_equal(packer_sealed(p, &batch, &counters), 0);
    queue_drop(q, 2);
    assert_int_equal(packer_flush(p, 0), 0);
    assert_int_equal(queue_front(q, items, 2, 1 << 20), 1);
    assert_int_equal(items[0].whole_ms, record.start_ms);
}

static void stop_and_free(struct bench *b)
{
    uplink_stop(b->uplink);
    (void)uplink_join(b->uplink, NULL);
    uplink_free(b->uplink);
    b->uplink = NULL;
}

// The note beside the spool: the whole of what was read, and that no row tells how far.
static void test_packets_out_of_order_are_noted(void **state)
{
    (void)state;
    struct fake *f = fake_new(PLAIN);
    struct bench b;
    bench_open(&b, f);
    bench_start(&b);
    uplink_note_read(b.uplink, 1675836005000);
    uplink_note_read(b.uplink, 1675836004500); // within what counts as late
    uplink_note_read(b.uplink, 1675839600000);
    uplink_note_read(b.uplink, 1675836001000); // another capture
    stop_and_free(&b);
    char name[160], text[128] = "";
    snprintf(name, sizeof name, "%s.lock", b.path);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "s0 9223372036854775807 1675836001000 1675839600000");
    bench_close(&b);
    fake_halt(f);
    fake_free(f);
}

// What found no room in the queue is declared, though all that is in the queue could be spooled.
static void test_what_is_left_behind_at_the_end_is_declared(void **state)
{
    (void)state;
    struct fake *f = fake_new(PLAIN);
    struct bench b;
    bench_open(&b, f);
    b.config.spool.live = true;
    for (int i = 0; i < 2; i++) {
        bench_start(&b);
        bench_seal(&b, 1);
        if (i == 1)
            uplink_left_behind(b.uplink);
        stop_and_free(&b);
        queue_free(b.queue);
        assert_int_equal(queue_new(1 << 20, 64, &b.queue), 0);
        packer_free(b.packer);
        struct packer_config packer = {.queue = b.queue, .run_id = 5, .wait = true};
        assert_int_equal(packer_new(&packer, &b.packer), 0);
        struct spool *s = NULL;
        struct errmsg e = {""};
        assert_int_equal(spool_open(&b.config.spool, 1675839600000, &s, &e), 0);
        assert_int_equal(spool_next_seq(s), i == 0 ? 2 : 4); // two batches, and a loss
        assert_int_equal(spool_close_clean(s), 0);
        spool_free(s);
    }
    bench_close(&b);
    fake_halt(f);
    fake_free(f);
}

static void test_late_spool_is_left_alone_for_longer_the_longer_it_takes(void **state)
{
    (void)state;
    assert_int_equal(spool_again_ms(0), 2000);
    assert_int_equal(spool_again_ms(100), 2000);
    assert_int_equal(spool_again_ms(1500), 30000);
    assert_int_equal(spool_again_ms(100000), 60000);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_credit_0_pings_only),
        cmocka_unit_test(test_stop_leaves_the_rest_in_the_spool),
        cmocka_unit_test(test_give_up),
        cmocka_unit_test(test_full_queue_is_declared),
        cmocka_unit_test(test_late_spool_is_left_alone_for_longer_the_longer_it_takes),
        cmocka_unit_test(test_replay_told_to_end_declares_what_found_no_room),
        cmocka_unit_test(test_split_window_is_not_whole),
        cmocka_unit_test(test_packets_out_of_order_are_noted),
        cmocka_unit_test(test_what_is_left_behind_at_the_end_is_declared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
