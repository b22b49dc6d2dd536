// The receiving side of delivery, by tables.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/receiver.h"

static void test_judge(void **state)
{
    static const struct {
        const char *what;
        uint64_t next, pending, first, last;
        enum receiver_verdict verdict;
    } cases[] = {
        {"first of a new spool", 1, 1, 1, 1, RECEIVER_TAKE},
        {"any other first of a new spool", 1, 1, 2, 2, RECEIVER_GAP},
        {"next", 7, 7, 7, 7, RECEIVER_TAKE},
        {"last committed", 7, 7, 6, 6, RECEIVER_DUPLICATE},
        {"long committed", 7, 7, 1, 1, RECEIVER_DUPLICATE},
        {"one ahead", 7, 7, 8, 8, RECEIVER_GAP},
        {"next behind the open group", 7, 9, 9, 9, RECEIVER_TAKE},
        {"in the open group", 7, 9, 8, 8, RECEIVER_DUPLICATE},
        {"ahead of the open group", 7, 9, 10, 10, RECEIVER_GAP},
        {"loss that begins here", 7, 7, 7, 20, RECEIVER_TAKE},
        {"loss that began earlier", 7, 7, 3, 20, RECEIVER_TAKE},
        {"loss already counted", 7, 7, 3, 6, RECEIVER_DUPLICATE},
        {"loss behind a gap", 7, 7, 8, 20, RECEIVER_GAP},
        {"no number", 7, 7, 0, 0, RECEIVER_ABSURD},
        {"backwards", 7, 7, 8, 7, RECEIVER_ABSURD},
        {"beyond bigint", 7, 7, 7, UINT64_MAX, RECEIVER_ABSURD},
        {"the last number there is", RECEIVER_SEQ_MAX, RECEIVER_SEQ_MAX, RECEIVER_SEQ_MAX,
         RECEIVER_SEQ_MAX, RECEIVER_TAKE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct receiver r;
        receiver_start(&r, cases[i].next);
        if (cases[i].pending > cases[i].next)
            receiver_take(&r, cases[i].pending - 1);
        enum receiver_verdict got = receiver_judge(&r, cases[i].first, cases[i].last, 0);
        if (got != cases[i].verdict)
            fail_msg("%s: verdict %d, not %d", cases[i].what, got, cases[i].verdict);
    }
}

static void test_group_fails_and_succeeds(void **state)
{
    (void)state;
    struct receiver r;
    receiver_start(&r, 3);
    receiver_take(&r, 3);
    receiver_take(&r, 4);
    assert_int_equal(receiver_judge(&r, 3, 3, 0), RECEIVER_DUPLICATE);
    receiver_rolled_back(&r);
    assert_int_equal(receiver_judge(&r, 3, 3, 0), RECEIVER_TAKE);
    receiver_take(&r, 3);
    receiver_committed(&r, 4);
    assert_int_equal(r.next_seq, 4);
    assert_int_equal(r.pending_seq, 4);
    // Committed while more is pending.
    receiver_take(&r, 9);
    receiver_committed(&r, 6);
    assert_int_equal(r.pending_seq, 10);
}

static void test_a_gap_is_told_once_a_while(void **state)
{
    (void)state;
    struct receiver r;
    receiver_start(&r, 5);
    assert_int_equal(receiver_judge(&r, 7, 7, 1000), RECEIVER_GAP);
    receiver_told(&r, 1000);
    assert_int_equal(receiver_judge(&r, 8, 8, 1001), RECEIVER_GAP_TOLD);
    assert_int_equal(receiver_judge(&r, 8, 8, 1000 + RECEIVER_NACK_AGAIN_MS), RECEIVER_GAP);
    receiver_reload(&r, 5); // the same ledger, read again
    assert_int_equal(receiver_judge(&r, 8, 8, 1001), RECEIVER_GAP_TOLD);
    assert_int_equal(receiver_judge(&r, 8, 8, 999),
                     RECEIVER_GAP); // told in the future: a new clock
    receiver_take(&r, 5);           // another number is missing now
    assert_int_equal(receiver_judge(&r, 8, 8, 1001), RECEIVER_GAP);
}

static void test_loss_items(void **state)
{
    (void)state;
    const struct loss_item item = {.seq_first = 5, .seq_last = 8};
    assert_int_equal(receiver_loss_item(5, &item), RECEIVER_LOSS_COUNT);
    assert_int_equal(receiver_loss_item(4, &item), RECEIVER_LOSS_COUNT);
    assert_int_equal(receiver_loss_item(6, &item), RECEIVER_LOSS_SPLIT);
    assert_int_equal(receiver_loss_item(8, &item), RECEIVER_LOSS_SPLIT);
    assert_int_equal(receiver_loss_item(9, &item), RECEIVER_LOSS_KNOWN);
}

static void test_fork(void **state)
{
    (void)state;
    uint8_t a[WIRE_SHA256_SIZE] = {1}, b[WIRE_SHA256_SIZE] = {1};
    assert_false(receiver_is_fork(a, b));
    assert_false(receiver_is_fork(NULL, b)); // its digest has gone with retention
    b[WIRE_SHA256_SIZE - 1] = 1;
    assert_true(receiver_is_fork(a, b));
}

static void test_clone(void **state)
{
    static const struct {
        const char *spools;
        int alarms;
    } cases[] = {
        {"aaaa", 0}, {"ab", 0},   {"abbb", 0}, {"abc", 0},      {"aba", 1},
        {"abab", 2}, {"abcb", 1}, {"abca", 0}, {"aabbaabb", 2},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct receiver_spools spools = {0};
        int alarms = 0;
        for (const char *p = cases[i].spools; *p; p++) {
            const uint8_t id[WIRE_SPOOL_ID_SIZE] = {(uint8_t)*p};
            alarms += receiver_spool_seen(&spools, id);
        }
        if (alarms != cases[i].alarms)
            fail_msg("%s: %d alarms, not %d", cases[i].spools, alarms, cases[i].alarms);
    }
}

// Against a model: every schedule of loss, repetition and failing commits ends with each number in
// the ledger once and in order.
static void test_random_schedules(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int run = 0; run < 2000; run++) {
        struct receiver r;
        receiver_start(&r, 1);
        uint64_t ledger = 0, group_first = 0, group_last = 0, sender = 1;
        for (int step = 0; step < 200; step++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            unsigned dice = (unsigned)(seed >> 33);
            uint64_t seq = dice % 4 == 0 && sender > 3 ? sender - dice % 3 : sender;
            enum receiver_verdict v = receiver_judge(&r, seq, seq, step);
            if (v == RECEIVER_TAKE) {
                assert_int_equal(seq, group_last ? group_last + 1 : ledger + 1);
                group_first = group_first ? group_first : seq;
                group_last = seq;
                receiver_take(&r, seq);
            } else if (v == RECEIVER_DUPLICATE) {
                assert_true(seq <= (group_last ? group_last : ledger));
            } else {
                assert_true(seq > (group_last ? group_last : ledger) + 1);
                sender = r.pending_seq - 1;
            }
            sender += dice % 7 == 0 ? 2 : 1; // a message lost on the way
            if (group_last && dice % 5 == 0) {
                receiver_rolled_back(&r);
                sender = r.next_seq;
                group_first = group_last = 0;
            } else if (group_last && dice % 5 == 1) {
                assert_int_equal(group_first, ledger + 1);
                ledger = group_last;
                receiver_committed(&r, ledger + 1);
                group_first = group_last = 0;
            }
        }
        assert_true(ledger > 10);
    }
}

