// The spool: order, cap, losses, forks, unclean ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/spool_bench.h"

static void test_order_and_reopening(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    assert_int_equal(spool_next_seq(s), 1);
    struct spool_entry found;
    assert_int_equal(spool_look(s, 1, &found), -ENOENT);
    assert_int_equal(spool_look(s, 0, &found), -ENOENT);
    for (uint64_t i = 1; i <= 20; i++)
        append(s, i);
    uint8_t id[WIRE_SPOOL_ID_SIZE];
    memcpy(id, spool_id(s), sizeof id);
    for (uint64_t i = 1; i <= 20; i++)
        assert_batch(s, i, i);
    assert_int_equal(spool_acked(s, 7, T0 + 99), 0);
    assert_int_equal(spool_acked_through(s), 7);
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&c, T0, 0);
    assert_memory_equal(id, spool_id(s), sizeof id);
    assert_int_equal(spool_acked_through(s), 7);
    assert_int_equal(spool_next_seq(s), 21);
    assert_batch(s, 3, 3); // acknowledged ones stay
    assert_int_equal(spool_rewind(s, 2), 0);
    assert_int_equal(spool_acked_through(s), 2);
    assert_int_equal(spool_acked(s, 5000, T0), 0); // no further than there is
    assert_int_equal(spool_acked_through(s), 20);
    spool_free(s);
}

static void test_acked_goes_first_and_leaves_its_record(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_MIN);
    struct spool *s = open_spool(&c, T0, 0);
    uint64_t i = 0;
    while (i < 10)
        assert_int_equal(append_sized(s, ++i, 100000), 0);
    assert_int_equal(spool_acked(s, 8, T0), 0);
    while (i < 20)
        assert_int_equal(append_sized(s, ++i, 100000), 0);
    assert_int_equal(spool_evicted(s), 0);
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 1, &found, &n);
    assert_int_equal(found.first, 1);
    assert_in_range(n, 1, 8);
    assert_int_equal(found.last, n);
    for (size_t k = 0; k < n; k++) {
        assert_false(items[k].unknown);
        assert_int_equal(items[k].seq_first, k + 1);
        assert_int_equal(items[k].n_records, 1);
        assert_int_equal(items[k].records[0].frames, k + 1);
    }
    free(items);
    for (uint64_t k = 9; k <= 20; k++) {
        assert_int_equal(spool_look(s, k, &found), 0);
        assert_false(found.loss);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size <= SPOOL_CAP_MIN);
    spool_free(s);
}

static void test_full_of_unacknowledged(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_MIN);
    struct spool *s = open_spool(&c, T0, 0);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(append_sized(s, i, 100000), 0);
    uint64_t lost = spool_evicted(s);
    assert_in_range(lost, 75, 95);
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 1, &found, &n);
    assert_int_equal(n, lost);
    uint64_t frames = 0;
    for (size_t k = 0; k < n; k++)
        frames += items[k].records[0].frames;
    assert_int_equal(frames, lost * (lost + 1) / 2);
    assert_string_equal(items[0].reason, "the spool was full");
    free(items);
    struct spool_status status;
    assert_int_equal(spool_status(s, &status), 0);
    assert_int_equal(status.waiting, 100 - lost);
    assert_int_equal(status.lost, lost);
    assert_int_equal(status.waiting_bytes, (100 - lost) * 100000);
    assert_true(status.used_bytes <= SPOOL_CAP_MIN);
    spool_free(s);
}

static void test_keep_all_refuses(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(false, true, SPOOL_CAP_MIN);
    struct spool *s = open_spool(&c, T0, 0);
    uint64_t i = 0;
    int r = 0;
    while (r == 0)
        r = append_sized(s, ++i, 100000);
    assert_int_equal(r, SPOOL_FULL);
    assert_int_equal(spool_next_seq(s), i);
    assert_int_equal(spool_acked(s, 3, T0), 0);
    assert_int_equal(append_sized(s, i, 100000), 0);
    for (uint64_t k = 4; k <= i; k++) {
        struct spool_entry found;
        assert_int_equal(spool_look(s, k, &found), 0);
        assert_false(found.loss);
    }
    assert_int_equal(spool_evicted(s), 0);
    spool_free(s);
}

