#include "collector/rollup.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "collector/migrate.h"
#include "common/clock.h"
#include "common/log.h"

#define STEP_MS      200 // how long a stop may wait
#define ROUND_MS     (60 * 1000)
#define RETENTION_MS (60 * 60 * 1000)

struct rollup {
    const char *conninfo;
    const atomic_bool *paused;
    struct db *db;
    pthread_t thread;
    atomic_bool stopping, ended;
    pthread_mutex_t mutex;
    PGcancel *cancel;     // of db, under mutex
    int64_t retention_ms; // when it was last looked after
    bool surges_failing;  // and it was said
};

static void sleep_step(void)
{
    const struct timespec step = {0, STEP_MS * 1000000L};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
}

int rollup_step(struct db *db, int *ret, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select hirundo.rollup_step()", 0, NULL, &result, e);
    if (r == 0)
        *ret = PQgetisnull(result, 0, 0) ? -1 : atoi(PQgetvalue(result, 0, 0));
    return r;
}

__attribute__((format(printf, 2, 3))) static void tell(void (*say)(const char *line),
                                                       const char *format, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    say(line);
}

// Transaction by transaction, until none is left.
static int drop_flow(struct db *db, void (*say)(const char *line), int *ret_days, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *why = NULL;
    int r = db_query(db,
                     "select concat_ws(', ', case when exists (select from "
                     "hirundo.partition_days() p where (p.day + 1)::timestamp at time zone 'UTC' "
                     "<= hirundo.retention_cutoff()) then 'retention_flow = ' || "
                     "hirundo.setting('retention_flow') end, case when exists (select from "
                     "hirundo.flow_over_size()) then 'max_size_flow = ' || "
                     "hirundo.setting('max_size_flow') end)",
                     0, NULL, &why, e);
    char first[16] = "", last[16] = "";
    int all = 0;
    for (int n = 1; r == 0 && n > 0; all += n) {
        _cleanup_(db_result_freep) PGresult *days = NULL;
        n = 0;
        r = db_query(db, "select count(*), min(d), max(d) from hirundo.partition_expire() d", 0,
                     NULL, &days, e);
        if (r == 0)
            n = atoi(PQgetvalue(days, 0, 0));
        if (n > 0 && all == 0)
            snprintf(first, sizeof first, "%s", PQgetvalue(days, 0, 1));
        if (n > 0)
            snprintf(last, sizeof last, "%s", PQgetvalue(days, 0, 2));
    }
    if (all > 0)
        tell(say, "flow: %d days dropped, from %s to %s (%s)", all, first, last,
             PQgetvalue(why, 0, 0));
    *ret_days = all;
    return r;
}

// sql: rows of (table, until when, how many, by which setting).
static int delete_rows(struct db *db, const char *sql, void (*say)(const char *line),
                       int64_t *ret_rows, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, sql, 0, NULL, &result, e);
    if (r != 0)
        return r;
    int64_t all = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t rows = strtoll(PQgetvalue(result, i, 2), NULL, 10);
        bool dated = !PQgetisnull(result, i, 1);
        if (rows > 0)
            tell(say, "%s: %" PRId64 " rows deleted%s%s (%s)", PQgetvalue(result, i, 0), rows,
                 dated ? ", before " : "", PQgetvalue(result, i, 1), PQgetvalue(result, i, 3));
        all += rows;
    }
    *ret_rows = all;
    return 0;
}

int rollup_surges(struct db *db, void (*say)(const char *line), int *ret, struct errmsg *e)
{
    int raised = 0, judged = 1, r = 0;
    while (r == 0 && judged > 0) {
        _cleanup_(db_result_freep) PGresult *result = NULL;
        r = db_query(db, "select alert from hirundo.surge_step()", 0, NULL, &result, e);
        judged = r == 0 ? PQntuples(result) : 0;
        for (int i = 0; i < judged; i++) {
            if (PQgetisnull(result, i, 0))
                continue;
            tell(say, "%s", PQgetvalue(result, i, 0));
            raised++;
        }
    }
    *ret = raised;
    return r;
}

int rollup_retention(struct db *db, void (*say)(const char *line), struct rollup_dropped *ret,
                     struct errmsg *e)
{
    struct rollup_dropped dropped = {0};
    int64_t old = 0, large = 0, others = 0;
    int r = drop_flow(db, say, &dropped.flow_days, e);
    if (r == 0)
        r = delete_rows(db, "select what, until, count, why from hirundo.table_expire()", say,
                        &others, e);
    if (r == 0)
        r = delete_rows(db,
                        "select name, before, deleted, 'retention_' || name from "
                        "hirundo.rollup_expire()",
                        say, &old, e);
    if (r == 0)
        r = delete_rows(db,
                        "select name, before, deleted, 'max_size_' || name from "
                        "hirundo.rollup_shrink()",
                        say, &large, e);
    if (r != 0)
        return r;
    dropped.rollup_rows = old + large;
    dropped.other_rows = others;
    *ret = dropped;
    return 0;
}

