#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>

void clock_text(int64_t ms, char ret[CLOCK_TEXT])
{
    struct tm tm;
    time_t t = (time_t)(ms / 1000);
    if (!gmtime_r(&t, &tm) || strftime(ret, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(ret, CLOCK_TEXT, "%" PRId64 " ms", ms);
}