static void test_losses_are_bounded(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_MIN);
    struct spool *s = open_spool(&c, T0, 0);
    for (uint64_t i = 1; i <= 1500; i++) {
        assert_int_equal(append_sized(s, i, 50000), 0);
        if (i % 2 == 0)
            assert_int_equal(spool_acked(s, i / 2, T0), 0);
    }
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 100, &found, &n);
    assert_int_equal(found.first, 1); // the oldest are one range by now
    assert_true(items[0].unknown);
    assert_true(items[0].seq_last > 100);
    assert_true(items[0].first_ms == T0 + 60000);
    assert_true(items[n - 1].seq_last == found.last);
    free(items);
    // Every number can still be asked for, in order, without a hole.
    uint64_t seq = 1;
    while (seq < spool_next_seq(s)) {
        assert_int_equal(spool_look(s, seq, &found), 0);
        assert_int_equal(found.first, seq);
        seq = found.last + 1;
    }
    assert_int_equal(seq, 1501);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size <= SPOOL_CAP_MIN);
    // A fork in the middle of the range cuts it.
    assert_int_equal(spool_fork(s, 101), 0);
    items = read_losses(s, 1, &found, &n);
    assert_int_equal(items[0].seq_first, 1);
    assert_true(items[0].unknown);
    free(items);
    assert_int_equal(spool_next_seq(s), 1401);
    spool_free(s);
    s = open_spool(&c, T0 + 1500LL * 60000, 0); // and the file is sound
    spool_free(s);
}

static void copy_file(const char *from, const char *to)
{
    _cleanup_(fclosep) FILE *in = fopen(from, "rb");
    _cleanup_(fclosep) FILE *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    char data[4096];
    for (size_t n; (n = fread(data, 1, sizeof data, in)) > 0;)
        assert_int_equal(fwrite(data, 1, n, out), n);
}

// A machine is set back twice to the same snapshot and forks each time: what is the same has the
// same name.
static void test_fork_of_a_copy_twice(void **state)
{
    (void)state;
    static const uint64_t forks[] = {6, 6, 7};
    uint8_t ids[3][WIRE_SPOOL_ID_SIZE];
    char copy[4200];
    snprintf(copy, sizeof copy, "%s.copy", path);
    remove_all();
    struct spool_config c = config(false, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    for (uint64_t i = 1; i <= 10; i++)
        append(s, i);
    spool_free(s);
    copy_file(path, copy);
    for (uint64_t life = 0; life < 3; life++) {
        copy_file(copy, path);
        s = open_spool(&c, T0, 0);
        append(s, 20 + life);
        assert_int_equal(spool_fork(s, forks[life]), 0);
        memcpy(ids[life], spool_id(s), WIRE_SPOOL_ID_SIZE);
        assert_batch(s, 1, forks[life]);
        spool_free(s);
    }
    assert_memory_equal(ids[0], ids[1], WIRE_SPOOL_ID_SIZE);
    assert_memory_not_equal(ids[0], ids[2], WIRE_SPOOL_ID_SIZE); // other data under the same number
}

// What stands for "since the last window delivered" still does when it is merged with others.
static void test_merged_range_keeps_its_open_beginning(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_MIN);
    struct spool *s = open_spool(&c, T0, 0);
    struct spool_item item = {
        .header = {.last_window_ms = T0}, .unknown = true, .reason = "the spool file was damaged"};
    assert_int_equal(spool_append(s, &item, 1, T0), 0);
    for (uint64_t i = 2; i <= 1500; i++)
        assert_int_equal(append_sized(s, i, 50000), 0);
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 1, &found, &n);
    assert_true(items[0].unknown);
    assert_true(items[0].seq_last > 100);
    assert_int_equal(items[0].first_ms, 0);
    free(items);
    spool_free(s);
}

