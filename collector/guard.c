#include "collector/guard.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/log.h"

#define DISKS_MAX 8

struct guard {
    const struct conf_list *disks;
    int64_t min_free;
    struct budget *budget;
    bool failing[DISKS_MAX]; // could not be looked at
    bool told;               // that nothing is watched
    pthread_mutex_t mutex;   // of what follows
    int64_t free[DISKS_MAX]; // bytes; -1: not known
    char disk_why[GUARD_WHY_MAX + 1], size_why[GUARD_WHY_MAX + 1];
};

int guard_new(const struct conf_list *disks, int64_t min_free, struct budget *budget,
              struct guard **ret)
{
    struct guard *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    pthread_mutex_init(&g->mutex, NULL);
    g->disks = disks;
    g->min_free = min_free;
    g->budget = budget;
    for (size_t i = 0; i < DISKS_MAX; i++)
        g->free[i] = -1;
    *ret = g;
    return 0;
}

void guard_free(struct guard *g)
{
    if (!g)
        return;
    pthread_mutex_destroy(&g->mutex);
    free(g);
}

static size_t count_disks(const struct guard *g)
{
    return MIN(g->disks->n, (size_t)DISKS_MAX);
}

static const char *pretty(int64_t bytes, char buf[32])
{
    if (bytes >= 10LL << 30)
        snprintf(buf, 32, "%" PRId64 " GiB", bytes >> 30);
    else
        snprintf(buf, 32, "%" PRId64 " MiB", bytes >> 20);
    return buf;
}

// why: "" for no reason.
static void set_why(struct guard *g, char to[GUARD_WHY_MAX + 1], const char *why)
{
    pthread_mutex_lock(&g->mutex);
    snprintf(to, GUARD_WHY_MAX + 1, "%s", why);
    bool pause = *g->disk_why || *g->size_why;
    pthread_mutex_unlock(&g->mutex);
    bool paused = atomic_exchange(&g->budget->paused, pause);
    if (pause && !paused)
        log_error("no data is taken: %s; sensors keep theirs", why);
    else if (!pause && paused)
        log_notice("there is room again: data is taken");
}

// -1: not known.
static int64_t free_of(struct guard *g, size_t i)
{
    struct statvfs st;
    const char *path = g->disks->items[i];
    if (statvfs(path, &st) == 0) {
        g->failing[i] = false;
        return (int64_t)MIN((uint64_t)st.f_bavail * st.f_frsize, (uint64_t)INT64_MAX);
    }
    if (!g->failing[i])
        log_error("[database] disk = %s: %s: its free space is not watched", path, strerror(errno));
    g->failing[i] = true;
    return -1;
}

void guard_look_at_disks(struct guard *g)
{
    char why[GUARD_WHY_MAX + 1] = "", left[32], wanted[32];
    // What was short once must have a tenth more: retention and ingest would turn in circles.
    int64_t enough = *g->disk_why ? g->min_free + g->min_free / 10 : g->min_free;
    for (size_t i = 0; i < count_disks(g); i++) {
        int64_t bytes = free_of(g, i);
        pthread_mutex_lock(&g->mutex);
        g->free[i] = bytes;
        pthread_mutex_unlock(&g->mutex);
        if (bytes >= 0 && bytes < enough)
            snprintf(why, sizeof why, "%.80s has %s free, [database] min_free is %s",
                     g->disks->items[i], pretty(bytes, left), pretty(g->min_free, wanted));
    }
    if (*why || *g->disk_why)
        set_why(g, g->disk_why, why);
}

int guard_look_at_size(struct guard *g, struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select case when lower(v) = 'off' then 0 else pg_size_bytes(v) end, case "
                     "when lower(v) = 'off' then 0 else hirundo.database_bytes() end "
                     "from hirundo.setting('max_size_database') v",
                     0, NULL, &result, e);
    if (r != 0)
        return r;
    int64_t limit = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    int64_t size = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    if (limit == 0 && count_disks(g) == 0 && !g->told)
        log_notice("neither [database] disk nor the setting max_size_database is set: nothing "
                   "stops ingest before the database's disk is full");
    g->told = true;
    int64_t enough = *g->size_why ? limit - limit / 50 : limit;
    char why[GUARD_WHY_MAX + 1] = "", is[32], most[32];
    if (limit > 0 && size > enough)
        snprintf(why, sizeof why, "the database has %s, the setting max_size_database is %s",
                 pretty(size, is), pretty(limit, most));
    if (*why || *g->size_why)
        set_why(g, g->size_why, why);
    return 0;
}

void guard_why(struct guard *g, char ret[GUARD_WHY_MAX + 1])
{
    pthread_mutex_lock(&g->mutex);
    memcpy(ret, *g->disk_why ? g->disk_why : g->size_why, GUARD_WHY_MAX + 1);
    pthread_mutex_unlock(&g->mutex);
}

void guard_metrics(struct guard *g, struct text *ret)
{
    if (count_disks(g) == 0)
        return;
    text_add(ret,
             "# HELP hirundo_disk_min_free_bytes [database] min_free: below it no data is "
             "taken.\n# TYPE hirundo_disk_min_free_bytes gauge\n"
             "hirundo_disk_min_free_bytes %" PRId64 "\n",
             g->min_free);
    text_add(ret, "# HELP hirundo_disk_free_bytes Free space of the database's disks.\n"
                  "# TYPE hirundo_disk_free_bytes gauge\n");
    pthread_mutex_lock(&g->mutex);
    for (size_t i = 0; i < count_disks(g); i++)
        if (g->free[i] >= 0 && !strpbrk(g->disks->items[i], "\"\\"))
            text_add(ret, "hirundo_disk_free_bytes{path=\"%s\"} %" PRId64 "\n", g->disks->items[i],
                     g->free[i]);
    pthread_mutex_unlock(&g->mutex);
}
