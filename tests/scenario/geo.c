#include "geo.h"

#include <stddef.h>

struct country {
    const char *code;
    uint8_t bots;     // relative number of infected devices
    uint8_t scanners; // relative number of scanning hosts
};

static const struct country countries[COUNTRY_COUNT] = {
    {"JP", 4, 3},  {"CN", 40, 18}, {"US", 16, 40}, {"RU", 12, 14}, {"BR", 16, 2}, {"IN", 22, 4},
    {"TW", 12, 1}, {"KR", 14, 2},  {"VN", 12, 2},  {"ID", 8, 1},   {"TH", 5, 1},  {"TR", 6, 2},
    {"IR", 8, 1},  {"EG", 5, 1},   {"UA", 5, 2},   {"PL", 3, 2},   {"DE", 4, 12}, {"NL", 2, 22},
    {"GB", 3, 10}, {"FR", 3, 6},   {"IT", 4, 1},   {"ES", 2, 1},   {"RO", 3, 4},  {"BG", 2, 5},
    {"SE", 2, 2},  {"MX", 4, 1},   {"AR", 4, 1},   {"ZA", 3, 1},   {"HK", 4, 6},  {"SG", 2, 7},
    {"AU", 2, 1},  {"CA", 2, 4},
};

static const struct organisation organisations[ORGANISATION_COUNT] = {
    {"Example Hosting",
     {"198.19.16.0/22", "198.19.96.0/24", "100.120.128.0/21", "100.121.64.0/23"},
     "abuse@hosting.example.com",
     "AMBER",
     "JP",
     64500},
    {"Example Cable, Network Division",
     {"100.113.0.0/16"},
     "noc@cable.example.net",
     "GREEN",
     "JP",
     64501},
    {"Example University",
     {"198.19.128.0/19", "2001:db8:4080::/48"},
     "csirt@university.example.org",
     "CLEAR",
     "JP",
     64502},
    {"Beispiel Rechenzentrum",
     {"244.1.16.0/20"},
     "abuse@rechenzentrum.example.com",
     "GREEN",
     "DE",
     64503},
};

const char *country_code(int country)
{
    return countries[country].code;
}

const struct organisation *organisation_at(int i)
{
    return &organisations[i];
}

// Spreads count distinct addresses over a range of size addresses.
static void spread_hosts(struct rng *rng, uint32_t base, uint32_t size, uint32_t count,
                         uint32_t *ret_addrs)
{
    uint32_t stride = size / count;

    for (uint32_t i = 0; i < count; i++) {
        ret_addrs[i] = base + i * stride + 1 + rng_below(rng, stride - 1);
    }
}

void geo_hosts(uint64_t seed, uint32_t ret_hosts[HOST_COUNT])
{
    // The company's prefixes as base and size, in the order of organisations[0].
    static const uint32_t ranges[HOST_PREFIX_COUNT][2] = {
        {0xc6131000, 1024}, {0xc6136000, 256}, {0x64788000, 2048}, {0x64794000, 512}};
    static const uint32_t counts[HOST_PREFIX_COUNT] = GEO_HOST_PER_PREFIX;
    uint32_t done = 0;
    struct rng rng;

    rng_seed(&rng, mix64_pair(seed, 0x405742));
    for (int p = 0; p < HOST_PREFIX_COUNT; p++) {
        spread_hosts(&rng, ranges[p][0], ranges[p][1], counts[p], ret_hosts + done);
        done += counts[p];
    }
}

void geo_controls(uint64_t seed, uint32_t ret_controls[CONTROL_COUNT])
{
    struct rng rng;

    rng_seed(&rng, mix64_pair(seed, 0xc0427201));
    spread_hosts(&rng, 0x64710000, 0x10000, 16, ret_controls);    // Example Cable
    spread_hosts(&rng, 0xc6138000, 0x2000, 8, ret_controls + 16); // Example University
    spread_hosts(&rng, 0x64720000, 0x20000, CONTROL_COUNT - 24, ret_controls + 24); // other ISPs
}

static int pick_country(enum source_pool pool, uint32_t number)
{
    uint32_t total = 0;
    int i = 0;

    for (int c = 0; c < COUNTRY_COUNT; c++) {
        total += pool == POOL_BOT ? countries[c].bots : countries[c].scanners;
    }
    number %= total;
    for (;;) {
        uint32_t weight = pool == POOL_BOT ? countries[i].bots : countries[i].scanners;
        if (number < weight) {
            return i;
        }
        number -= weight;
        i++;
    }
}

// Home: 100.112.0.0/16 and 100.116.0.0/14. Others: a /16 under 100.64.0.0/10 and a /10 under
// 240.0.0.0/4. geo_files.c writes the same blocks as prefixes.
static uint32_t country_addr(int country, uint64_t bits)
{
    uint32_t host = (uint32_t)(bits & 0x3fffff);

    if (country == COUNTRY_HOME) {
        return (bits >> 22 & 3) == 0 ? 0x64700000u | (host & 0xffff)
                                     : 0x64740000u | (host & 0x3ffff);
    }
    if ((bits >> 22 & 3) == 0) {
        return 0x64400000u + ((uint32_t)country << 16) + (host & 0xffff);
    }
    uint32_t addr = 0xf0000000u + ((uint32_t)country << 22) + host;
    // Beispiel Rechenzentrum's /20 is not noise's to use.
    return (addr & 0xfffff000u) == 0xf4011000u ? addr ^ 0x1000u : addr;
}

struct source geo_source_by_id(uint64_t seed, enum source_pool pool, uint64_t id)
{
    uint64_t h = mix64_pair(seed ^ (uint64_t)pool << 56, id);
    int country = pick_country(pool, (uint32_t)(h >> 40));

    return (struct source){
        .addr = country_addr(country, h),
        .addr6_high =
            0x20010db840000000u | (uint64_t)country << 24 | (h >> 8 & 0x7f) << 16 | (h >> 48),
        .addr6_low = mix64(h),
        .country = (uint8_t)country,
    };
}

// A number below n, small ones far more often: a few sources send much, many send little.
static uint32_t skewed_below(struct rng *rng, uint32_t n)
{
    uint64_t u = rng_below(rng, 1u << 16);

    u = u * u >> 16;
    return (uint32_t)((u * n) >> 16);
}

struct source geo_source(uint64_t seed, enum source_pool pool, int day, struct rng *rng)
{
    uint64_t id = 0;

    switch (pool) {
    case POOL_BOT: // each day 300 of some 6,000 are replaced by new ones
        id = (uint64_t)day * 300 + skewed_below(rng, 6000);
        break;
    case POOL_SCANNER:
        id = skewed_below(rng, 400);
        break;
    case POOL_VICTIM: // a dozen a day
        id = (uint64_t)day * 10 + skewed_below(rng, 12);
        break;
    case POOL_SPOOFED:
        id = rng_next(rng);
        break;
    }
    return geo_source_by_id(seed, pool, id);
}