static void set_db(struct rollup *j, struct db *db)
{
    pthread_mutex_lock(&j->mutex);
    PQfreeCancel(j->cancel);
    j->cancel = db ? db_cancel_new(db) : NULL;
    pthread_mutex_unlock(&j->mutex);
    db_free(j->db);
    j->db = db;
}

static int connect_db(struct rollup *j, struct errmsg *e)
{
    _cleanup_(db_freep) struct db *db = NULL;
    int r = db_open(j->conninfo, "hirundo_collector", &db, e);
    if (r == 0)
        r = migrate_check(db, e);
    if (r != 0)
        return r;
    db_set_timeout(db, ROLLUP_TIMEOUT_MS);
    set_db(j, db);
    db = NULL;
    return 0;
}

// Steps until nothing is left, or another collector is at it.
static int roll_up(struct rollup *j, struct errmsg *e)
{
    int done = 1;
    int64_t marks = 0;
    int r = 0;
    while (r == 0 && done > 0 && !atomic_load(&j->stopping) && !atomic_load(j->paused)) {
        r = rollup_step(j->db, &done, e);
        if (r == 0 && done > 0)
            marks += done;
    }
    if (marks > 0)
        log_debug("rollups: %" PRId64 " marks worked off", marks);
    return r;
}

static void say_in_log(const char *line)
{
    log_notice("retention: %s", line);
}

static void say_surge(const char *line)
{
    log_notice("surge: %s", line);
}

// Its failure keeps nothing else from being done.
static int raise_surges(struct rollup *j, struct errmsg *e)
{
    int raised;
    if (atomic_load(&j->stopping) || atomic_load(j->paused))
        return 0;
    int r = rollup_surges(j->db, say_surge, &raised, e);
    if (r == DB_REFUSED && !j->surges_failing && !atomic_load(&j->stopping))
        log_error("surges: %s", e->text);
    j->surges_failing = r == DB_REFUSED;
    return r == DB_REFUSED ? 0 : r;
}

static int retain(struct rollup *j, struct errmsg *e)
{
    int64_t now = mono_ms();
    bool due = now - j->retention_ms >= RETENTION_MS || atomic_load(j->paused);
    if (!due || atomic_load(&j->stopping))
        return 0;
    struct rollup_dropped dropped = {0};
    int r = rollup_retention(j->db, say_in_log, &dropped, e);
    if (r == 0)
        j->retention_ms = now;
    return r;
}

static void *run(void *data)
{
    struct rollup *j = data;
    bool failing = false;
    while (!atomic_load(&j->stopping)) {
        struct errmsg e = {"out of memory"};
        int r = j->db ? 0 : connect_db(j, &e);
        if (r == 0)
            r = roll_up(j, &e);
        if (r == 0)
            r = raise_surges(j, &e);
        if (r == 0)
            r = retain(j, &e);
        if (r != 0) {
            if (!failing && !atomic_load(&j->stopping))
                log_error("rollups: %s", e.text);
            set_db(j, NULL);
        }
        failing = r != 0;
        for (int waited = 0; waited < ROUND_MS && !atomic_load(&j->stopping); waited += STEP_MS)
            sleep_step();
    }
    atomic_store(&j->ended, true);
    return NULL;
}

static void rollup_free(struct rollup *j)
{
    if (!j)
        return;
    set_db(j, NULL);
    pthread_mutex_destroy(&j->mutex);
    free(j);
}
DEFINE_CLEANUP(struct rollup *, rollup_free)

int rollup_start(const char *conninfo, const atomic_bool *paused, struct rollup **ret,
                 struct errmsg *e)
{
    struct rollup *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    pthread_mutex_init(&made->mutex, NULL);
    _cleanup_(rollup_freep) struct rollup *j = made;
    j->conninfo = conninfo;
    j->paused = paused;
    j->retention_ms = INT64_MIN / 2;
    int r = -pthread_create(&j->thread, NULL, run, j);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    *ret = j;
    j = NULL;
    return 0;
}

void rollup_stop(struct rollup *j)
{
    if (!j)
        return;
    atomic_store(&j->stopping, true);
    // Again and again: the thread may have been between its look at the flag and the statement.
    while (!atomic_load(&j->ended)) {
        char text[256];
        pthread_mutex_lock(&j->mutex);
        if (j->cancel)
            PQcancel(j->cancel, text, sizeof text);
        pthread_mutex_unlock(&j->mutex);
        sleep_step();
    }
    pthread_join(j->thread, NULL);
    rollup_free(j);
}
