#include "collector/keeper.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "collector/migrate.h"
#include "common/clock.h"
#include "common/log.h"

#define REFRESH_MS        1000
#define STEP_MS           200 // how long a stop may wait
#define PARTITIONS_MS     (15 * 60 * 1000)
#define DAYS_AHEAD        2
#define ANNOUNCE_MS       (15 * 60 * 1000)
#define STRANGERS_MS      5000 // a flood of unknown keys costs the database no more than this
#define ANNOUNCEMENTS_MAX 2

// Where this collector is reached.
struct announcement {
    uint8_t key[KEY_SIZE];
    struct conf_list endpoints;
    bool is_next;
};

struct keeper {
    const char *conninfo;
    struct keyring *keyring;
    struct strangers *strangers;
    struct alarms *alarms;
    struct db *db;
    pthread_t thread;
    struct pulse pulse;
    atomic_bool stopping;
    int64_t partitions_ms; // when they were last made
    int64_t strangers_ms;  // when they were last saved
    pthread_mutex_t lock;  // of what follows
    struct announcement announcements[ANNOUNCEMENTS_MAX];
    size_t n_announcements;
    int64_t announced_ms;
};

static int connect_db(struct keeper *k, struct errmsg *e)
{
    _cleanup_(db_freep) struct db *db = NULL;
    pulse_allow(&k->pulse, DB_OPEN_MS);
    int r = db_open(k->conninfo, "hirundo_collector", &db, e);
    if (r == 0) {
        db_set_pulse(db, &k->pulse);
        r = migrate_check(db, e);
    }
    if (r == 0)
        r = db_exec(db, "set lock_timeout = '2s'", e); // a revoked key must not wait for a lock
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
    int64_t now = mono_ms();
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

static int note_used_keys(struct keeper *k, struct errmsg *e)
{
    uint8_t key[KEY_SIZE];
    while (keyring_take_used(k->keyring, key)) {
        const char *values[] = {(const char *)key};
        const int lengths[] = {KEY_SIZE};
        int r = db_query_mixed(k->db, "select hirundo.key_used($1::bytea)", 1, values, lengths,
                               NULL, e);
        if (r != 0) {
            keyring_note_used(k->keyring, key);
            return r;
        }
    }
    return 0;
}

static int save_strangers(struct keeper *k, struct errmsg *e)
{
    int64_t now = mono_ms();
    if (now - k->strangers_ms < STRANGERS_MS)
        return 0;
    k->strangers_ms = now;
    return strangers_save(k->strangers, k->db, e);
}

static int announce_one(struct keeper *k, const struct announcement *a, struct errmsg *e)
{
    int r = 0;
    for (size_t i = 0; i < a->endpoints.n && r == 0; i++) {
        const char *values[] = {(const char *)a->key, a->endpoints.items[i],
                                a->is_next ? "true" : "false"};
        const int lengths[] = {KEY_SIZE, -1, -1};
        r = db_query_mixed(
            k->db,
            "insert into hirundo.collector_endpoint (public_key, endpoint, is_next, seen_at) "
            "values ($1::bytea, $2, $3::boolean, clock_timestamp()) on conflict (public_key, "
            "endpoint) "
            "do update set is_next = excluded.is_next, seen_at = excluded.seen_at",
            3, values, lengths, NULL, e);
    }
    return r;
}

static int announce(struct keeper *k, struct errmsg *e)
{
    int64_t now = mono_ms();
    pthread_mutex_lock(&k->lock);
    int r = 0;
    if (now - k->announced_ms >= ANNOUNCE_MS) {
        for (size_t i = 0; i < k->n_announcements && r == 0; i++)
            r = announce_one(k, &k->announcements[i], e);
        if (r == 0)
            k->announced_ms = now;
    }
    pthread_mutex_unlock(&k->lock);
    return r;
}

int keeper_announce(struct keeper *k, const uint8_t key[KEY_SIZE],
                    const struct conf_list *endpoints, bool is_next)
{
    int r = 0;
    pthread_mutex_lock(&k->lock);
    struct announcement *a =
        k->n_announcements < ANNOUNCEMENTS_MAX ? &k->announcements[k->n_announcements++] : NULL;
    if (a) {
        memcpy(a->key, key, KEY_SIZE);
        a->is_next = is_next;
        for (size_t i = 0; i < endpoints->n && r == 0; i++)
            r = conf_list_add(&a->endpoints, endpoints->items[i]);
    }
    k->announced_ms = INT64_MIN / 2;
    pthread_mutex_unlock(&k->lock);
    return r;
}

static int save_alarms(struct keeper *k, struct errmsg *e)
{
    return alarms_save(k->alarms, k->db, e);
}

// What the database refuses of one does not keep the others from being done; the first error is
// told.
static int do_chores(struct keeper *k, struct errmsg *e)
{
    static int (*const chores[])(struct keeper *, struct errmsg *) = {
        make_partitions, note_used_keys, save_strangers, save_alarms, announce};
    int first = 0;
    for (size_t i = 0; i < ARRAY_SIZE(chores) && first >= 0; i++) {
        struct errmsg now = {"out of memory"};
        int r = chores[i](k, &now);
        if (r != 0 && (first == 0 || r < 0)) {
            first = r;
            *e = now;
        }
    }
    return first;
}

static int refresh(struct keeper *k, struct errmsg *e)
{
    size_t before = keyring_count(k->keyring);
    int r = k->db ? 0 : connect_db(k, e);
    if (r == 0)
        r = keyring_refresh(k->keyring, k->db, e);
    if (r == 0 && keyring_count(k->keyring) != before)
        log_info("%zu keys are enrolled", keyring_count(k->keyring));
    return r == 0 ? do_chores(k, e) : r;
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
    pthread_setname_np(pthread_self(), "keeper");
    while (!atomic_load(&k->stopping)) {
        pulse_beat(&k->pulse);
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
    for (size_t i = 0; i < k->n_announcements; i++)
        conf_list_clear(&k->announcements[i].endpoints);
    pthread_mutex_destroy(&k->lock);
    free(k);
}
DEFINE_CLEANUP(struct keeper *, keeper_free)

int keeper_start(const char *conninfo, struct keyring *keyring, struct strangers *strangers,
                 struct alarms *alarms, struct keeper **ret, struct errmsg *e)
{
    _cleanup_(keeper_freep) struct keeper *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->conninfo = conninfo;
    k->keyring = keyring;
    k->strangers = strangers;
    k->alarms = alarms;
    pthread_mutex_init(&k->lock, NULL);
    k->partitions_ms = k->strangers_ms = k->announced_ms = INT64_MIN / 2;
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

const struct pulse *keeper_pulse(const struct keeper *k)
{
    return &k->pulse;
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    atomic_store(&k->stopping, true);
    pthread_join(k->thread, NULL);
    keeper_free(k);
}
