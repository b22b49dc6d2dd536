// The spool where every call of SQLite's to the disk, every allocation and every call on a file
// fails once, or is the last one the process makes.
//
// A script of spool operations runs with the first call failing, the second, ... until a run is
// clean. After each run, and after the spool was opened again: whatever an operation said is done
// is there, nothing else is, nothing twice, and a spool that was set aside says so in its first
// number.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sensor/spool.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/fail_vfs.h"

#define T0      1675836000000
#define MAX_SEQ 128
#define UNKNOWN 0 // what stands for a number: a loss of unknown extent, or the number of a batch
#define TRIES   4 // as often the uplink would try again

static char directory[64];
static char path[128];

static const char *const kind_names[VFS_KINDS + 1] = {
    "a call to the disk", "a full disk", "a short read", "killed", "power cut", "an allocation"};
#define ALLOC VFS_KINDS

// What the spool must hold, and where the run stands.
struct run {
    struct spool *s;
    struct spool_config config;
    int kind;
    unsigned at;
    uint8_t id[WIRE_SPOOL_ID_SIZE]; // zero: not known yet
    uint64_t what[MAX_SEQ];         // by number, from 1
    uint64_t n;
    // Batches whose append failed last: such a one may be there all the same when the disk was
    // full, or the process was dead, between its last write and the sync.
    uint64_t maybe[8];
    unsigned n_maybe;
    uint64_t told; // acknowledged
    uint64_t gone; // batches up to this number may have been evicted; counted
    bool may_fork;
    bool renewed;
};

static bool failed(const struct run *r)
{
    return r->kind == ALLOC ? fail_alloc_passed() : vfs_failed();
}

// Nothing after that call happens any more.
static bool dead(const struct run *r)
{
    return (r->kind == VFS_KILLED || r->kind == VFS_POWER) && vfs_failed();
}

#define check(r, condition, ...)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("%s at call %u: ", kind_names[(r)->kind], (r)->at);                        \
            print_error(__VA_ARGS__);                                                              \
            fail_msg(" (line %d)", __LINE__);                                                      \
        }                                                                                          \
    } while (0)

// ---- files

static void remove_all(void)
{
    static const char *const tails[] = {"",         "-wal",         "-shm",        ".lock",
                                        ".damaged", ".damaged-wal", ".damaged-shm"};
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
    vfs_install();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_all();
    return rmdir(directory);
}

struct bytes {
    uint8_t *p;
    size_t size;
};

static struct bytes read_file(void)
{
    struct bytes b = {0};
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    b.size = (size_t)ftell(f);
    rewind(f);
    b.p = malloc(b.size + 1);
    assert_non_null(b.p);
    assert_int_equal(fread(b.p, 1, b.size, f), b.size);
    fclose(f);
    return b;
}

// The file, and the lock that says there was a spool.
static void write_file(const struct bytes *b)
{
    char lock[160];
    snprintf(lock, sizeof lock, "%s.lock", path);
    remove_all();
    FILE *f = fopen(lock, "wb");
    assert_non_null(f);
    fputc(0, f);
    fclose(f);
    if (!b->p)
        return;
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->p, 1, b->size, f), b->size);
    fclose(f);
}

// ---- batches

static uint8_t byte_of(uint64_t i)
{
    return (uint8_t)(i * 31 + 1);
}

static int put(struct spool *s, uint64_t i, size_t size)
{
    static uint8_t payload[200000];
    memset(payload, byte_of(i), size);
    struct window_record record = {.start_ms = T0 + (int64_t)i * 60000,
                                   .windows = 1,
                                   .covered_ms = 60000,
                                   .frames = i,
                                   .row_packets = i};
    uint8_t *records;
    size_t records_size;
    int r = wire_records_encode(&record, 1, &records, &records_size);
    if (r < 0)
        return r;
    struct spool_item item = {
        .header = {.run_id = 77,
                   .first_window_ms = record.start_ms,
                   .last_window_ms = record.start_ms + 60000,
                   .frames = i,
                   .codec = WIRE_CODEC_ZSTD_COLUMNS},
        .payload = payload,
        .size = size,
        .records = records,
        .records_size = records_size,
    };
    r = spool_append(s, &item, 1, T0 + (int64_t)i);
    free(records);
    return r;
}

