#include "collector/heartbeats.h"

#include <ctype.h>
#include <pthread.h>
#include <string.h>

#include "collector/map.h"
#include "collector/text.h"
#include "common/clock.h"

#define COUNT_MAX   (1ULL << 53)
#define SECONDS_MAX 3155760000ULL         // a hundred years: an interval that timestamps can take
#define OFFSET_MAX  (100LL * 31557600000) // ms

struct heartbeats {
    pthread_mutex_t lock;
    struct map *index;      // sensor_id -> position
    struct heartbeat *list; // one for each sensor that was heard
    size_t n;
};

int heartbeats_new(struct heartbeats **ret)
{
    struct heartbeats *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    if (map_new(sizeof(int16_t), &h->index) < 0) {
        free(h);
        return -ENOMEM;
    }
    pthread_mutex_init(&h->lock, NULL);
    *ret = h;
    return 0;
}

void heartbeats_free(struct heartbeats *h)
{
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    map_free(h->index);
    free(h->list);
    free(h);
}

// Printable ASCII that needs no quoting inside an array of SQL.
static void clean_text(char *text)
{
    for (char *p = text; *p; p++) {
        if (*p == '"')
            *p = '\'';
        else if (*p == '\\')
            *p = '/';
        else if (!isprint((unsigned char)*p))
            *p = '?';
    }
}

static void bound(struct heartbeat *b)
{
    struct wire_heartbeat *w = &b->beat;
    uint64_t *const counts[] = {&w->rss_kib,
                                &w->cpu_ms,
                                &w->spool_batches,
                                &w->spool_bytes,
                                &w->spool_cap_bytes,
                                &w->spool_dropped,
                                &w->queue_batches,
                                &w->round_trip_ms,
                                &b->counters.frames,
                                &b->counters.kernel_dropped,
                                &b->counters.interface_dropped};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        *counts[i] = MIN(*counts[i], COUNT_MAX);
    w->uptime_s = MIN(w->uptime_s, SECONDS_MAX);
    w->spool_age_s = MIN(w->spool_age_s, SECONDS_MAX);
    w->clock_offset_ms = MAX(MIN(w->clock_offset_ms, OFFSET_MAX), -OFFSET_MAX);
    clean_text(b->peer);
    clean_text(w->version);
    clean_text(w->problem);
}

// Under the lock; NULL: no memory.
static struct heartbeat *entry_of(struct heartbeats *h, int16_t sensor_id)
{
    const uint32_t *at = map_get(h->index, &sensor_id);
    if (at)
        return &h->list[*at];
    struct heartbeat *list = realloc(h->list, (h->n + 1) * sizeof *list);
    if (!list)
        return NULL;
    h->list = list;
    list[h->n] = (struct heartbeat){.sensor_id = sensor_id};
    if (map_put(h->index, &sensor_id, (uint32_t)h->n) < 0)
        return NULL;
    return &h->list[h->n++];
}

int heartbeats_put(struct heartbeats *h, const struct heartbeat *beat)
{
    struct heartbeat bounded = *beat;
    bound(&bounded);
    bounded.is_new = true;
    pthread_mutex_lock(&h->lock);
    struct heartbeat *entry = entry_of(h, beat->sensor_id);
    if (entry)
        *entry = bounded;
    pthread_mutex_unlock(&h->lock);
    return entry ? 0 : -ENOMEM;
}

// ---- clocks

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void heartbeats_clocks(struct heartbeats *h, int64_t since_mono_ms, int64_t limit_ms,
                       struct heartbeats_clocks *ret)
{
    *ret = (struct heartbeats_clocks){0};
    pthread_mutex_lock(&h->lock);
    _cleanup_(freep) int64_t *offsets = calloc(h->n + 1, sizeof *offsets);
    for (size_t i = 0; offsets && i < h->n; i++) {
        int64_t offset = h->list[i].beat.clock_offset_ms;
        if (h->list[i].received_mono_ms < since_mono_ms)
            continue;
        offsets[ret->heard++] = offset;
        ret->behind += offset > limit_ms;
        ret->ahead += offset < -limit_ms;
    }
    pthread_mutex_unlock(&h->lock);
    if (!offsets || ret->heard == 0)
        return;
    qsort(offsets, ret->heard, sizeof *offsets, by_value);
    ret->median_ms = offsets[ret->heard / 2];
}

