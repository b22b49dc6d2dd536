// The hosting company's scans of 22/TCP and 5900/TCP, and the controls: other sources of the home
// country, as far away as the company is.
#pragma once

#include <stdint.h>

#include "geo.h"
#include "planned.h"
#include "sensors.h"

#define CAMPAIGN_PORTS 2

extern const uint16_t campaign_ports[CAMPAIGN_PORTS];

// Adds the company's packets to the sensors' lists. Below a tenth place everywhere; every source is
// seen at home, and each region's TTL range is reached, at any size. 0 or -ENOMEM.
int campaign_plan(uint64_t seed, uint32_t packets_per_day, struct planned_list lists[SENSOR_COUNT]);

// Adds the controls' packets: every control at every sensor. 0 or -ENOMEM.
int controls_plan(uint64_t seed, uint32_t packets_per_day, struct planned_list lists[SENSOR_COUNT]);

// Fills ttls[0..n) with the region's TTLs in the proportion of its weights, each at least once
// where n allows it, in random order.
void region_draw_ttls(const struct region *region, struct rng *rng, uint32_t n, uint16_t *ttls);
