// The spool: order, cap, losses, forks, unclean ends, damage in every byte, disks that refuse.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "sensor/spool.h"

#define T0 1675836000000

static char directory[64];
static char path[128];

static void remove_all(void)
{
    static const char *const tails[] = {
        "", "-wal", "-shm", ".lock", ".damaged", ".damaged-wal", ".damaged-shm", ".copy", ".moved"};
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        char name[192];
        snprintf(name, sizeof name, "%s%s", path, tails[i]);
        (void)unlink(name);
    }
}

static int set_up(void **state)
{
    (void)state;
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory, sizeof directory, "%s/hirundo-spool-XXXXXX", base);
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/spool.db", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_all();
    return rmdir(directory);
}

static struct spool_config config(bool live, bool keep_all, int64_t cap)
{
    return (struct spool_config){
        .path = path, .cap_bytes = cap, .live = live, .keep_all = keep_all};
}

static struct spool *open_spool(const struct spool_config *c, int64_t now, int want)
{
    struct spool *s = NULL;
    struct errmsg e = {""};
    int r = spool_open(c, now, &s, &e);
    if (r != want)
        fail_msg("spool_open: %d instead of %d: %s", r, want, e.text);
    return s;
}

// Byte k of batch i.
static uint8_t byte_of(uint64_t i, size_t k)
{
    return (uint8_t)((i * 31) ^ (k * 7 + (k >> 8)));
}

// Batch number i: `size` bytes that depend on i, one window record of i frames.
static int append_sized(struct spool *s, uint64_t i, size_t size)
{
    uint8_t *payload = malloc(size);
    assert_non_null(payload);
    for (size_t k = 0; k < size; k++)
        payload[k] = byte_of(i, k);
    struct window_record record = {.start_ms = T0 + (int64_t)i * 60000,
                                   .windows = 1,
                                   .covered_ms = 60000,
                                   .frames = i,
                                   .row_packets = i};
    uint8_t *records;
    size_t records_size;
    assert_int_equal(wire_records_encode(&record, 1, &records, &records_size), 0);
    struct spool_item item = {
        .header = {.run_id = 77,
                   .counters = {.frames = i * 100},
                   .first_window_ms = record.start_ms,
                   .last_window_ms = record.start_ms + 60000,
                   .frames = i,
                   .codec = WIRE_CODEC_ZSTD_COLUMNS},
        .payload = payload,
        .size = size,
        .records = records,
        .records_size = records_size,
    };
    int r = spool_append(s, &item, 1, T0 + (int64_t)i);
    free(records);
    free(payload);
    return r;
}

static void append(struct spool *s, uint64_t i)
{
    assert_int_equal(append_sized(s, i, 1000 + i % 50), 0);
}

// Number seq is batch i, whole.
static void assert_batch(struct spool *s, uint64_t seq, uint64_t i)
{
    struct spool_entry found;
    assert_int_equal(spool_look(s, seq, &found), 0);
    assert_int_equal(found.first, seq);
    assert_int_equal(found.last, seq);
    assert_false(found.loss);
    struct wire_header h;
    uint8_t *payload;
    size_t size;
    assert_int_equal(spool_read(s, seq, seq, &h, &payload, &size), 0);
    assert_int_equal(size, found.bytes);
    for (size_t k = 0; k < size; k++)
        assert_int_equal(payload[k], byte_of(i, k));
    assert_int_equal(h.kind, WIRE_BATCH);
    assert_int_equal(h.seq, seq);
    assert_int_equal(h.run_id, 77);
    assert_int_equal(h.counters.frames, i * 100);
    assert_int_equal(h.frames, i);
    assert_int_equal(h.first_window_ms, T0 + (int64_t)i * 60000);
    assert_int_equal(h.last_window_ms, T0 + (int64_t)i * 60000 + 60000);
    assert_memory_equal(h.spool_id, spool_id(s), sizeof h.spool_id);
    uint8_t digest[WIRE_SHA256_SIZE];
    wire_sha256(payload, size, digest);
    assert_memory_equal(h.sha256, digest, sizeof digest);
    free(payload);
}