// ---- writing

static int by_sensor(const void *a, const void *b)
{
    return ((const struct heartbeat *)a)->sensor_id - ((const struct heartbeat *)b)->sensor_id;
}

// A copy of what is new, in the order in which rows are locked; it is not new any more.
static int take_new(struct heartbeats *h, struct heartbeat **ret, size_t *ret_n)
{
    pthread_mutex_lock(&h->lock);
    struct heartbeat *taken = calloc(h->n + 1, sizeof *taken);
    size_t n = 0;
    for (size_t i = 0; taken && i < h->n; i++) {
        if (h->list[i].is_new)
            taken[n++] = h->list[i];
        h->list[i].is_new = false;
    }
    pthread_mutex_unlock(&h->lock);
    if (!taken)
        return -ENOMEM;
    qsort(taken, n, sizeof *taken, by_sensor);
    *ret = taken;
    *ret_n = n;
    return 0;
}

// They are new again where none has come since.
static void give_back(struct heartbeats *h, const struct heartbeat *taken, size_t n)
{
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < n; i++) {
        struct heartbeat *entry = entry_of(h, taken[i].sensor_id);
        if (entry && entry->received_mono_ms == taken[i].received_mono_ms)
            entry->is_new = true;
    }
    pthread_mutex_unlock(&h->lock);
}

enum {
    H_SENSOR,
    H_AGO,
    H_PEER,
    H_VERSION,
    H_RUN,
    H_UPTIME,
    H_RSS,
    H_CPU,
    H_BATCHES,
    H_BYTES,
    H_CAP,
    H_AGE,
    H_DROPPED,
    H_QUEUE,
    H_OFFSET,
    H_TRIP,
    H_FRAMES,
    H_KERNEL,
    H_IF,
    H_FAILING,
    H_PROBLEM,
    H_COLUMNS
};

static void add_row(struct text columns[H_COLUMNS], const struct heartbeat *b, int64_t now_ms)
{
    const struct wire_heartbeat *w = &b->beat;
    const struct {
        int column;
        int64_t value;
    } numbers[] = {
        {H_SENSOR, b->sensor_id},
        {H_AGO, MAX(now_ms - b->received_mono_ms, 0)},
        {H_RUN, (int64_t)b->run_id},
        {H_UPTIME, (int64_t)w->uptime_s},
        {H_RSS, (int64_t)w->rss_kib},
        {H_CPU, (int64_t)w->cpu_ms},
        {H_BATCHES, (int64_t)w->spool_batches},
        {H_BYTES, (int64_t)w->spool_bytes},
        {H_CAP, (int64_t)w->spool_cap_bytes},
        {H_AGE, (int64_t)w->spool_age_s},
        {H_DROPPED, (int64_t)w->spool_dropped},
        {H_QUEUE, (int64_t)w->queue_batches},
        {H_OFFSET, w->clock_offset_ms},
        {H_TRIP, (int64_t)w->round_trip_ms},
        {H_FRAMES, (int64_t)b->counters.frames},
        {H_KERNEL, (int64_t)b->counters.kernel_dropped},
        {H_IF, (int64_t)b->counters.interface_dropped},
    };
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        text_array_int(&columns[numbers[i].column], numbers[i].value);
    text_array_word(&columns[H_PEER], b->peer);
    text_array_word(&columns[H_VERSION], w->version);
    text_array_word(&columns[H_FAILING], w->spool_failing ? "t" : "f");
    text_array_word(&columns[H_PROBLEM], w->problem);
}

