#include "collector/keeper.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "collector/migrate.h"
#include "common/log.h"

#define REFRESH_MS    1000
#define STEP_MS       200 // how long a stop may wait
#define PARTITIONS_MS (15 * 60 * 1000)
#define DAYS_AHEAD    2

struct keeper {
    const char *conninfo;
    struct keyring *keyring;
    struct db *db;
    pthread_t thread;
    atomic_bool stopping;
    int64_t partitions_ms; // when they were last made
};

static int64_t monotonic_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int connect_db(struct keeper *k, struct errmsg *e)
{
    _cleanup_(db_freep) struct db *db = NULL;
    int r = db_open(k->conninfo, "hirundo_collector", &db, e);
    if (r == 0)
        r = migrate_check(db, e);
    if (r == 0)
        r = db_exec(db, "listen hirundo_keys", e);
    // Before the tables were ever analyzed they seem to have five rows: a thousand keys would be
    // looked for in a thousand sensors one by one, every second.
    if (r == 0)
        r = db_exec(db, "set enable_nestloop = off", e);
    if (r != 0)
        return r < 0 ? r : -EINVAL;
    k->db = db;
    db = NULL;
    return 0;
}

static int make_partitions(struct keeper *k, struct errmsg *e)
{
    int64_t now = monotonic_ms();
    if (now - k->partitions_ms < PARTITIONS_MS)
        return 0;
    for (int i = 0; i <= DAYS_AHEAD; i++) {
        char days[8];
        snprintf(days, sizeof days, "%d", i);
        const char *values[] = {days};
        int r = db_query(k->db,
                         "select hirundo.partition_ensure((now() at time zone 'UTC')::date + "
                         "$1::integer)",
                         1, values, NULL, e);
        if (r != 0)
            return r;
    }
    k->partitions_ms = now;
    return 0;
}

static int refresh(struct keeper *k, struct errmsg *e)
{
    size_t before = keyring_count(k->keyring);
    int r = k->db ? 0 : connect_db(k, e);
    if (r == 0)
        r = keyring_refresh(k->keyring, k->db, e);
    if (r == 0 && keyring_count(k->keyring) != before)
        log_info("%zu keys are enrolled", keyring_count(k->keyring));
    if (r == 0)
        r = make_partitions(k, e);
    return r;
}

// Until a notification, REFRESH_MS or the stop.
static int wait_change(struct keeper *k, struct errmsg *e)
{
    int r = 0;
    for (int waited = 0; waited < REFRESH_MS && r == 0 && !atomic_load(&k->stopping);
         waited += STEP_MS)
        r = db_wait_notify(k->db, STEP_MS, e);
    return r < 0 ? r : 0;
}

static void *keeper_run(void *data)
{
    struct keeper *k = data;
    bool failing = false;
    while (!atomic_load(&k->stopping)) {
        struct errmsg e = {"out of memory"};
        int r = k->db ? wait_change(k, &e) : 0;
        if (r == 0)
            r = refresh(k, &e);
        if (r != 0) {
            if (!failing)
                log_error("keys and partitions: %s", e.text);
            db_free(k->db);
            k->db = NULL;
            const struct timespec step = {0, STEP_MS * 1000000L};
            for (int waited = 0; waited < REFRESH_MS && !atomic_load(&k->stopping);
                 waited += STEP_MS)
                clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
        }
        failing = r != 0;
    }
    return NULL;
}

static void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    db_free(k->db);
    free(k);
}
DEFINE_CLEANUP(struct keeper *, keeper_free)

int keeper_start(const char *conninfo, struct keyring *keyring, struct keeper **ret,
                 struct errmsg *e)
{
    _cleanup_(keeper_freep) struct keeper *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->conninfo = conninfo;
    k->keyring = keyring;
    k->partitions_ms = INT64_MIN / 2;
    int r = refresh(k, e);
    if (r != 0)
        return r < 0 ? r : -EINVAL;
    r = -pthread_create(&k->thread, NULL, keeper_run, k);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    *ret = k;
    k = NULL;
    return 0;
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    atomic_store(&k->stopping, true);
    pthread_join(k->thread, NULL);
    keeper_free(k);
}
