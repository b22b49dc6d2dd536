// What an enrolled sensor may not put into the database.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "collector/validate.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/rand_batch.h"

#define YEAR_MS (365 * 86400000LL)

static const struct validate_limits limits = {
    .accept_from_ms = 946684800000,
    .accept_until_ms = 1800000000000,
};

struct fixture {
    struct batch b;
    struct wire_header h;
};

static int set_up(void **state)
{
    static struct fixture f;
    struct rand_source source = {4};
    f = (struct fixture){.b = rand_batch(&source, RAND_BACKGROUND, 20, 2)};
    f.h.kind = WIRE_BATCH;
    wire_batch_describe(&f.b, &f.h);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    rand_batch_free(&((struct fixture *)*state)->b);
    return 0;
}

static void assert_refused(const struct fixture *f, const char *why)
{
    struct errmsg e = {""};
    assert_int_equal(validate_batch(&f->h, &f->b, &limits, &e), VALIDATE_REFUSED);
    if (!strstr(e.text, why))
        fail_msg("refused with \"%s\", not \"%s\"", e.text, why);
}

static void test_good(void **state)
{
    struct fixture *f = *state;
    struct errmsg e = {""};
    assert_int_equal(validate_batch(&f->h, &f->b, &limits, &e), 0);
    assert_string_equal(e.text, "");
}

static void test_header_disagrees(void **state)
{
    struct fixture *f = *state;
    f->h.first_window_ms += 60000;
    assert_refused(f, "disagree about the windows");
    f->h.first_window_ms -= 60000;
    f->h.last_window_ms += 60000;
    assert_refused(f, "disagree about the windows");
    f->h.last_window_ms -= 60000;
    f->h.frames++;
    assert_refused(f, "frames");
}

static void shift(struct fixture *f, int64_t ms)
{
    for (uint32_t i = 0; i < f->b.n_flows; i++)
        f->b.flows[i].ts_ms += ms;
    for (uint32_t i = 0; i < f->b.n_windows; i++)
        f->b.windows[i].start_ms += ms;
    wire_batch_describe(&f->b, &f->h);
}

static void test_times(void **state)
{
    struct fixture *f = *state;
    shift(f, -30 * YEAR_MS);
    assert_refused(f, "accept_from");
    shift(f, 60 * YEAR_MS);
    assert_refused(f, "2052-12");
    shift(f, -30 * YEAR_MS + 584541 * YEAR_MS);
    assert_refused(f, "accept_ahead");
}

static void test_time_limits_are_exact(void **state)
{
    struct fixture *f = *state;
    struct validate_limits tight = {f->h.first_window_ms, f->h.last_window_ms};
    assert_int_equal(validate_batch(&f->h, &f->b, &tight, NULL), 0);
    tight.accept_from_ms++;
    assert_int_equal(validate_batch(&f->h, &f->b, &tight, NULL), VALIDATE_REFUSED);
    tight = (struct validate_limits){f->h.first_window_ms, f->h.last_window_ms - 1};
    assert_int_equal(validate_batch(&f->h, &f->b, &tight, NULL), VALIDATE_REFUSED);
}

static void test_absurd_sizes(void **state)
{
    struct fixture *f = *state;
    struct flow good = f->b.flows[3];
    f->b.flows[3].ip_len = (uint32_t)INT32_MAX + 1;
    assert_refused(f, "length");
    f->b.flows[3] = good;
    f->b.flows[3].duration_ms = (uint32_t)INT32_MAX + 1;
    assert_refused(f, "length");
    f->b.flows[3] = good;
    f->b.flows[3].bytes = UINT64_MAX;
    assert_refused(f, "absurd");
    f->b.flows[3] = good;
    f->b.windows[0].kernel_dropped = VALIDATE_COUNT_MAX + 1;
    assert_refused(f, "frames");
    f->b.windows[0].kernel_dropped = 0;
    f->b.windows[0].windows = 15 * (VALIDATE_SLOTS_MAX + 1);
    wire_batch_describe(&f->b, &f->h);
    struct validate_limits wide = {INT64_MIN, INT64_MAX};
    struct errmsg e = {""};
    assert_int_equal(validate_batch(&f->h, &f->b, &wide, &e), VALIDATE_REFUSED);
    assert_non_null(strstr(e.text, "quarters"));
}

static void test_rows_of_too_many_days(void **state)
{
    struct fixture *f = *state;
    const struct flow one = f->b.flows[0];
    uint32_t n = VALIDATE_DAYS_MAX + 1;
    free(f->b.flows);
    f->b.flows = calloc(n, sizeof one);
    assert_non_null(f->b.flows);
    for (uint32_t i = 0; i < n; i++) {
        f->b.flows[i] = one;
        f->b.flows[i].ts_ms += i * 86400000LL;
    }
    f->b.n_flows = n;
    assert_refused(f, "rows of 401 days");
    f->b.n_flows = n - 1;
    test_good(state);
}

static void test_flood_rows(void **state)
{
    struct fixture *f = *state;
    const struct flood good = {.packets = VALIDATE_COUNT_MAX,
                               .bytes = VALIDATE_COUNT_MAX << 16,
                               .sources_estimate = VALIDATE_COUNT_MAX};
    free(f->b.floods);
    f->b.floods = calloc(1, sizeof good);
    assert_non_null(f->b.floods);
    f->b.n_floods = 1;
    f->b.floods[0] = good;
    test_good(state);
    f->b.floods[0].packets++;
    assert_refused(f, "flood row 0");
    f->b.floods[0] = good;
    f->b.floods[0].bytes++;
    assert_refused(f, "flood row 0");
    f->b.floods[0] = good;
    f->b.floods[0].sources_estimate++;
    assert_refused(f, "flood row 0");
}

