#include "collector/alarms.h"

#include <pthread.h>
#include <string.h>

#include "common/clock.h"

#define ALARMS_MAX 64
#define AGAIN_MS   600000
#define NAME_MAX_  64

struct alarm {
    const char *action;
    char sensor[NAME_MAX_];
    char detail[160];
    int64_t raised_ms; // monotonic
    bool waits;        // else it is remembered, so that it is not written again too soon
};

struct alarms {
    pthread_mutex_t lock;
    struct alarm list[ALARMS_MAX];
};

int alarms_new(struct alarms **ret)
{
    struct alarms *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    pthread_mutex_init(&a->lock, NULL);
    *ret = a;
    return 0;
}

void alarms_free(struct alarms *a)
{
    if (!a)
        return;
    pthread_mutex_destroy(&a->lock);
    free(a);
}

// NULL: it was raised not long ago, or nothing is free.
static struct alarm *place_of(struct alarms *a, const char *action, const char *sensor, int64_t now)
{
    struct alarm *place = NULL;
    for (size_t i = 0; i < ALARMS_MAX; i++) {
        struct alarm *x = &a->list[i];
        bool old = !x->action || now - x->raised_ms >= AGAIN_MS;
        if (x->action == action && strcmp(x->sensor, sensor) == 0)
            return old && !x->waits ? x : NULL;
        if (!x->waits && (!place || x->raised_ms < place->raised_ms))
            place = x;
    }
    return place;
}

void alarms_raise(struct alarms *a, const char *action, const char *sensor, const char *detail)
{
    int64_t now = mono_ms();
    pthread_mutex_lock(&a->lock);
    struct alarm *x = place_of(a, action, sensor, now);
    if (x) {
        *x = (struct alarm){.action = action, .raised_ms = now, .waits = true};
        snprintf(x->sensor, sizeof x->sensor, "%s", sensor);
        snprintf(x->detail, sizeof x->detail, "%s", detail);
    }
    pthread_mutex_unlock(&a->lock);
}

// One that waits, which then does so no longer.
static bool take(struct alarms *a, size_t i, struct alarm *ret)
{
    pthread_mutex_lock(&a->lock);
    bool waits = a->list[i].waits;
    *ret = a->list[i];
    a->list[i].waits = false;
    pthread_mutex_unlock(&a->lock);
    return waits;
}

int alarms_save(struct alarms *a, struct db *db, struct errmsg *e)
{
    int r = 0;
    for (size_t i = 0; i < ALARMS_MAX && r == 0; i++) {
        struct alarm x;
        if (!take(a, i, &x))
            continue;
        const char *values[] = {x.action, x.sensor, x.detail};
        r = db_query(db, "select hirundo.audit_add($1, $2, $3)", 3, values, NULL, e);
        if (r == 0)
            continue;
        pthread_mutex_lock(&a->lock);
        if (!a->list[i].waits) // nor has another taken its place
            a->list[i] = x;
        pthread_mutex_unlock(&a->lock);
    }
    return r;
}