static void test_fork(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(false, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    for (uint64_t i = 1; i <= 10; i++)
        append(s, i);
    assert_int_equal(spool_acked(s, 8, T0), 0);
    uint8_t id[WIRE_SPOOL_ID_SIZE];
    memcpy(id, spool_id(s), sizeof id);
    assert_int_equal(spool_fork(s, 0), -EINVAL);
    assert_int_equal(spool_fork(s, 12), -EINVAL);
    assert_int_equal(spool_fork(s, 6), 0);
    assert_memory_not_equal(id, spool_id(s), sizeof id);
    assert_int_equal(spool_next_seq(s), 6);
    assert_int_equal(spool_acked_through(s), 0);
    for (uint64_t i = 1; i <= 5; i++)
        assert_batch(s, i, i + 5);
    append(s, 11);
    spool_free(s);
    s = open_spool(&c, T0, 0);
    assert_batch(s, 1, 6);
    assert_batch(s, 6, 11);
    assert_int_equal(spool_fork(s, 7), 0); // nothing to move
    assert_int_equal(spool_next_seq(s), 1);
    spool_free(s);
    s = open_spool(&c, T0, 0);
    assert_int_equal(spool_next_seq(s), 1);
    append(s, 12);
    assert_batch(s, 1, 12);
    spool_free(s);
}

static void assert_interval(const struct loss_item *item, int64_t first_ms, int64_t last_ms)
{
    assert_true(item->unknown);
    assert_int_equal(item->first_ms, first_ms);
    assert_int_equal(item->last_ms, last_ms);
}

// Number seq declares one loss of unknown extent, and no more.
static void assert_unknown(struct spool *s, uint64_t seq, int64_t first_ms, int64_t last_ms)
{
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, seq, &found, &n);
    assert_int_equal(n, 1);
    assert_interval(&items[0], first_ms, last_ms);
    free(items);
}

static void test_unclean_end(void **state)
{
    (void)state;
    remove_all();
    struct spool_config live = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool_config replay = config(false, true, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&live, T0, 0);
    append(s, 1);
    spool_free(s); // as SIGKILL would
    s = open_spool(&replay, T0 + 500000, 0);
    assert_int_equal(spool_next_seq(s), 2); // not for replay to say
    spool_free(s);
    s = open_spool(&live, T0 + 600000, 0);
    assert_int_equal(spool_next_seq(s), 3);
    assert_unknown(s, 2, T0 + 120000, T0 + 600000); // since the end of the last window spooled
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&live, T0 + 700000, 0);
    assert_int_equal(spool_next_seq(s), 3); // a clean end leaves nothing unknown
    spool_free(s);
    s = open_spool(&live, T0 + 800000, 0);          // killed before its first batch
    assert_unknown(s, 3, T0 + 700000, T0 + 800000); // since that run began, not the time between
    spool_free(s);
}

// A run that ends in order in the middle of a window spools it; the next one begins in the same
// window.
static void test_unclean_end_in_the_window_of_a_clean_one(void **state)
{
    (void)state;
    remove_all();
    struct spool_config live = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&live, T0 + 65000, 0);
    append(s, 1); // the window of T0 + 60000
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&live, T0 + 80000, 0);
    spool_free(s); // killed
    s = open_spool(&live, T0 + 110000, 0);
    assert_unknown(s, 2, T0 + 80000, T0 + 110000);
    spool_free(s);
}

// A replay that was killed: what it had read and not spooled, by the packets' time.
static void test_killed_replay_is_declared(void **state)
{
    (void)state;
    remove_all();
    struct spool_config replay = config(false, true, SPOOL_CAP_DEFAULT);
    struct spool_config live = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&replay, T0 + 900000000, 0);
    append(s, 500); // of an earlier replay
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 61000, true), 0);
    append(s, 1);
    append(s, 2);
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 400123, true), 0);
    spool_free(s);                            // as SIGKILL would
    s = open_spool(&live, T0 + 900000000, 0); // whoever comes next
    assert_int_equal(spool_next_seq(s), 5);
    assert_unknown(s, 4, T0 + 120000, T0 + 400123); // batch 2 may not be all of its window
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&replay, T0 + 900000000, 0);
    assert_int_equal(spool_next_seq(s), 5); // once
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 61000, true), 0);
    spool_free(s); // killed before it had spooled anything
    s = open_spool(&replay, T0 + 900000000, 0);
    assert_unknown(s, 5, T0 + 60123, T0 + 61000);
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 100000, true), 0);
    append(s, 1);
    append(s, 2);
    spool_free(s); // killed before it noted that it had read on
    s = open_spool(&replay, T0 + 900000000, 0);
    assert_unknown(s, 8, T0 + 120000, T0 + 120000); // from there on, nobody knows how far
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 100000, true), 0);
    append(s, 1);
    assert_int_equal(spool_note_reading(s, T0 + 60123, 0, true), 0); // all is spooled
    spool_free(s);
    s = open_spool(&replay, T0 + 900000000, 0);
    assert_int_equal(spool_next_seq(s), 10);
    spool_free(s);
}