// ---- what the uplink does with failures

static bool has_other_id(const struct run *r)
{
    static const uint8_t none[WIRE_SPOOL_ID_SIZE];
    return memcmp(r->id, none, sizeof none) != 0 && memcmp(r->id, spool_id(r->s), sizeof none) != 0;
}

static void begin_anew(struct run *r)
{
    memcpy(r->id, spool_id(r->s), sizeof r->id);
    r->renewed = true;
    r->n = 1;
    r->what[1] = UNKNOWN;
    r->told = r->gone = r->n_maybe = 0;
}

// As uplink_spool_failed does. 0: the operation may be tried again.
static void recover(struct run *r, int result)
{
    if (result != -EUCLEAN || dead(r))
        return;
    struct errmsg e;
    for (int i = 0; i < TRIES && !dead(r); i++) {
        if (spool_renew(r->s, T0 + 1000000, &e) == 0) {
            check(r, memcmp(r->id, spool_id(r->s), sizeof r->id) == 0,
                  "a sound spool was taken for damaged");
            return;
        }
    }
    check(r, dead(r) || r->kind == VFS_FULL, "the spool cannot be renewed: %s", e.text);
}

static bool may_try(const struct run *r, int result, int i)
{
    return result < 0 && i < TRIES && !dead(r);
}

static void do_append(struct run *r, uint64_t i, size_t size)
{
    if (dead(r))
        return;
    int result = -EIO;
    for (int k = 0; may_try(r, result, k); k++) {
        result = put(r->s, i, size);
        if (result < 0)
            recover(r, result);
    }
    if (result < 0) {
        r->maybe[r->n_maybe++] = i;
        check(r, dead(r) || r->kind == VFS_FULL, "append: %d", result);
        return;
    }
    check(r, result == 0, "append: %d", result);
    r->what[++r->n] = i;
    r->n_maybe = 0;
    check(r, spool_next_seq(r->s) == r->n + 1, "next is %llu",
          (unsigned long long)spool_next_seq(r->s));
}

static void do_acked(struct run *r, uint64_t through)
{
    if (dead(r))
        return;
    int result = spool_acked(r->s, through, T0);
    r->told = MIN(through, r->n);
    check(r, spool_acked_through(r->s) == r->told, "acked");
    for (int k = 0; may_try(r, result, k); k++) {
        recover(r, result);
        result = spool_sync(r->s);
    }
}

static void do_rewind(struct run *r, uint64_t through)
{
    if (dead(r))
        return;
    uint64_t before = r->told;
    int result = spool_rewind(r->s, through);
    r->told = MIN(through, r->n);
    for (int k = 0; may_try(r, result, k); k++) {
        recover(r, result);
        result = spool_sync(r->s);
    }
    if (result < 0)
        r->told = before; // the collector would say it again
}

static void do_fork(struct run *r, uint64_t from)
{
    if (dead(r) || from > r->n)
        return;
    int result = -EIO;
    r->may_fork = true;
    for (int k = 0; may_try(r, result, k); k++) {
        result = spool_fork(r->s, from);
        if (result < 0)
            recover(r, result);
        if (r->renewed)
            return;
    }
    if (result < 0) {
        check(r, dead(r) || r->kind == VFS_FULL, "fork: %d", result);
        return;
    }
    r->may_fork = false;
    memcpy(r->id, spool_id(r->s), sizeof r->id);
    for (uint64_t i = from; i <= r->n; i++)
        r->what[i - from + 1] = r->what[i];
    r->n -= from - 1;
    r->told = 0;
}

// ---- looking

