#include "collector/quiet.h"

#include <inttypes.h>
#include <string.h>

#define MINUTE_MS 60000

// The place of this name: where it stands, else the one that was used longest ago.
static size_t place_of(const struct quiet *q, const char *whom)
{
    size_t oldest = 0;
    for (size_t i = 0; i < QUIET_NAMES; i++) {
        if (strncmp(q->said[i].whom, whom, QUIET_WHOM_MAX - 1) == 0)
            return i;
        if (q->said[i].at_ms < q->said[oldest].at_ms)
            oldest = i;
    }
    return oldest;
}

static bool is_time(struct quiet *q, const char *whom, size_t place, int64_t now_ms)
{
    bool known = strncmp(q->said[place].whom, whom, QUIET_WHOM_MAX - 1) == 0;
    if (known && q->said[place].at_ms != 0 && now_ms - q->said[place].at_ms < QUIET_AGAIN_MS)
        return false;
    if (q->in_minute == 0 || now_ms - q->minute_ms >= MINUTE_MS) {
        q->minute_ms = now_ms;
        q->in_minute = 0;
    }
    return q->in_minute < QUIET_MINUTE;
}

bool quiet_allows(struct quiet *q, const char *whom, int64_t now_ms, char ret_more[QUIET_MORE_MAX])
{
    size_t place = place_of(q, whom);
    if (!is_time(q, whom, place, now_ms)) {
        q->unsaid++;
        return false;
    }
    snprintf(q->said[place].whom, sizeof q->said[place].whom, "%s", whom);
    q->said[place].at_ms = MAX(now_ms, (int64_t)1);
    q->in_minute++;
    ret_more[0] = '\0';
    if (q->unsaid > 0)
        snprintf(ret_more, QUIET_MORE_MAX, " (and %" PRIu64 " more such since)", q->unsaid);
    q->unsaid = 0;
    return true;
}
