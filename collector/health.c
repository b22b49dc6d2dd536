#include "collector/health.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "collector/migrate.h"
#include "common/clock.h"
#include "common/log.h"

#define STEP_MS    200 // how long a stop may wait
#define WRITE_MS   2000
#define AGAIN_MS   5000 // after the database failed
#define READ_MS    15000
#define SIZE_MS    10000
#define CLOCK_MS   10000
#define TIMEOUT_MS 10000 // of a statement: a stop waits for it

struct health {
    struct health_options options;
    struct db *db;
    pthread_t thread;
    struct pulse pulse;
    atomic_bool stopping;
    bool failing;
    int64_t write_at, read_at, size_at, clock_at, connect_at; // monotonic ms
    struct clock_watch clock;
    pthread_mutex_t mutex; // of what follows
    PGresult *database, *sensors, *surges;
    int64_t read_ms; // wall clock
    struct clock_signs signs;
    bool clock_known, clock_off;
};

static int connect_db(struct health *h, struct errmsg *e)
{
    _cleanup_(db_freep) struct db *db = NULL;
    pulse_allow(&h->pulse, DB_OPEN_MS);
    int r = db_open(h->options.conninfo, "hirundo_collector", &db, e);
    if (r == 0) {
        db_set_pulse(db, &h->pulse);
        r = migrate_check(db, e);
    }
    if (r == 0)
        r = db_exec(db, "set lock_timeout = '2s'", e);
    if (r != 0)
        return r;
    db_set_timeout(db, TIMEOUT_MS);
    h->db = db;
    db = NULL;
    return 0;
}

static int read_database(struct health *h, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *database = NULL;
    _cleanup_(db_result_freep) PGresult *sensors = NULL;
    _cleanup_(db_result_freep) PGresult *surges = NULL;
    int r = db_query(h->db, metrics_database_sql, 0, NULL, &database, e);
    if (r == 0)
        r = db_query(h->db, metrics_sensors_sql, 0, NULL, &sensors, e);
    if (r == 0)
        r = db_query(h->db, metrics_surges_sql, 0, NULL, &surges, e);
    if (r != 0)
        return r;
    pthread_mutex_lock(&h->mutex);
    PGresult *old_database = h->database, *old_sensors = h->sensors, *old_surges = h->surges;
    h->database = database;
    h->sensors = sensors;
    h->surges = surges;
    h->read_ms = wall_ms();
    pthread_mutex_unlock(&h->mutex);
    database = old_database;
    sensors = old_sensors;
    surges = old_surges;
    return 0;
}

void health_view(struct health *h, struct metrics_view *view,
                 void (*use)(const struct metrics_view *view, void *data), void *data)
{
    pthread_mutex_lock(&h->mutex);
    view->database = h->database;
    view->sensors = h->sensors;
    view->surges = h->surges;
    view->read_ms = h->read_ms;
    view->clock_known = h->clock_known;
    view->clock_off = h->clock_off;
    view->clock_less_database_ms = h->signs.database_ms;
    use(view, data);
    pthread_mutex_unlock(&h->mutex);
}

static int look_at_clock(struct health *h, struct errmsg *e)
{
    struct clock_signs signs;
    int r = clock_watch_look(&h->clock, h->options.heartbeats, h->db, &signs, e);
    if (r != 0)
        return r;
    pthread_mutex_lock(&h->mutex);
    h->signs = signs;
    h->clock_known = true;
    h->clock_off = h->clock.verdict == CLOCK_OURS;
    pthread_mutex_unlock(&h->mutex);
    return 0;
}

static int work(struct health *h, int64_t now, struct errmsg *e)
{
    int r = h->db ? 0 : connect_db(h, e);
    if (r == 0 && now >= h->write_at) {
        r = heartbeats_write(h->options.heartbeats, h->db, e);
        h->write_at = now + WRITE_MS;
    }
    if (r == 0 && now >= h->size_at && !atomic_load(&h->stopping)) {
        r = guard_look_at_size(h->options.guard, h->db, e);
        h->size_at = now + SIZE_MS;
    }
    if (r == 0 && now >= h->clock_at && !atomic_load(&h->stopping)) {
        r = look_at_clock(h, e);
        h->clock_at = now + CLOCK_MS;
    }
    if (r == 0 && h->options.reads && now >= h->read_at && !atomic_load(&h->stopping)) {
        r = read_database(h, e);
        h->read_at = now + READ_MS;
    }
    return r;
}

static void try_work(struct health *h, int64_t now)
{
    struct errmsg e = {"out of memory"};
    int r = work(h, now, &e);
    if (r != 0 && !h->failing)
        log_error("health of sensors cannot be written or read: %s", e.text);
    h->failing = r != 0;
    if (r < 0) {
        db_free(h->db);
        h->db = NULL;
        h->connect_at = now + AGAIN_MS;
    }
}

static void *run(void *data)
{
    struct health *h = data;
    const struct timespec step = {0, STEP_MS * 1000000L};
    pthread_setname_np(pthread_self(), "health");
    while (!atomic_load(&h->stopping)) {
        pulse_beat(&h->pulse);
        int64_t now = mono_ms();
        guard_look_at_disks(h->options.guard);
        if (h->db || now >= h->connect_at)
            try_work(h, now);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
    }
    h->write_at = 0;
    if (h->db)
        try_work(h, mono_ms());
    return NULL;
}

static void health_free(struct health *h)
{
    if (!h)
        return;
    db_free(h->db);
    PQclear(h->database);
    PQclear(h->sensors);
    PQclear(h->surges);
    pthread_mutex_destroy(&h->mutex);
    free(h);
}
DEFINE_CLEANUP(struct health *, health_free)

int health_start(const struct health_options *options, struct health **ret, struct errmsg *e)
{
    struct health *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    pthread_mutex_init(&made->mutex, NULL);
    _cleanup_(health_freep) struct health *h = made;
    h->options = *options;
    pulse_beat(&h->pulse);
    int r = -pthread_create(&h->thread, NULL, run, h);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    *ret = h;
    h = NULL;
    return 0;
}

const struct pulse *health_pulse(const struct health *h)
{
    return &h->pulse;
}

void health_stop(struct health *h)
{
    if (!h)
        return;
    atomic_store(&h->stopping, true);
    pthread_join(h->thread, NULL);
    health_free(h);
}
