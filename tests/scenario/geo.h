// Whose addresses these are: countries, networks and organisations, all invented, all inside ranges
// that belong to nobody (198.18.0.0/15, 100.64.0.0/10, 240.0.0.0/4, 2001:db8::/32).
// Addresses are in host order.
#pragma once

#include <stdint.h>

#include "rng.h"

#define HOST_COUNT         310 // addresses of the hosting company that send
#define HOST_PREFIX_COUNT  4
#define CONTROL_COUNT      40
#define COUNTRY_COUNT      32
#define COUNTRY_HOME       0
#define ORGANISATION_COUNT 4
#define ORG_PREFIX_MAX     4
#define GEO_HOST_PER_PREFIX                                                                        \
    {                                                                                              \
        130, 40, 100, 40                                                                           \
    }

// Who is behind a background packet; the pools differ in size and in countries.
enum source_pool {
    POOL_BOT,     // infected devices: many, seen for some days
    POOL_SCANNER, // tools on rented machines: few, all quarter long
    POOL_VICTIM,  // targets of spoofed floods elsewhere
    POOL_SPOOFED, // anything at all
};

struct source {
    uint32_t addr;
    uint64_t addr6_high, addr6_low;
    uint8_t country; // index for country_code()
};

struct organisation {
    const char *name;
    const char *prefixes[ORG_PREFIX_MAX]; // NULL where there are fewer
    const char *contact;
    const char *tlp;
    const char *country;
    uint32_t as;
};

const char *country_code(int country);

// Organisation 0 is the hosting company.
const struct organisation *organisation_at(int i);

// The sending addresses of the hosting company and of the controls, drawn from the seed: distinct,
// the controls outside the company's prefixes and in the home country.
void geo_hosts(uint64_t seed, uint32_t ret_hosts[HOST_COUNT]);
void geo_controls(uint64_t seed, uint32_t ret_controls[CONTROL_COUNT]);

// A background source of the pool on this day (0..89). The pools are common to all sensors of a
// seed. Never in an organisation's prefixes.
struct source geo_source(uint64_t seed, enum source_pool pool, int day, struct rng *rng);

// The source behind a number of the caller's choosing, with the countries of that pool.
struct source geo_source_by_id(uint64_t seed, enum source_pool pool, uint64_t id);