// One that goes on to an older capture: what was spooled last says nothing of what was not.
static void test_killed_replay_out_of_order_is_declared_whole(void **state)
{
    (void)state;
    remove_all();
    struct spool_config replay = config(false, true, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&replay, T0 + 900000000, 0);
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 61000, true), 0);
    append(s, 1);
    append(s, 2);
    assert_int_equal(spool_note_reading(s, T0 + 1000, T0 + 400123, false), 0);
    append(s, 3);
    spool_free(s);
    s = open_spool(&replay, T0 + 900000000, 0);
    assert_unknown(s, 4, T0 + 1000, T0 + 400123);
    spool_free(s);
}

// Killed between two batches of one window: what follows is in memory only.
static void test_unclean_end_within_a_window(void **state)
{
    (void)state;
    remove_all();
    struct spool_config live = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&live, T0, 0);
    append(s, 1);
    struct spool_item part = {.header = {.first_window_ms = T0 + 120000,
                                         .last_window_ms = T0 + 180000,
                                         .codec = WIRE_CODEC_ZSTD_COLUMNS},
                              .payload = (const uint8_t *)"part",
                              .size = 4,
                              .whole_ms = T0 + 120000};
    assert_int_equal(spool_append(s, &part, 1, T0), 0);
    spool_free(s);
    s = open_spool(&live, T0 + 600000, 0);
    assert_unknown(s, 3, T0 + 120000, T0 + 600000);
    spool_free(s);
}

// It evicts nothing; the loss that it has to declare finds room all the same.
static void test_killed_replay_with_a_full_spool_is_declared(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(false, true, SPOOL_CAP_MIN);
    struct spool *s = open_spool(&c, T0, 0);
    uint64_t i = 0;
    while (append_sized(s, ++i, 1000) == 0)
        continue;
    assert_int_equal(spool_note_reading(s, T0 + 60000, T0 + 999 * 60000, true), 0);
    uint64_t next = spool_next_seq(s);
    spool_free(s);
    s = open_spool(&c, T0, 0);
    struct spool_entry found;
    size_t n;
    free(read_losses(s, next, &found, &n));
    assert_int_equal(spool_next_seq(s), next + 1);
    assert_batch(s, 1, 1);
    spool_free(s);
}

static void test_unclean_end_with_a_clock_set_back(void **state)
{
    (void)state;
    remove_all();
    const int64_t unsure = 20 * 60 * 1000;
    struct spool_config live = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&live, T0, 0);
    append(s, 100);
    append(s, 1);  // set back in between, and spooled since
    spool_free(s); // killed
    s = open_spool(&live, T0 + 150000, 0);
    assert_unknown(s, 3, T0 + 120000, T0 + 150000);
    append(s, 100);
    spool_free(s); // killed, and set back before or after that
    s = open_spool(&live, T0 + 150000, 0);
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 5, &found, &n);
    assert_int_equal(n, 2);
    assert_interval(&items[0], T0 + 101 * 60000, T0 + 101 * 60000 + unsure);
    assert_interval(&items[1], T0 + 150000 - unsure, T0 + 150000);
    free(items);
    spool_free(s);
}

static void lose_log(void)
{
    char log[4200];
    snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(truncate(log, 10), 0);
}

// What SQLite takes for an earlier state must not pass for one that was closed.
static void test_log_lost_with_an_unclean_end(void **state)
{
    (void)state;
    remove_all();
    struct spool_config live = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&live, T0, 0); // a new spool
    append(s, 1);
    lose_log();
    spool_free(s); // killed; closing writes nothing: the log is none any more
    s = open_spool(&live, T0 + 300000, 0);
    assert_int_equal(spool_next_seq(s), 2);
    assert_unknown(s, 1, T0, T0 + 300000);
    append(s, 10);
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&live, T0 + 700000, 0); // one that was closed before
    append(s, 20);
    lose_log();
    spool_free(s);
    s = open_spool(&live, T0 + 800000, 0);
    assert_int_equal(spool_next_seq(s), 4);
    assert_batch(s, 2, 10);
    assert_unknown(s, 3, T0 + 700000, T0 + 800000);
    spool_free(s);
}

