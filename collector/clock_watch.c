#include "collector/clock_watch.h"

#include "common/clock.h"
#include "common/log.h"

#define HEARD_MS    180000 // three heartbeats
#define SENSORS_MIN 3      // that fewer agree is chance

static bool is_off(int64_t ms, int64_t limit_ms)
{
    return ms > limit_ms || ms < -limit_ms;
}

// Most of many sensors see it wrong to the same side.
static bool sensors_say_ours(const struct heartbeats_clocks *s)
{
    return s->heard >= SENSORS_MIN && 2 * MAX(s->behind, s->ahead) > s->heard;
}

enum clock_verdict clock_watch_judge(const struct clock_signs *signs)
{
    if (sensors_say_ours(&signs->sensors))
        return CLOCK_OURS;
    if (!is_off(signs->database_ms, signs->limit_ms))
        return CLOCK_GOOD;
    return signs->sensors.heard >= SENSORS_MIN ? CLOCK_DATABASE : CLOCK_OURS;
}

static int read_signs(struct db *db, struct clock_signs *ret, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int64_t begun = mono_ms();
    int r =
        db_query(db,
                 "select (extract(epoch from clock_timestamp()) * 1000)::bigint, (extract(epoch "
                 "from hirundo.setting('clock_off_after')::interval) * 1000)::bigint",
                 0, NULL, &result, e);
    if (r != 0)
        return r;
    int64_t half = (mono_ms() - begun + 1) / 2;
    int64_t off = wall_ms() - half - strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    ret->database_ms = off > half ? off - half : off < -half ? off + half : 0;
    ret->limit_ms = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    return 0;
}

static const char *side(int64_t ms)
{
    return ms > 0 ? "ahead of" : "behind";
}

static double seconds(int64_t ms)
{
    return (double)(ms < 0 ? -ms : ms) / 1000;
}

static void say(enum clock_verdict verdict, const struct clock_signs *signs)
{
    const struct heartbeats_clocks *s = &signs->sensors;
    if (verdict == CLOCK_GOOD)
        log_notice("this collector's clock agrees with the others again");
    else if (verdict == CLOCK_DATABASE)
        log_warning("PostgreSQL's clock differs: this collector's, with which most of %u sensors "
                    "agree, is %.1f s %s it; set the clock of the database's host (NTP)",
                    s->heard, seconds(signs->database_ms), side(signs->database_ms));
    else if (sensors_say_ours(s))
        log_warning("this collector's own clock is wrong, it seems: it is %.1f s %s those of %u of "
                    "%u sensors; by it times are accepted, and good data can go to quarantine: set "
                    "it (NTP)",
                    seconds(s->median_ms), side(s->median_ms), MAX(s->behind, s->ahead), s->heard);
    else
        log_warning(
            "this collector's clock is %.1f s %s PostgreSQL's, and too few sensors are "
            "here to tell which is wrong; by it times are accepted, and good data can go to "
            "quarantine: set the clocks of both hosts (NTP)",
            seconds(signs->database_ms), side(signs->database_ms));
}

int clock_watch_look(struct clock_watch *w, struct heartbeats *heartbeats, struct db *db,
                     struct clock_signs *ret_signs, struct errmsg *e)
{
    struct clock_signs signs = {0};
    int r = read_signs(db, &signs, e);
    if (r != 0)
        return r;
    heartbeats_clocks(heartbeats, mono_ms() - HEARD_MS, signs.limit_ms, &signs.sensors);
    enum clock_verdict verdict = clock_watch_judge(&signs);
    if (verdict != w->verdict)
        say(verdict, &signs);
    w->verdict = verdict;
    *ret_signs = signs;
    return 0;
}
