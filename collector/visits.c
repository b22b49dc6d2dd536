#include "collector/visits.h"

#include "common/util.h"

static bool too_often(const struct visits *v)
{
    return v->n > VISITS_MANY >> v->halved;
}

bool visits_allow(struct visits *v, int64_t now_ms)
{
    int64_t since = now_ms - v->since_ms;
    if (v->n == 0 || since >= VISITS_MS) {
        bool again = too_often(v) && since < 2LL * VISITS_MS;
        v->halved = again ? MIN(v->halved + 1U, VISITS_HALVED) : 0;
        v->since_ms = now_ms;
        v->n = 0;
    }
    v->n++;
    return !too_often(v);
}