static void test_no_window(void **state)
{
    struct fixture *f = *state;
    f->b.n_windows = 0;
    assert_refused(f, "without a window");
}

int __real_EVP_DigestUpdate(EVP_MD_CTX *context, const void *p, size_t size);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *p, size_t size);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *p, size_t size)
{
    return fail_alloc_now() ? 0 : __real_EVP_DigestUpdate(context, p, size);
}

// What cannot be reckoned is no reason to refuse a batch: it is tried again.
static void test_digest_fails(void **state)
{
    (void)state;
    _cleanup_(sha256_freep) struct sha256 *sha256 = NULL;
    assert_int_equal(sha256_new(&sha256), 0);
    const uint8_t payload[] = "payload";
    struct wire_header h = {.kind = WIRE_LOSS, .has_sha256 = true};
    wire_sha256(payload, sizeof payload, h.sha256);
    struct errmsg e = {""};
    fail_alloc_at(1);
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload, &e), -ENOMEM);
    assert_true(fail_alloc_end());
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload, &e), 0);
}

static void test_payload(void **state)
{
    (void)state;
    _cleanup_(sha256_freep) struct sha256 *sha256 = NULL;
    assert_int_equal(sha256_new(&sha256), 0);
    const uint8_t payload[] = "payload";
    struct wire_header h = {
        .kind = WIRE_BATCH, .codec = WIRE_CODEC_ZSTD_COLUMNS, .has_sha256 = true};
    wire_sha256(payload, sizeof payload, h.sha256);
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload, NULL), 0);
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload - 1, NULL),
                     VALIDATE_REFUSED);
    assert_int_equal(validate_payload(sha256, &h, payload, 0, NULL), VALIDATE_REFUSED);
    assert_int_equal(validate_payload(sha256, &h, payload, BATCH_PAYLOAD_MAX + 1, NULL),
                     VALIDATE_REFUSED);
    h.has_sha256 = false;
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload, NULL), VALIDATE_REFUSED);
    h.has_sha256 = true;
    h.sha256[5] ^= 1;
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload, NULL), VALIDATE_REFUSED);
    h.sha256[5] ^= 1;
    h.codec = 9;
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload, NULL), VALIDATE_REFUSED);
    h.kind = WIRE_LOSS; // has no codec
    assert_int_equal(validate_payload(sha256, &h, payload, sizeof payload, NULL), 0);
}

static void test_loss(void **state)
{
    (void)state;
    const struct window_record record = {.start_ms = 1672500000000, .windows = 1, .frames = 3};
    struct loss_item items[] = {
        {.seq_first = 4,
         .seq_last = 4,
         .first_ms = 1672500000000,
         .last_ms = 1672500060000,
         .n_records = 1,
         .records = &record},
        {.seq_first = 5, .seq_last = 9, .unknown = true, .last_ms = 1672500000000},
    };
    const struct wire_header h = {.kind = WIRE_LOSS, .seq = 4};
    assert_int_equal(validate_loss(&h, items, 2, &limits, NULL), 0);
    assert_int_equal(validate_loss(&h, items, 0, &limits, NULL), VALIDATE_REFUSED);
    assert_int_equal(validate_loss(&h, items + 1, 1, &limits, NULL), VALIDATE_REFUSED);
    items[1].first_ms = items[1].last_ms + 1;
    assert_int_equal(validate_loss(&h, items, 2, &limits, NULL), VALIDATE_REFUSED);
    items[1].first_ms = 1;
    assert_int_equal(validate_loss(&h, items, 2, &limits, NULL), VALIDATE_REFUSED);
}

static void test_times_of_what_is_lost(void **state)
{
    (void)state;
    const struct window_record record = {.start_ms = 1672500000000, .windows = 1, .frames = 3};
    const struct loss_item good = {.seq_first = 4,
                                   .seq_last = 4,
                                   .first_ms = limits.accept_from_ms,
                                   .last_ms = limits.accept_until_ms,
                                   .n_records = 1,
                                   .records = &record};
    const struct wire_header h = {.kind = WIRE_LOSS, .seq = 4};
    struct errmsg e = {""};
    struct loss_item item = good;
    assert_int_equal(validate_loss(&h, &item, 1, &limits, NULL), 0);
    item.first_ms--;
    assert_int_equal(validate_loss(&h, &item, 1, &limits, &e), VALIDATE_REFUSED);
    assert_non_null(strstr(e.text, "accept_from"));
    item = good;
    item.last_ms++;
    assert_int_equal(validate_loss(&h, &item, 1, &limits, &e), VALIDATE_REFUSED);
    assert_non_null(strstr(e.text, "accept_ahead"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_header_disagrees, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_times, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_time_limits_are_exact, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_absurd_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_of_too_many_days, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flood_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_window, set_up, tear_down),
        cmocka_unit_test(test_payload),
        cmocka_unit_test(test_digest_fails),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_times_of_what_is_lost),
    };
    return cmocka_run_group_tests_name("validate", tests, NULL, NULL);
}