static void check_batch(struct run *r, const struct wire_header *h, const uint8_t *p, size_t size,
                        uint64_t i)
{
    check(r, h->kind == WIRE_BATCH && h->frames == i && h->run_id == 77, "not batch %llu",
          (unsigned long long)i);
    check(r, size > 0 && p[0] == byte_of(i) && memcmp(p, p + 1, size - 1) == 0,
          "the bytes of batch %llu", (unsigned long long)i);
}

static void check_losses(struct run *r, const uint8_t *p, size_t size, uint64_t first,
                         uint64_t last)
{
    struct loss_item *items;
    size_t n;
    struct errmsg e;
    fail_alloc_exempt(true);
    check(r, wire_loss_decode(p, size, &items, &n, &e) == 0, "loss message: %s", e.text);
    fail_alloc_exempt(false);
    for (size_t k = 0; k < n; k++) {
        for (uint64_t seq = items[k].seq_first; seq <= items[k].seq_last && seq <= r->n; seq++) {
            bool range = items[k].unknown && items[k].seq_last > items[k].seq_first;
            check(r, r->what[seq] == UNKNOWN || seq <= r->gone, "number %llu was lost: %s",
                  (unsigned long long)seq, items[k].reason);
            check(r, range || (r->what[seq] == UNKNOWN) == items[k].unknown, "extent of %llu: %s",
                  (unsigned long long)seq, items[k].reason);
            if (!items[k].unknown)
                check(r, items[k].n_records == 1 && items[k].records[0].frames == r->what[seq],
                      "records of %llu", (unsigned long long)seq);
        }
        if (r->renewed && items[k].seq_first == 1)
            check(r, items[k].unknown && items[k].first_ms == 0, "number 1 of a new spool");
    }
    check(r, items[0].seq_first == first && items[n - 1].seq_last == last, "range of losses");
    free(items);
}

// Reads the message for seq; value: the last number it covers. 0: cannot.
static uint64_t look_at(struct run *r, uint64_t seq)
{
    struct spool_entry found = {0};
    struct wire_header h = {0};
    uint8_t *payload = NULL;
    size_t size = 0;
    int result = -EIO;
    for (int k = 0; may_try(r, result, k); k++) {
        result = spool_look(r->s, seq, &found);
        if (result == 0)
            result = spool_read(r->s, found.first, found.last, &h, &payload, &size);
        recover(r, result);
    }
    if (dead(r))
        return 0;
    check(r, result == 0, "reading %llu: %d", (unsigned long long)seq, result);
    check(r, found.first == seq, "number %llu begins at %llu", (unsigned long long)seq,
          (unsigned long long)found.first);
    if (found.loss)
        check_losses(r, payload, size, found.first, found.last);
    else
        check_batch(r, &h, payload, size, r->what[seq]);
    free(payload);
    return found.last;
}

static void do_look(struct run *r)
{
    uint64_t last = 0;
    for (uint64_t seq = 1; seq <= r->n && !dead(r); seq = last + 1) {
        last = look_at(r, seq);
        if (last == 0)
            return;
    }
}

static bool opens(struct run *r)
{
    struct errmsg e = {""};
    int result = -EIO;
    r->s = NULL;
    for (int k = 0; may_try(r, result, k); k++) {
        result = r->s ? spool_open_late(r->s, &e) : spool_open(&r->config, T0 + 2000000, &r->s, &e);
        if (result == SPOOL_LATER)
            result = -EIO;
    }
    if (result < 0) {
        check(r, dead(r) || r->kind == VFS_FULL, "open: %d %s", result, e.text);
        spool_free(r->s);
        r->s = NULL;
        return false;
    }
    if (result == SPOOL_RENEWED) {
        check(r, r->renewed, "a sound spool was set aside: %s", e.text);
        begin_anew(r);
    }
    // One more for each time it was opened and not closed.
    while (r->config.live && r->n + 1 < spool_next_seq(r->s))
        r->what[++r->n] = UNKNOWN;
    memcpy(r->id, spool_id(r->s), sizeof r->id);
    return true;
}

static void closes(struct run *r)
{
    spool_free(r->s);
    r->s = NULL;
}

