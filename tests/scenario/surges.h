// Surges planted at random from a seed of their own: a port that many new sources turn to for some
// days. They stay below every tenth place and outside the hosting company's and the controls'
// addresses, so that no other answer of the scenario changes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "planned.h"
#include "sensors.h"

#define SURGE_COUNT 6

struct surge {
    struct port_id port;
    uint8_t from, to;         // days [from, to)
    uint16_t sources_per_day; // new sources, each seen on its day
    uint16_t sensors;         // bit i: sensor i sees it
    uint64_t packets;         // planned, over all sensors
};

struct surge_plan {
    bool planted;
    uint64_t seed;
    struct surge surges[SURGE_COUNT]; // by first day
};

// Adds the surges' packets to the sensors' lists. 0 or -ENOMEM.
int surges_plan(uint64_t seed, uint64_t surge_seed, uint32_t packets_per_day,
                struct planned_list lists[SENSOR_COUNT], struct surge_plan *ret_plan);
