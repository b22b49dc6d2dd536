// Deterministic random numbers: splitmix64 for seeding and hashing, xoshiro256** for streams.
// Source: Blackman and Vigna, https://prng.di.unimi.it/ (public domain).
// Same seed, same numbers on every machine: no floating point, no libc random.
#pragma once

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

// One step of splitmix64's output function: a good 64-bit mix of x.
uint64_t mix64(uint64_t x);

// Mixes two values into one; not symmetric.
uint64_t mix64_pair(uint64_t a, uint64_t b);

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);

// Uniform in [0, n); n > 0. The bias of the multiply-shift method is below 2^-32 for n < 2^32.
uint32_t rng_below(struct rng *rng, uint32_t n);

// Fisher-Yates over values[0..n).
void rng_shuffle(struct rng *rng, uint16_t *values, uint32_t n);