// The loss message that covers seq.
static struct loss_item *read_losses(struct spool *s, uint64_t seq, struct spool_entry *found,
                                     size_t *n)
{
    assert_int_equal(spool_look(s, seq, found), 0);
    assert_true(found->loss);
    struct wire_header h;
    uint8_t *payload;
    size_t size;
    assert_int_equal(spool_read(s, found->first, found->last, &h, &payload, &size), 0);
    assert_int_equal(h.kind, WIRE_LOSS);
    assert_int_equal(h.seq, found->first);
    struct loss_item *items;
    struct errmsg e;
    if (wire_loss_decode(payload, size, &items, n, &e) != 0)
        fail_msg("loss message for %llu: %s", (unsigned long long)seq, e.text);
    free(payload);
    return items;
}

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
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 2, &found, &n);
    assert_int_equal(n, 1);
    assert_true(items[0].unknown);
    assert_int_equal(items[0].first_ms, T0 + 120000); // end of the last window spooled
    assert_int_equal(items[0].last_ms, T0 + 600000);
    free(items);
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&live, T0 + 700000, 0);
    assert_int_equal(spool_next_seq(s), 3); // a clean end leaves nothing unknown
    spool_free(s);
    s = open_spool(&live, T0 + 800000, 0); // killed before its first batch
    items = read_losses(s, 3, &found, &n);
    assert_int_equal(items[0].first_ms, T0 + 700000); // since that run began, not the time between
    free(items);
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
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 2, &found, &n);
    assert_int_equal(items[0].first_ms, T0 + 80000);
    assert_int_equal(items[0].last_ms, T0 + 110000);
    free(items);
    spool_free(s);
}

static void assert_unknown(const struct loss_item *item, int64_t first_ms, int64_t last_ms)
{
    assert_true(item->unknown);
    assert_int_equal(item->first_ms, first_ms);
    assert_int_equal(item->last_ms, last_ms);
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
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 4, &found, &n);
    assert_int_equal(n, 1);
    assert_unknown(&items[0], T0 + 120000, T0 + 400123); // batch 2 may not be all of its window
    free(items);
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&replay, T0 + 900000000, 0);
    assert_int_equal(spool_next_seq(s), 5); // once
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 61000, true), 0);
    spool_free(s); // killed before it had spooled anything
    s = open_spool(&replay, T0 + 900000000, 0);
    items = read_losses(s, 5, &found, &n);
    assert_unknown(&items[0], T0 + 60123, T0 + 61000);
    free(items);
    assert_int_equal(spool_note_reading(s, T0 + 60123, T0 + 100000, true), 0);
    append(s, 1);
    append(s, 2);
    spool_free(s); // killed before it noted that it had read on
    s = open_spool(&replay, T0 + 900000000, 0);
    items = read_losses(s, 8, &found, &n);
    assert_unknown(&items[0], T0 + 120000, T0 + 120000); // from there on, nobody knows how far
    free(items);
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
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 4, &found, &n);
    assert_unknown(&items[0], T0 + 1000, T0 + 400123);
    free(items);
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
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 3, &found, &n);
    assert_unknown(&items[0], T0 + 120000, T0 + 600000);
    free(items);
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
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 3, &found, &n);
    assert_int_equal(n, 1);
    assert_unknown(&items[0], T0 + 120000, T0 + 150000);
    free(items);
    append(s, 100);
    spool_free(s); // killed, and set back before or after that
    s = open_spool(&live, T0 + 150000, 0);
    items = read_losses(s, 5, &found, &n);
    assert_int_equal(n, 2);
    assert_unknown(&items[0], T0 + 101 * 60000, T0 + 101 * 60000 + unsure);
    assert_unknown(&items[1], T0 + 150000 - unsure, T0 + 150000);
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
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 1, &found, &n);
    assert_unknown(&items[0], T0, T0 + 300000);
    free(items);
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
    items = read_losses(s, 3, &found, &n);
    assert_unknown(&items[0], T0 + 700000, T0 + 800000);
    free(items);
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

static void test_disk_refuses_and_recovers(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    append(s, 1);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit tight = {.rlim_cur = 65536, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    int r = append_sized(s, 2, 200000);
    int again = append_sized(s, 2, 200000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(r == -EIO || r == -ENOSPC);
    assert_int_equal(again, r);
    assert_int_equal(spool_next_seq(s), 2); // nothing changed
    assert_batch(s, 1, 1);
    append(s, 2);
    assert_batch(s, 2, 2);
    spool_free(s);
}

// --- damage ---

#define DAMAGE_BATCHES 3

static uint8_t *read_file(size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(f);
    rewind(f);
    uint8_t *p = malloc(size);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, size, f), size);
    fclose(f);
    *ret_size = size;
    return p;
}

static void write_file(const uint8_t *p, size_t size)
{
    remove_all();
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, size, f), size);
    fclose(f);
}

