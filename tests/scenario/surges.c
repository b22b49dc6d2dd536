#include "surges.h"

#include <errno.h>
#include <stdlib.h>

#include "calendar.h"
#include "geo.h"
#include "packet.h"
#include "rng.h"
#include "streams.h"

#define SHARE_OF_TENTH 90 // percent of a tenth place that all surges together may take
#define FIRST_DAY      28 // before it, a detector has nothing to compare with
#define SOURCES_MAX    80u

// Ports with a background of their own and far from any top ten.
static const struct port_id surge_ports[] = {
    {PROTO_TCP, 2375}, {PROTO_TCP, 9530}, {PROTO_TCP, 60023}, {PROTO_TCP, 7547},
    {PROTO_TCP, 9200}, {PROTO_TCP, 8443}, {PROTO_TCP, 3306},  {PROTO_TCP, 34567},
    {PROTO_UDP, 5683}, {PROTO_UDP, 389},  {PROTO_TCP, 5038},  {PROTO_UDP, 30120}};

#define SURGE_PORTS (sizeof(surge_ports) / sizeof(surge_ports[0]))

// Packets one sensor may get from one surge.
static uint64_t sensor_room(int sensor, uint32_t packets_per_day)
{
    uint64_t tenth = sensor_place_packets(sensor, packets_per_day, TOP_PORTS - 1);

    return tenth * SHARE_OF_TENTH / 100 / SURGE_COUNT;
}

static uint32_t sources_that_fit(uint32_t packets_per_day, int days)
{
    uint64_t room = UINT64_MAX;

    for (int s = 0; s < SENSOR_COUNT; s++) {
        uint64_t r = sensor_room(s, packets_per_day) / (uint64_t)days;
        room = r < room ? r : room;
    }
    return room < SOURCES_MAX ? (uint32_t)room : SOURCES_MAX;
}

// At least eight sensors see a surge; a rise at fewer is a matter of place, not of the network.
static uint16_t draw_sensors(struct rng *rng)
{
    uint16_t sensors = (1u << SENSOR_COUNT) - 1;
    uint32_t absent = rng_below(rng, 6);

    for (uint32_t i = 0; i < absent; i++) {
        sensors &= (uint16_t) ~(1u << rng_below(rng, SENSOR_COUNT));
    }
    return sensors;
}

static void draw_surges(struct rng *rng, uint32_t packets_per_day, struct surge_plan *plan)
{
    uint16_t ports[SURGE_PORTS];
    int slot = (QUARTER_DAYS - FIRST_DAY) / SURGE_COUNT;

    for (size_t i = 0; i < SURGE_PORTS; i++) {
        ports[i] = (uint16_t)i;
    }
    rng_shuffle(rng, ports, SURGE_PORTS);
    for (int i = 0; i < SURGE_COUNT; i++) {
        int days = 2 + (int)rng_below(rng, 3);
        int from = FIRST_DAY + i * slot + (int)rng_below(rng, (uint32_t)(slot - days));

        plan->surges[i] = (struct surge){
            .port = surge_ports[ports[i]],
            .from = (uint8_t)from,
            .to = (uint8_t)(from + days),
            .sources_per_day = (uint16_t)sources_that_fit(packets_per_day, days),
            .sensors = draw_sensors(rng),
        };
    }
}

static int plant_source(struct rng *rng, int sensor, int day, const struct source *source,
                        struct surge *surge, struct planned_list *list)
{
    struct planned item = {
        .time_us = (uint64_t)day * DAY_US + rng_next(rng) % (DAY_US - 10u * 1000000u),
        .src = source->addr,
        .port = surge->port.port,
        .proto = surge->port.proto,
        .ttl = (uint8_t)(64 - 8 - mix64_pair(source->addr, (uint64_t)sensor) % 18),
        .host = HOST_SURGE,
    };

    surge->packets++;
    return planned_add(list, &item);
}

static int plant(struct rng *rng, uint64_t seed, int index, struct surge *surge,
                 struct planned_list lists[SENSOR_COUNT])
{
    for (int day = surge->from; day < surge->to; day++) {
        for (uint32_t i = 0; i < surge->sources_per_day; i++) {
            uint64_t id = (uint64_t)(index + 1) << 40 | (uint64_t)day << 32 | i;
            struct source source = geo_source_by_id(seed, POOL_BOT, id);

            for (int s = 0; s < SENSOR_COUNT; s++) {
                if ((surge->sensors >> s & 1) != 0 && sensor_observes(sensor_at(s), day)) {
                    int r = plant_source(rng, s, day, &source, surge, &lists[s]);
                    if (r < 0) {
                        return r;
                    }
                }
            }
        }
    }
    return 0;
}

int surges_plan(uint64_t seed, uint64_t surge_seed, uint32_t packets_per_day,
                struct planned_list lists[SENSOR_COUNT], struct surge_plan *ret_plan)
{
    struct surge_plan plan = {.planted = true, .seed = surge_seed};
    uint64_t mixed = mix64_pair(seed, surge_seed);
    struct rng rng;

    rng_seed(&rng, mix64_pair(mixed, 0x5049e));
    draw_surges(&rng, packets_per_day, &plan);
    for (int i = 0; i < SURGE_COUNT; i++) {
        int r = plant(&rng, mixed, i, &plan.surges[i], lists);
        if (r < 0) {
            return r;
        }
    }
    *ret_plan = plan;
    return 0;
}
