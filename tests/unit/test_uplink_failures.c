// The uplink and the packer where each allocation, each call on a file and each call of libzmq's
// fails once: everything that was sealed arrives once, or is declared.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/uplink_bench.h"

#define BATCHES 6

static void exempt_thread(void)
{
    fail_alloc_exempt(true);
}

// Whether the n-th call was there to fail.
static bool deliver_with_a_failure(unsigned n)
{
    fail_alloc_exempt(true);
    struct fake *f = fake_start(PLAIN, exempt_thread);
    struct bench b;
    bench_open(&b, f);
    for (uint64_t i = 1; i <= BATCHES; i++)
        bench_seal(&b, i);
    queue_close(b.queue);
    struct errmsg e = {""};
    fail_alloc_exempt(false);
    fail_alloc_at(n);
    int r = uplink_new(&b.config, b.queue, &b.uplink, &e);
    fail_alloc_exempt(true);
    if (r < 0) { // says so, and works the next time
        assert_true(fail_alloc_passed());
        assert_true(e.text[0] != '\0');
        r = uplink_new(&b.config, b.queue, &b.uplink, &e);
    }
    if (r < 0)
        fail_msg("call %u: %s", n, e.text);
    assert_int_equal(uplink_start(b.uplink), 0);
    int outcome = uplink_join(b.uplink, &e);
    if (outcome != 0)
        fail_msg("call %u: %s", n, e.text);
    bench_close(&b);
    fake_halt(f);
    assert_int_equal(f->spools, 1);
    assert_int_equal(f->frames, BATCHES * (BATCHES + 1) / 2);
    fake_free(f);
    return fail_alloc_end();
}

static void test_uplink(void **state)
{
    (void)state;
    // ./tests/run failures takes every call, the ordinary run one of several.
    const char *text = getenv("HIRUNDO_TEST_STEP");
    unsigned step = text ? (unsigned)strtoul(text, NULL, 10) : 11;
    unsigned runs = 0;
    for (unsigned n = 1; deliver_with_a_failure(n); n += step)
        runs++;
    assert_true(runs > 5);
    print_message("# %u runs\n", runs);
}

// Frames in the queue, and whether an interval of unknown extent is in it.
static uint64_t count_frames(struct queue *q, bool *ret_unknown)
{
    struct spool_item items[32];
    size_t n = queue_front(q, items, 32, 1 << 20);
    uint64_t frames = 0;
    *ret_unknown = false;
    for (size_t i = 0; i < n; i++) {
        frames += items[i].unknown ? 0 : items[i].header.frames;
        *ret_unknown |= items[i].unknown;
    }
    return frames;
}

// What cannot be encoded, or not queued, is declared with what comes after it.
static void pack_with_failures(unsigned gap)
{
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        _cleanup_(queue_freep) struct queue *q = NULL;
        assert_int_equal(queue_new(1 << 20, 32, &q), 0);
        struct packer_config config = {.queue = q, .run_id = 5};
        struct bench b = {.queue = q};
        assert_int_equal(packer_new(&config, &b.packer), 0);
        fail_alloc_twice(n, gap);
        for (uint64_t i = 1; i <= 5; i++)
            bench_seal(&b, i);
        assert_int_equal(packer_flush(b.packer, 0), 0);
        failed = fail_alloc_end();
        bool unknown;
        uint64_t frames = count_frames(q, &unknown);
        assert_true(unknown || frames == 15);
        packer_free(b.packer);
    }
}

static void test_packer(void **state)
{
    (void)state;
    fail_alloc_exempt(false);
    for (unsigned gap = 0; gap < 20; gap++)
        pack_with_failures(gap);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packer),
        cmocka_unit_test(test_uplink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