// What is there beyond what was said to be done.
static void check_more(struct run *r)
{
    check(r, spool_next_seq(r->s) > r->n, "numbers are missing");
    if (spool_next_seq(r->s) > r->n + 1 && r->n_maybe > 0) {
        struct spool_entry found;
        struct wire_header h = {0};
        uint8_t *payload = NULL;
        size_t size;
        uint64_t seq = ++r->n;
        check(r,
              spool_look(r->s, seq, &found) == 0 &&
                  spool_read(r->s, found.first, found.last, &h, &payload, &size) == 0,
              "number %llu cannot be read", (unsigned long long)seq);
        free(payload);
        r->what[seq] = found.loss ? UNKNOWN : h.frames;
        bool known = found.loss && r->config.live;
        for (unsigned i = 0; i < r->n_maybe; i++)
            known |= !found.loss && r->maybe[i] == h.frames;
        check(r, known, "number %llu is new", (unsigned long long)seq);
    }
    // The end before was not clean.
    while (r->config.live && r->n + 1 < spool_next_seq(r->s))
        r->what[++r->n] = UNKNOWN;
    check(r, r->n + 1 == spool_next_seq(r->s), "number %llu is new",
          (unsigned long long)(r->n + 1));
}

// Opens again, with a disk that works, and compares.
static void check_after(struct run *r)
{
    closes(r);
    if (r->kind == ALLOC)
        (void)fail_alloc_end();
    else
        (void)vfs_fail_end();
    struct errmsg e = {""};
    int result = spool_open(&r->config, T0 + 3000000, &r->s, &e);
    check(r, result >= 0, "opening again: %s", e.text);
    if (has_other_id(r) && !r->may_fork) {
        check(r, r->renewed, "another spool: %s", e.text);
        begin_anew(r);
    }
    if (!r->may_fork) {
        check_more(r);
        check(r, spool_acked_through(r->s) <= r->told, "more is acknowledged than was said");
        do_look(r);
    }
    check(r, put(r->s, 99, 1000) == 0, "append after all");
    closes(r);
}

// ---- scripts

static struct bytes fixture; // what the script begins with; p NULL: no file

static void script_life(struct run *r)
{
    if (!opens(r))
        return;
    do_append(r, 1, 1000);
    do_append(r, 2, 30);
    do_append(r, 3, 9000);
    do_look(r);
    do_acked(r, 2);
    do_append(r, 4, 1200);
    do_rewind(r, 1);
    do_acked(r, 3);
    spool_note(r->s, "peer", "error", T0);
    do_look(r);
    do_fork(r, 3);
    do_append(r, 5, 5000);
    do_look(r);
    if (!dead(r))
        (void)spool_close_clean(r->s);
    closes(r);
    if (dead(r) || !opens(r))
        return;
    do_look(r);
    do_append(r, 6, 500);
}

// At the cap: acknowledged batches go, then others, all of them declared with their counts.
static void script_cap(struct run *r)
{
    for (r->n = 0; r->n + 1 < spool_next_seq(r->s); r->n++)
        r->what[r->n + 1] = r->n + 1;
    r->told = spool_acked_through(r->s);
    r->gone = r->told;
    uint64_t first = r->n + 1;
    do_append(r, first, 60000);
    do_append(r, first + 1, 60000);
    r->gone = 6; // of which 3 were not acknowledged
    do_append(r, first + 2, 60000);
    do_append(r, first + 3, 60000);
    do_append(r, first + 4, 60000);
    do_look(r);
}

static void script_open(struct run *r)
{
    if (!opens(r))
        return;
    do_append(r, 50, 1000);
    do_look(r);
}

typedef void script_fn(struct run *r);

static void begin(struct run *r, unsigned n)
{
    if (r->kind == ALLOC)
        fail_alloc_at(n);
    else
        vfs_fail_at((enum vfs_kind)r->kind, n);
}

