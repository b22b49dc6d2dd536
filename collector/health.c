#include "collector/health.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "collector/migrate.h"
#include "common/log.h"

#define STEP_MS    200 // how long a stop may wait
#define WRITE_MS   2000
#define AGAIN_MS   5000  // after the database failed
#define TIMEOUT_MS 10000 // of a statement: a stop waits for it

struct health {
    struct health_options options;
    struct db *db;
    pthread_t thread;
    atomic_bool stopping;
    bool failing;
    int64_t write_at, connect_at; // monotonic ms
};

static int64_t monotonic_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int connect_db(struct health *h, struct errmsg *e)
{
    _cleanup_(db_freep) struct db *db = NULL;
    int r = db_open(h->options.conninfo, "hirundo_collector", &db, e);
    if (r == 0)
        r = migrate_check(db, e);
    if (r == 0)
        r = db_exec(db, "set lock_timeout = '2s'", e);
    if (r != 0)
        return r;
    db_set_timeout(db, TIMEOUT_MS);
    h->db = db;
    db = NULL;
    return 0;
}

static int work(struct health *h, int64_t now, struct errmsg *e)
{
    int r = h->db ? 0 : connect_db(h, e);
    if (r == 0 && now >= h->write_at) {
        r = heartbeats_write(h->options.heartbeats, h->db, e);
        h->write_at = now + WRITE_MS;
    }
    return r;
}

static void try_work(struct health *h, int64_t now)
{
    struct errmsg e = {"out of memory"};
    int r = work(h, now, &e);
    if (r != 0 && !h->failing)
        log_error("health of sensors cannot be written: %s", e.text);
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
    while (!atomic_load(&h->stopping)) {
        int64_t now = monotonic_ms();
        if (h->db || now >= h->connect_at)
            try_work(h, now);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
    }
    h->write_at = 0;
    if (h->db)
        try_work(h, monotonic_ms());
    return NULL;
}

static void health_free(struct health *h)
{
    if (!h)
        return;
    db_free(h->db);
    free(h);
}
DEFINE_CLEANUP(struct health *, health_free)

int health_start(const struct health_options *options, struct health **ret, struct errmsg *e)
{
    _cleanup_(health_freep) struct health *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->options = *options;
    int r = -pthread_create(&h->thread, NULL, run, h);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    *ret = h;
    h = NULL;
    return 0;
}

void health_stop(struct health *h)
{
    if (!h)
        return;
    atomic_store(&h->stopping, true);
    pthread_join(h->thread, NULL);
    health_free(h);
}
