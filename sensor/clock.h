// The two clocks, in milliseconds.
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// For measuring how long something takes.
static inline int64_t mono_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

// Since 1970-01-01T00:00:00Z.
static inline int64_t wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}