// Whether the n-th call was there to fail.
static bool once(script_fn *script, const struct run *start, int kind, unsigned n, bool opened)
{
    struct run r = *start;
    r.kind = kind;
    r.at = n;
    if (r.config.live || fixture.p || r.renewed)
        write_file(&fixture);
    else
        remove_all();
    if (opened)
        check(&r, opens(&r), "open");
    begin(&r, n);
    script(&r);
    bool was = failed(&r);
    check_after(&r);
    return was;
}

static void each(script_fn *script, const struct run *start, int kind, bool opened)
{
    // ./tests/run failures takes every point, the ordinary run one of several.
    const char *text = getenv("HIRUNDO_TEST_STEP");
    unsigned step = text ? (unsigned)strtoul(text, NULL, 10) : 7;
    unsigned n = 1;
    unsigned runs = 0;
    for (; once(script, start, kind, n, opened); runs++)
        n += MAX(step, 1);
    assert_true(runs > 0);
    print_message("# %s: %u runs, %u points\n", kind_names[kind], runs, n - 1);
}

static void each_kind(script_fn *script, const struct run *start, bool opened)
{
    for (int kind = 0; kind <= ALLOC; kind++)
        each(script, start, kind, opened);
}

static void test_life(void **state)
{
    (void)state;
    fixture = (struct bytes){0};
    struct run start = {.config = {.path = path, .cap_bytes = SPOOL_CAP_DEFAULT}};
    each_kind(script_life, &start, false);
}

// A spool as it was left: `full` of batches of 60,000 bytes, or with two small ones.
static void make_fixture(struct run *start, bool full, bool clean)
{
    struct spool_config *config = &start->config;
    struct spool *s;
    struct errmsg e;
    remove_all();
    assert_int_equal(spool_open(config, T0, &s, &e), 0);
    uint64_t n = full ? 30 : 2;
    for (uint64_t i = 1; i <= n; i++)
        assert_int_equal(put(s, i, full ? 60000 : 1000), 0);
    assert_int_equal(spool_evicted(s), 0);
    assert_int_equal(spool_acked(s, full ? 3 : 1, T0), 0);
    assert_int_equal(clean ? spool_close_clean(s) : spool_sync(s), 0);
    memcpy(start->id, spool_id(s), sizeof start->id);
    spool_free(s);
    fixture = read_file();
}

static void drop_fixture(void)
{
    free(fixture.p);
    fixture = (struct bytes){0};
}

static void test_cap(void **state)
{
    (void)state;
    struct run start = {.config = {.path = path, .cap_bytes = SPOOL_CAP_MIN}};
    make_fixture(&start, true, true);
    each_kind(script_cap, &start, true);
    drop_fixture();
}

// Of a spool that must open, and of one that goes on without until it can be opened.
static void each_start(struct run *start)
{
    for (int later = 0; later < 2; later++) {
        start->config.later = later != 0;
        each_kind(script_open, start, false);
    }
}

// The start after SIGKILL declares what was in memory.
static void test_after_an_unclean_end(void **state)
{
    (void)state;
    struct run start = {
        .config = {.path = path, .cap_bytes = SPOOL_CAP_DEFAULT, .live = true},
        .what = {0, 1, 2, UNKNOWN},
        .n = 3,
        .told = 1,
    };
    make_fixture(&start, false, false);
    each_start(&start);
    drop_fixture();
}

static void test_damaged(void **state)
{
    (void)state;
    struct run start = {.config = {.path = path, .cap_bytes = SPOOL_CAP_DEFAULT, .live = true},
                        .renewed = true,
                        .n = 1};
    make_fixture(&start, false, true);
    memset(fixture.p + 4096, 0xa5, 4096);
    each_start(&start);
    drop_fixture();
}

static void test_gone(void **state)
{
    (void)state;
    fixture = (struct bytes){0};
    struct run start = {.config = {.path = path, .cap_bytes = SPOOL_CAP_DEFAULT, .live = true},
                        .renewed = true,
                        .n = 1};
    each_start(&start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_after_an_unclean_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