static void test_declared_loss_goes_in(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    append(s, 1);
    struct spool_item item = {.header = {.first_window_ms = T0, .last_window_ms = T0 + 5},
                              .unknown = true,
                              .reason = "for a test"};
    assert_int_equal(spool_append(s, &item, 1, T0), 0);
    append(s, 3);
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 2, &found, &n);
    assert_int_equal(n, 1);
    assert_string_equal(items[0].reason, "for a test");
    free(items);
    assert_batch(s, 3, 3);
    spool_free(s);
}

static void test_one_process_only(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    (void)open_spool(&c, T0, -EBUSY);
    struct spool_status status;
    struct errmsg e;
    append(s, 1);
    spool_note(s, "tcp://192.0.2.1:4455", "for a test", T0);
    assert_int_equal(spool_status_read(path, &status, &e), 0); // beside the one that has it
    assert_int_equal(status.waiting, 1);
    assert_true(status.live);
    assert_string_equal(status.peer, "tcp://192.0.2.1:4455");
    assert_string_equal(status.last_error, "for a test");
    assert_int_equal(spool_acked(s, 1, T0 + 5), 0);
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    assert_int_equal(spool_status_read(path, &status, &e), 0);
    assert_int_equal(status.waiting, 0);
    assert_int_equal(status.kept, 1);
    assert_int_equal(status.last_ack_ms, T0 + 5);
    assert_int_equal(status.delivered_ms, T0 + 120000);
    assert_false(status.live);
    remove_all();
    assert_int_equal(spool_status_read(path, &status, &e), -ENOENT);
}

static void test_receipts(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    struct spool_status status;
    struct errmsg e;
    append(s, 1);
    assert_int_equal(spool_status(s, &status), 0);
    assert_false(status.has_receipts); // as in a spool of an earlier version
    struct spool_receipts told = {
        .frames = 7, .seen_ms = T0 + 1, .taken_seq = 1, .taken_ms = T0 + 2};
    spool_note_receipts(s, &told);
    told.aside_seq = 2;
    told.aside_ms = T0 + 3;
    snprintf(told.aside_reason, sizeof told.aside_reason, "its windows are in the future");
    spool_note_receipts(s, &told); // in place of the first
    spool_free(s);
    assert_int_equal(spool_status_read(path, &status, &e), 0);
    assert_true(status.has_receipts);
    assert_int_equal(status.receipts.frames, 7);
    assert_int_equal(status.receipts.seen_ms, T0 + 1);
    assert_int_equal(status.receipts.taken_seq, 1);
    assert_int_equal(status.receipts.taken_ms, T0 + 2);
    assert_int_equal(status.receipts.aside_seq, 2);
    assert_int_equal(status.receipts.aside_ms, T0 + 3);
    assert_string_equal(status.receipts.aside_reason, "its windows are in the future");
    remove_all();
}

static void test_which_number_is_a_batch(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    append(s, 1);
    append(s, 2);
    assert_true(spool_is_batch(s, 1));
    assert_true(spool_is_batch(s, 2));
    assert_false(spool_is_batch(s, 0));
    assert_false(spool_is_batch(s, 3));
    spool_free(s); // unclean: the next one begins with a loss
    s = open_spool(&c, T0 + 300000, 0);
    assert_int_equal(spool_next_seq(s), 4);
    assert_false(spool_is_batch(s, 3));
    assert_true(spool_is_batch(s, 2));
    spool_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receipts),
        cmocka_unit_test(test_which_number_is_a_batch),
        cmocka_unit_test(test_order_and_reopening),
        cmocka_unit_test(test_acked_goes_first_and_leaves_its_record),
        cmocka_unit_test(test_full_of_unacknowledged),
        cmocka_unit_test(test_keep_all_refuses),
        cmocka_unit_test(test_losses_are_bounded),
        cmocka_unit_test(test_merged_range_keeps_its_open_beginning),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_unclean_end),
        cmocka_unit_test(test_unclean_end_in_the_window_of_a_clean_one),
        cmocka_unit_test(test_unclean_end_with_a_clock_set_back),
        cmocka_unit_test(test_killed_replay_is_declared),
        cmocka_unit_test(test_killed_replay_out_of_order_is_declared_whole),
        cmocka_unit_test(test_unclean_end_within_a_window),
        cmocka_unit_test(test_killed_replay_with_a_full_spool_is_declared),
        cmocka_unit_test(test_log_lost_with_an_unclean_end),
        cmocka_unit_test(test_fork_of_a_copy_twice),
        cmocka_unit_test(test_declared_loss_goes_in),
        cmocka_unit_test(test_one_process_only),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
