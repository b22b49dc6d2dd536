// The first quarter of 2023 in Japan Standard Time (UTC+9, no summer time).
// A day is a JST day, counted from 0 = 2023-01-01. Times are microseconds since the start of day 0.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define QUARTER_DAYS      90
#define QUARTER_MONTHS    3
#define QUARTER_START_UTC 1672498800 // 2022-12-31T15:00:00Z, seconds since the epoch
#define DAY_SECONDS       86400
#define DAY_US            ((uint64_t)DAY_SECONDS * 1000000u)

#define DAY_DATE_SIZE sizeof("2023-01-01")
#define UTC_TIME_SIZE sizeof("2023-01-01T00:00:00.000000Z")

// The day index of a date of the quarter.
#define DAY_OF(month, day) ((month) == 1 ? (day)-1 : (month) == 2 ? 30 + (day) : 58 + (day))

// 0 = January, 1 = February, 2 = March.
int day_month(int day);

// Relative load of a day: weekday rhythm and a slow rise; never 0. Around 1000.
uint32_t day_weight(int day);

// "2023-02-08"
void day_date(int day, char ret_date[DAY_DATE_SIZE]);

// RFC 3339, UTC; fraction only when it is not zero.
void time_utc(uint64_t us, char ret_text[UTC_TIME_SIZE]);

// Parts per 96 of a day's packets that fall into this hour of the day (0..23); sums to 96.
uint32_t hour_weight(int hour);