struct other_case {
    const char *name;
    struct receiver_kept kept;
    struct loss_item item;
    bool other;
};

static void test_loss_against_what_is_kept(void **state)
{
    (void)state;
    const struct receiver_kept batch = {
        .found = true, .is_batch = true, .first_ms = 100, .last_ms = 160, .latest_ms = 160};
    const struct receiver_kept range = {
        .found = true, .first_ms = 100, .last_ms = 900, .latest_ms = 900};
    const struct other_case cases[] = {
        {"nothing is kept any more", {.found = false}, {.first_ms = 1, .last_ms = 2}, false},
        {"the very batch, dropped since", batch, {.first_ms = 100, .last_ms = 160}, false},
        {"another batch", batch, {.first_ms = 160, .last_ms = 220}, true},
        {"inside a declared range", range, {.first_ms = 160, .last_ms = 220}, false},
        {"later than the range", range, {.first_ms = 860, .last_ms = 920}, true},
        {"earlier than the range", range, {.first_ms = 40, .last_ms = 160}, true},
        {"a number of which no times are kept",
         {.found = true},
         {.first_ms = 40, .last_ms = 160},
         false},
        {"unknown, and no times are kept",
         {.found = true},
         {.unknown = true, .first_ms = 40, .last_ms = 160},
         false},
        {"unknown, as late as the batch",
         batch,
         {.unknown = true, .first_ms = 40, .last_ms = 160},
         false},
        {"unknown, of after a restart of an old copy",
         batch,
         {.unknown = true, .first_ms = 100, .last_ms = 5000},
         true},
        {"a range since the last window delivered, with what is later than the ledger's",
         batch,
         {.unknown = true, .seq_last = 9, .first_ms = 0, .last_ms = 5000},
         true},
        {"unknown since the last window delivered",
         batch,
         {.unknown = true, .first_ms = 0, .last_ms = 5000},
         false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (receiver_loss_is_other(&cases[i].kept, &cases[i].item) != cases[i].other)
            fail_msg("%s", cases[i].name);
    }
}

static void test_batch_against_what_is_kept(void **state)
{
    (void)state;
    struct receiver_kept kept = {.found = false};
    struct wire_header h = {.first_window_ms = 100, .last_window_ms = 160, .sha256 = {1}};
    assert_false(receiver_batch_is_other(&kept, &h));
    kept = (struct receiver_kept){.found = true, .is_batch = true, .digest = {1}};
    assert_false(receiver_batch_is_other(&kept, &h));
    kept.digest[0] = 2;
    assert_true(receiver_batch_is_other(&kept, &h));
    kept = (struct receiver_kept){.found = true, .first_ms = 100, .last_ms = 160};
    assert_false(receiver_batch_is_other(&kept, &h)); // declared lost, an old copy has it
    kept.last_ms = 130;
    assert_true(receiver_batch_is_other(&kept, &h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_group_fails_and_succeeds),
        cmocka_unit_test(test_a_gap_is_told_once_a_while),
        cmocka_unit_test(test_loss_items),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_clone),
        cmocka_unit_test(test_random_schedules),
        cmocka_unit_test(test_loss_against_what_is_kept),
        cmocka_unit_test(test_batch_against_what_is_kept),
    };
    return cmocka_run_group_tests_name("receiver", tests, NULL, NULL);
}
