#include <errno.h>

#include "calendar.h"
#include "campaign.h"
#include "packet.h"
#include "streams.h"

#define SHARE_OF_TENTH 20 // percent of a tenth place
#define PER_SOURCE_MAX 12u

// None of them in any sensor's top ten, nor the company's.
static const struct port_id control_ports[] = {
    {PROTO_TCP, 25},   {PROTO_TCP, 587},  {PROTO_TCP, 993},  {PROTO_TCP, 8443},
    {PROTO_TCP, 9200}, {PROTO_TCP, 2375}, {PROTO_TCP, 21},   {PROTO_TCP, 2222},
    {PROTO_TCP, 3306}, {PROTO_UDP, 161},  {PROTO_UDP, 1900}, {PROTO_UDP, 5683}};

#define CONTROL_PORTS (sizeof(control_ports) / sizeof(control_ports[0]))

// A control's distance to home is its own, the same at each home sensor, so that the spread over
// the controls survives taking medians: a sixth of them is farther than the company's typical host.
static void home_ttls(struct rng *rng, uint16_t ret_ttls[CONTROL_COUNT])
{
    static const struct region home = {HOME_COUNTRY, 242, 249, {4, 3, 4, 6, 8, 7, 5, 3}};

    region_draw_ttls(&home, rng, CONTROL_COUNT, ret_ttls);
}

static uint64_t draw_time(struct rng *rng, const struct sensor *sensor)
{
    int day = 0;

    do {
        day = (int)rng_below(rng, QUARTER_DAYS);
    } while (!sensor_observes(sensor, day));
    return (uint64_t)day * DAY_US + rng_next(rng) % (DAY_US - 10u * 1000000u);
}

int controls_plan(uint64_t seed, uint32_t packets_per_day, struct planned_list lists[SENSOR_COUNT])
{
    uint32_t sources[CONTROL_COUNT];
    uint16_t home[CONTROL_COUNT];
    uint16_t ttls[CONTROL_COUNT];
    struct rng rng;

    rng_seed(&rng, mix64_pair(seed, 0xc0427202));
    geo_controls(seed, sources);
    home_ttls(&rng, home);
    for (int s = 0; s < SENSOR_COUNT; s++) {
        uint64_t tenth = sensor_place_packets(s, packets_per_day, TOP_PORTS - 1);
        uint64_t n = tenth * SHARE_OF_TENTH / 100 / CONTROL_COUNT;
        n = n < 1 ? 1 : n < PER_SOURCE_MAX ? n : PER_SOURCE_MAX;

        region_draw_ttls(region_at(sensor_region(s)), &rng, CONTROL_COUNT, ttls);
        for (uint64_t i = 0; i < n * CONTROL_COUNT; i++) {
            uint64_t c = i % CONTROL_COUNT;
            const struct port_id *port = &control_ports[rng_below(&rng, CONTROL_PORTS)];
            struct planned item = {
                .time_us = draw_time(&rng, sensor_at(s)),
                .src = sources[c],
                .port = port->port,
                .proto = port->proto,
                .ttl = (uint8_t)(sensor_is_home(s) ? home[c] : ttls[c]),
                .host = HOST_CONTROL,
            };
            int r = planned_add(&lists[s], &item);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}