// Whatever the file is now: it opens; each number is the batch it was, or a declared loss; the
// spool goes on working.
static void assert_survives(const char *what, size_t at, const uint8_t id[WIRE_SPOOL_ID_SIZE])
{
    struct spool_config c = config(false, false, SPOOL_CAP_DEFAULT);
    struct spool *s = NULL;
    struct errmsg e = {""};
    int r = spool_open(&c, T0 + 1000000, &s, &e);
    if (r < 0)
        fail_msg("%s %zu: %s", what, at, e.text);
    for (uint64_t seq = 1; seq < spool_next_seq(s); seq++) {
        struct spool_entry found = {0};
        bool same = memcmp(spool_id(s), id, WIRE_SPOOL_ID_SIZE) == 0;
        r = spool_look(s, seq, &found);
        if (spool_next_seq(s) != (same ? DAMAGE_BATCHES : 1) + 1)
            fail_msg("%s %zu: %llu is next", what, at, (unsigned long long)spool_next_seq(s));
        if (spool_acked_through(s) > (same ? 1 : 0))
            fail_msg("%s %zu: acknowledged what was not", what, at);
        if (!same && !found.loss)
            fail_msg("%s %zu: a new spool that declares nothing", what, at);
        if (r == -EUCLEAN) { // found out only now
            assert_int_equal(spool_renew(s, T0 + 1000000, &e), 0);
            seq = 0;
            continue;
        }
        if (r < 0)
            fail_msg("%s %zu: looking at %llu: %d", what, at, (unsigned long long)seq, r);
        struct wire_header h;
        uint8_t *payload = NULL;
        size_t size;
        r = spool_read(s, found.first, found.last, &h, &payload, &size);
        if (r == -EAGAIN && spool_look(s, seq, &found) == 0)
            r = spool_read(s, found.first, found.last, &h, &payload, &size);
        if (r == -EUCLEAN) {
            assert_int_equal(spool_renew(s, T0 + 1000000, &e), 0);
            seq = 0;
            continue;
        }
        if (r < 0)
            fail_msg("%s %zu: reading %llu: %d", what, at, (unsigned long long)seq, r);
        if (!found.loss && (size != 1000 + seq || payload[3] != byte_of(seq, 3) ||
                            h.frames != seq || h.run_id != 77))
            fail_msg("%s %zu: number %llu is not what it was", what, at, (unsigned long long)seq);
        free(payload);
        seq = found.last;
    }
    if (append_sized(s, 9, 1000) != 0)
        fail_msg("%s %zu: cannot append", what, at);
    spool_free(s);
}

static uint8_t *small_spool(size_t *ret_size, uint8_t ret_id[WIRE_SPOOL_ID_SIZE])
{
    remove_all();
    struct spool_config c = config(false, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    for (uint64_t i = 1; i <= DAMAGE_BATCHES; i++)
        append(s, i);
    assert_int_equal(spool_acked(s, 1, T0), 0);
    assert_int_equal(spool_close_clean(s), 0);
    memcpy(ret_id, spool_id(s), WIRE_SPOOL_ID_SIZE);
    spool_free(s);
    return read_file(ret_size);
}

// ./tests/run failures takes every byte.
static size_t step_or(size_t ordinary)
{
    const char *text = getenv("HIRUNDO_TEST_STEP");
    return text ? MAX(strtoul(text, NULL, 10), 1) : ordinary;
}

static void test_every_byte_flipped(void **state)
{
    (void)state;
    size_t size;
    uint8_t id[WIRE_SPOOL_ID_SIZE];
    uint8_t *whole = small_spool(&size, id);
    size_t step = step_or(13);
    for (size_t at = 0; at < size; at += step) {
        uint8_t flip = (uint8_t)(1u << at % 8) | (at % 3 ? 0 : 0x55);
        whole[at] ^= flip;
        write_file(whole, size);
        whole[at] ^= flip;
        assert_survives("byte", at, id);
    }
    free(whole);
}

static void test_every_truncation(void **state)
{
    (void)state;
    size_t size;
    uint8_t id[WIRE_SPOOL_ID_SIZE];
    uint8_t *whole = small_spool(&size, id);
    size_t step = step_or(61);
    for (size_t at = 0; at < size; at += step) {
        write_file(whole, at);
        assert_survives("cut at", at, id);
    }
    free(whole);
}

static void test_damage_is_declared(void **state)
{
    (void)state;
    size_t size;
    uint8_t id[WIRE_SPOOL_ID_SIZE];
    uint8_t *whole = small_spool(&size, id);
    write_file(whole, 0);
    free(whole);
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0 + 5, SPOOL_RENEWED);
    assert_int_equal(spool_next_seq(s), 2);
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 1, &found, &n);
    assert_true(items[0].unknown);
    assert_int_equal(items[0].first_ms, 0); // since the last window delivered
    assert_int_equal(items[0].last_ms, T0 + 5);
    free(items);
    char aside[192];
    snprintf(aside, sizeof aside, "%s.damaged", path);
    assert_int_equal(access(aside, F_OK), 0);
    spool_free(s);
}

