#include "calendar.h"

#include <stdio.h>
#include <time.h>

static const int month_days[QUARTER_MONTHS] = {31, 28, 31};

int day_month(int day)
{
    int month = 0;

    while (month < QUARTER_MONTHS - 1 && day >= month_days[month]) {
        day -= month_days[month];
        month++;
    }
    return month;
}

uint32_t day_weight(int day)
{
    // 2023-01-01 was a Sunday.
    static const uint32_t weekday[7] = {930, 1010, 1030, 1040, 1030, 1020, 940};

    return weekday[day % 7] + (uint32_t)day / 2;
}

void day_date(int day, char ret_date[DAY_DATE_SIZE])
{
    int month = day_month(day);

    for (int m = 0; m < month; m++) {
        day -= month_days[m];
    }
    (void)snprintf(ret_date, DAY_DATE_SIZE, "2023-%02u-%02u", ((unsigned)month + 1) % 100,
                   ((unsigned)day + 1) % 100);
}

void time_utc(uint64_t us, char ret_text[UTC_TIME_SIZE])
{
    time_t seconds = (time_t)(QUARTER_START_UTC + us / 1000000u);
    unsigned fraction = (unsigned)(us % 1000000u);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) == NULL) {
        tm = (struct tm){0};
    }
    size_t n = strftime(ret_text, UTC_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    if (fraction != 0) {
        (void)snprintf(ret_text + n, UTC_TIME_SIZE - n, ".%06uZ", fraction);
    } else {
        (void)snprintf(ret_text + n, UTC_TIME_SIZE - n, "Z");
    }
}

uint32_t hour_weight(int hour)
{
    static const uint32_t weights[24] = {3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5,
                                         5, 5, 5, 5, 4, 4, 4, 4, 4, 4, 4, 3};

    return weights[hour];
}
