// The spool: damage in every byte, files that are gone, disks that refuse.
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

#include "tests/unit/spool_bench.h"

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

// A spool that is begun anew in the middle of a replay is told again what was read.
static void test_killed_replay_of_a_renewed_spool_is_declared(void **state)
{
    (void)state;
    remove_all();
    struct spool_config c = config(false, true, SPOOL_CAP_DEFAULT);
    struct spool *s = open_spool(&c, T0, 0);
    struct errmsg e;
    assert_int_equal(spool_note_reading(s, T0 + 60000, T0 + 120000, true), 0);
    assert_int_equal(spool_note_reading(s, T0 + 60000, T0 + 120000, true), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(spool_renew(s, T0 + 5, &e), 0);
    assert_int_equal(spool_note_reading(s, T0 + 60000, T0 + 120000, true), 0);
    spool_free(s); // killed
    s = open_spool(&c, T0 + 10, 0);
    struct spool_entry found;
    size_t n;
    struct loss_item *items = read_losses(s, 1, &found, &n);
    assert_int_equal(n, 2); // the spool that was gone, and what was read
    assert_true(items[1].unknown);
    assert_int_equal(items[1].first_ms, T0 + 60000);
    assert_int_equal(items[1].last_ms, T0 + 120000);
    free(items);
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
        cmocka_unit_test(test_spool_deleted_while_open),
        cmocka_unit_test(test_killed_replay_of_a_renewed_spool_is_declared),
        cmocka_unit_test(test_spool_deleted_where_nothing_can_be_written),
        cmocka_unit_test(test_disk_refuses_and_recovers),
        cmocka_unit_test(test_every_byte_flipped),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_damage_is_declared),
        cmocka_unit_test(test_damaged_payload_is_a_counted_loss),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