static void test_damaged_payload_is_a_counted_loss(void **state)
{
    (void)state;
    size_t size;
    uint8_t id[WIRE_SPOOL_ID_SIZE];
    uint8_t *whole = small_spool(&size, id);
    // The payload of batch 2, wherever SQLite put it.
    uint8_t pattern[16];
    for (size_t k = 0; k < sizeof pattern; k++)
        pattern[k] = byte_of(2, k + 100);
    uint8_t *found_at = memmem(whole, size, pattern, sizeof pattern);
    assert_non_null(found_at);
    *found_at ^= 1;
    write_file(whole, size);
    free(whole);
    struct spool_config c = config(false, false, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    struct wire_header h;
    uint8_t *payload;
    size_t n;
    struct errmsg e;
    assert_int_equal(spool_read(s, 2, 2, &h, &payload, &n), -EUCLEAN);
    assert_int_equal(spool_renew(s, T0, &e), 0); // the file is sound, and is read again
    assert_int_equal(spool_read(s, 2, 2, &h, &payload, &n), -EAGAIN);
    struct spool_entry found;
    struct loss_item *items = read_losses(s, 2, &found, &n);
    assert_false(items[0].unknown);
    assert_int_equal(items[0].records[0].frames, 2);
    free(items);
    assert_batch(s, 3, 3);
    spool_free(s);
}

// Somebody deletes the spool: that something may be missing is declared. A first start, even after
// one that failed, declares nothing.
static void test_deleted_spool_is_declared(void **state)
{
    (void)state;
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    char lock[160];
    snprintf(lock, sizeof lock, "%s.lock", path);
    fclose(fopen(lock, "w"));
    struct spool *s = open_spool(&c, T0, 0);
    assert_int_equal(spool_next_seq(s), 1);
    append(s, 1);
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    assert_int_equal(unlink(path), 0);
    s = open_spool(&c, T0 + 5, SPOOL_RENEWED);
    struct spool_entry found;
    assert_int_equal(spool_next_seq(s), 2);
    assert_int_equal(spool_look(s, 1, &found), 0);
    assert_true(found.loss);
    assert_int_equal(spool_close_clean(s), 0);
    spool_free(s);
    s = open_spool(&c, T0 + 6, 0);
    assert_int_equal(spool_next_seq(s), 2);
    spool_free(s);
    remove_all();
}

// Deleted, with its directory or without, or another put in its place while it is open: all that
// was in it is in the file again.
static void test_spool_deleted_while_open(void **state)
{
    (void)state;
    static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
    struct spool_config c = config(true, true, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    for (uint64_t i = 1; i <= 30; i++)
        append(s, i);
    assert_int_equal(spool_acked(s, 10, T0), 0);
    for (uint64_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < (round == 0 ? 1 : ARRAY_SIZE(tails)); i++) {
            char name[192];
            snprintf(name, sizeof name, "%s%s", path, tails[i]);
            assert_int_equal(unlink(name), 0);
        }
        if (round == 1)
            assert_int_equal(rmdir(directory), 0);
        if (round == 2)
            fclose(fopen(path, "w"));
        append(s, 31 + round);
        assert_int_equal(spool_acked_through(s), 10);
        struct spool *other = NULL;
        struct errmsg e;
        assert_int_equal(spool_open(&c, T0, &other, &e), -EBUSY);
    }
    spool_free(s); // as if it had been killed
    c.live = false;
    s = open_spool(&c, T0, 0);
    assert_int_equal(spool_next_seq(s), 34);
    assert_int_equal(spool_acked_through(s), 10);
    for (uint64_t i = 1; i <= 33; i++)
        assert_batch(s, i, i);
    spool_free(s);
    remove_all();
}

// Where it cannot be written again it goes on in the open file.
static void test_spool_deleted_where_nothing_can_be_written(void **state)
{
    (void)state;
    struct spool_config c = config(true, true, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    append(s, 1);
    remove_all();
    assert_int_equal(rmdir(directory), 0);
    int fd = open(directory, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); // no directory now
    assert_true(fd >= 0);
    close(fd);
    append(s, 2);
    append(s, 3);
    for (uint64_t i = 1; i <= 3; i++)
        assert_batch(s, i, i);
    spool_free(s);
    assert_int_equal(unlink(directory), 0);
    assert_int_equal(mkdir(directory, 0700), 0);
}

static void test_directory_for_a_spool_is_named(void **state)
{
    (void)state;
    struct spool_config c = config(true, false, SPOOL_CAP_DEFAULT);
    assert_int_equal(mkdir(path, 0700), 0);
    struct spool *s = NULL;
    struct errmsg e = {""};
    assert_int_equal(spool_open(&c, T0, &s, &e), -EISDIR);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(rmdir(path), 0);
    remove_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deleted_spool_is_declared),
        cmocka_unit_test(test_directory_for_a_spool_is_named),
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
        cmocka_unit_test(test_spool_deleted_while_open),
        cmocka_unit_test(test_spool_deleted_where_nothing_can_be_written),
        cmocka_unit_test(test_disk_refuses_and_recovers),
        cmocka_unit_test(test_every_byte_flipped),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_damage_is_declared),
        cmocka_unit_test(test_damaged_payload_is_a_counted_loss),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