// Another collector may have heard of a sensor later. Times are the database's, by which
// sensor_status judges them: a collector whose clock is wrong must not hide what comes after.
static const char latest[] =
    "insert into hirundo.heartbeat as h (sensor_id, received_at, peer, version, run_id, uptime_s, "
    "rss_kib, cpu_ms, spool_batches, spool_bytes, spool_cap_bytes, spool_age_s, spool_dropped, "
    "queue_batches, clock_offset_ms, round_trip_ms, frames, kernel_dropped, if_dropped, "
    "spool_failing, problem) select u.s, now() - u.t * interval '1 ms', u.p, u.v, "
    "u.r, u.c5, u.c6, u.c7, u.c8, u.c9, u.c10, u.c11, u.c12, u.c13, u.c14, u.c15, u.c16, u.c17, "
    "u.c18, u.f, u.w from unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[], "
    "$5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], "
    "$11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], "
    "$17::bigint[], $18::bigint[], $19::bigint[], $20::boolean[], $21::text[]) "
    "u(s, t, p, v, r, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, f, w) "
    "order by u.s "
    "on conflict (sensor_id) do update set received_at = excluded.received_at, "
    "peer = excluded.peer, version = excluded.version, run_id = excluded.run_id, "
    "uptime_s = excluded.uptime_s, rss_kib = excluded.rss_kib, cpu_ms = excluded.cpu_ms, "
    "spool_batches = excluded.spool_batches, spool_bytes = excluded.spool_bytes, "
    "spool_cap_bytes = excluded.spool_cap_bytes, spool_age_s = excluded.spool_age_s, "
    "spool_dropped = excluded.spool_dropped, queue_batches = excluded.queue_batches, "
    "clock_offset_ms = excluded.clock_offset_ms, round_trip_ms = excluded.round_trip_ms, "
    "frames = excluded.frames, kernel_dropped = excluded.kernel_dropped, "
    "if_dropped = excluded.if_dropped, spool_failing = excluded.spool_failing, "
    "problem = excluded.problem where h.received_at < excluded.received_at or h.received_at > "
    "now()";

static const char hourly[] =
    "insert into hirundo.heartbeat_hour as h (sensor_id, hour, heartbeats, spool_batches, "
    "spool_age_s, clock_offset_min_ms, clock_offset_max_ms, round_trip_ms, rss_kib) "
    "select u.s, date_trunc('hour', now() - u.t * interval '1 ms', 'UTC'), 1, u.b, "
    "u.a, u.o, u.o, u.r, u.k from unnest($1::smallint[], $2::bigint[], $3::bigint[], "
    "$4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) u(s, t, b, a, o, r, k) order by u.s "
    "on conflict (sensor_id, hour) do update set heartbeats = h.heartbeats + 1, "
    "spool_batches = greatest(h.spool_batches, excluded.spool_batches), "
    "spool_age_s = greatest(h.spool_age_s, excluded.spool_age_s), "
    "clock_offset_min_ms = least(h.clock_offset_min_ms, excluded.clock_offset_min_ms), "
    "clock_offset_max_ms = greatest(h.clock_offset_max_ms, excluded.clock_offset_max_ms), "
    "round_trip_ms = greatest(h.round_trip_ms, excluded.round_trip_ms), "
    "rss_kib = greatest(h.rss_kib, excluded.rss_kib)";

static int write_columns(const struct text columns[H_COLUMNS], struct db *db, struct errmsg *e)
{
    const char *all[H_COLUMNS];
    for (size_t k = 0; k < H_COLUMNS; k++) {
        if (columns[k].bad)
            return -ENOMEM;
        all[k] = columns[k].p;
    }
    const char *some[] = {all[H_SENSOR], all[H_AGO],  all[H_BATCHES], all[H_AGE],
                          all[H_OFFSET], all[H_TRIP], all[H_RSS]};
    int r = db_exec(db, "begin", e);
    if (r == 0)
        r = db_query(db, latest, H_COLUMNS, all, NULL, e);
    if (r == 0)
        r = db_query(db, hourly, ARRAY_SIZE(some), some, NULL, e);
    if (r == 0)
        return db_exec(db, "commit", e);
    if (db_is_open(db))
        (void)db_exec(db, "rollback", NULL);
    return r;
}

int heartbeats_write(struct heartbeats *h, struct db *db, struct errmsg *e)
{
    _cleanup_(freep) struct heartbeat *taken = NULL;
    size_t n;
    int r = take_new(h, &taken, &n);
    if (r < 0 || n == 0)
        return r;
    struct text columns[H_COLUMNS] = {0};
    int64_t now_ms = mono_ms();
    for (size_t i = 0; i < n; i++)
        add_row(columns, &taken[i], now_ms);
    for (size_t k = 0; k < H_COLUMNS; k++)
        text_array_end(&columns[k]);
    r = write_columns(columns, db, e);
    for (size_t k = 0; k < H_COLUMNS; k++)
        text_release(&columns[k]);
    if (r < 0)
        give_back(h, taken, n);
    return r;
}
