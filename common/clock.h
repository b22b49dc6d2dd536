// The two clocks.
#pragma once

#include <stdint.h>
#include <time.h>

// Both for measuring how long something takes.
static inline int64_t mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t mono_ms(void)
{
    return mono_us() / 1000;
}

// Since 1970-01-01T00:00:00Z.
static inline int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#define CLOCK_TEXT 32

// 2023-02-08T00:00:00Z, or the number where no calendar reaches.
void clock_text(int64_t ms, char ret[CLOCK_TEXT]);
