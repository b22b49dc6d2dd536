// A thread's sign of life, for the service manager's watchdog (common/notify.h): beaten each time
// the thread goes through its loop, read by the thread that feeds the watchdog.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "common/clock.h"

struct pulse {
    _Atomic int64_t at_ms; // monotonic
};

static inline void pulse_beat_at(struct pulse *p, int64_t now_ms)
{
    atomic_store(&p->at_ms, now_ms);
}

static inline void pulse_beat(struct pulse *p)
{
    pulse_beat_at(p, mono_ms());
}

// Before a call that may take so long, and ends by itself after that: no stall until then.
static inline void pulse_allow(struct pulse *p, int64_t ms)
{
    atomic_store(&p->at_ms, mono_ms() + ms);
}

static inline bool pulse_is_alive(const struct pulse *p, int64_t now_ms, int64_t limit_ms)
{
    return now_ms - atomic_load(&p->at_ms) < limit_ms;
}
