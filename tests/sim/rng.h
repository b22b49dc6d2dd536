// Random numbers of a simulation: splitmix64, the same everywhere for the same seed.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

// 0 .. below-1
static inline uint64_t rng_below(struct rng *r, uint64_t below)
{
    return rng_next(r) % below;
}

static inline int64_t rng_between(struct rng *r, int64_t least, int64_t most)
{
    return least + (int64_t)rng_below(r, (uint64_t)(most - least + 1));
}

// Spread evenly over orders of magnitude; least > 0.
static inline int64_t rng_spread(struct rng *r, int64_t least, int64_t most)
{
    int64_t high = least;
    int doublings = 0;
    while (high < most / 2) {
        high *= 2;
        doublings++;
    }
    int64_t base = least << rng_below(r, (uint64_t)doublings + 1);
    int64_t to = 2 * base < most ? 2 * base : most;
    return rng_between(r, base, to);
}

static inline bool rng_one_in(struct rng *r, uint64_t n)
{
    return rng_below(r, n) == 0;
}
