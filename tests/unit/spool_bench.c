#include "tests/unit/spool_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

char directory[64];
char path[128];

void remove_all(void)
{
    static const char *const tails[] = {
        "", "-wal", "-shm", ".lock", ".damaged", ".damaged-wal", ".damaged-shm", ".copy", ".moved"};
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        char name[192];
        snprintf(name, sizeof name, "%s%s", path, tails[i]);
        (void)unlink(name);
    }
}

int set_up(void **state)
{
    (void)state;
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory, sizeof directory, "%s/hirundo-spool-XXXXXX", base);
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/spool.db", directory);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    remove_all();
    return rmdir(directory);
}

struct spool_config config(bool live, bool keep_all, int64_t cap)
{
    return (struct spool_config){
        .path = path, .cap_bytes = cap, .live = live, .keep_all = keep_all};
}

struct spool *open_spool(const struct spool_config *c, int64_t now, int want)
{
    struct spool *s = NULL;
    struct errmsg e = {""};
    int r = spool_open(c, now, &s, &e);
    if (r != want)
        fail_msg("spool_open: %d instead of %d: %s", r, want, e.text);
    return s;
}

uint8_t byte_of(uint64_t i, size_t k)
{
    return (uint8_t)((i * 31) ^ (k * 7 + (k >> 8)));
}

int append_sized(struct spool *s, uint64_t i, size_t size)
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

void append(struct spool *s, uint64_t i)
{
    assert_int_equal(append_sized(s, i, 1000 + i % 50), 0);
}

void assert_batch(struct spool *s, uint64_t seq, uint64_t i)
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

struct loss_item *read_losses(struct spool *s, uint64_t seq, struct spool_entry *found, size_t *n)
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
