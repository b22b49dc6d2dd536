// Writes the whole scenario.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *out; // directory, created if it is not there
    uint64_t seed;
    uint32_t packets_per_day;
    bool plant_surges;
    uint64_t surge_seed;
};

// 0, or -errno after one line on stderr.
int scenario_generate(const struct options *options);
