#include "campaign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "calendar.h"
#include "cleanup.h"
#include "packet.h"
#include "streams.h"

#define FIRST_DAY       DAY_OF(2, 3)
#define CAMPAIGN_DAYS   (QUARTER_DAYS - FIRST_DAY)
#define SHARE_OF_TENTH  65 // percent of a tenth place that the company's packets amount to
#define PACKETS_MAX     20000u
#define ACTIVITY_OF_ALL 600 // thousandths of the packets that may be needed to show every activity

const uint16_t campaign_ports[CAMPAIGN_PORTS] = {22, 5900};

// Source hosts per day from 2023-02-03 on, at full size. Bursts: 10-13, 18-19 February, 25 February
// to 2 March; notices take effect from 3 March on.
static const uint16_t hosts_per_day[CAMPAIGN_PORTS][CAMPAIGN_DAYS] = {
    {12, 28, 52, 104, 181, 288, 150, 212, 232, 221, 178, 61, 44, 38, 52, 196, 184, 49, 38,
     33, 36, 58, 171, 183, 164, 192, 186, 149, 88,  71,  60, 52, 46, 41, 36,  32,  28, 25,
     22, 20, 18, 16,  14,  13,  11,  10,  9,   8,   7,   6,  5,  5,  4,  4,   3,   2,  2},
    {0,  0,  0,  0,   0,   0,   0,   148, 187, 201, 160, 22, 14, 12, 18, 171, 176, 20, 12,
     9,  11, 25, 150, 166, 140, 158, 161, 120, 60,  44,  36, 31, 26, 22, 19,  16,  14, 12,
     11, 10, 8,  7,   6,   5,   5,   4,   4,   3,   3,   2,  2,  2,  1,  1,   1,   1,  0},
};

// One source's activity on one port on one day: seen somewhere, it makes the source count.
struct activity {
    uint8_t day;
    uint8_t port; // index in campaign_ports
    uint16_t host;
    bool seen;
};

struct campaign {
    struct rng rng;
    uint32_t hosts[HOST_COUNT];
    uint32_t budget[SENSOR_COUNT];
    uint8_t ttl[SENSOR_COUNT][HOST_COUNT]; // 0: this source never reaches this sensor
    struct activity *activities;           // by host
    uint32_t activity_count;
    uint32_t first[HOST_COUNT + 1]; // of each host's activities
    uint32_t next[HOST_COUNT];      // the host's activity to be shown next
    struct planned_list *lists;
};

static void campaign_release(struct campaign *c)
{
    free(c->activities);
}

static void set_budgets(struct campaign *c, uint32_t packets_per_day)
{
    for (int s = 0; s < SENSOR_COUNT; s++) {
        uint64_t tenth = sensor_place_packets(s, packets_per_day, TOP_PORTS - 1);
        uint64_t n = tenth * SHARE_OF_TENTH / 100;
        c->budget[s] = (uint32_t)(n < PACKETS_MAX ? n : PACKETS_MAX);
    }
}

// Thousandths of hosts_per_day that the packets suffice for.
static uint64_t activity_scale(const struct campaign *c)
{
    uint64_t packets = 0;
    uint64_t wanted = 0;

    for (int s = 0; s < SENSOR_COUNT; s++) {
        packets += c->budget[s];
    }
    for (int p = 0; p < CAMPAIGN_PORTS; p++) {
        for (int d = 0; d < CAMPAIGN_DAYS; d++) {
            wanted += hosts_per_day[p][d];
        }
    }
    uint64_t scale = packets * ACTIVITY_OF_ALL / wanted;
    return scale < 1000 ? scale : 1000;
}

static int compare_activity(const void *pa, const void *pb)
{
    const struct activity *a = pa;
    const struct activity *b = pb;

    if (a->host != b->host) {
        return (int)a->host - (int)b->host;
    }
    return a->day != b->day ? (int)a->day - (int)b->day : (int)a->port - (int)b->port;
}

static void index_activities(struct campaign *c)
{
    uint32_t i = 0;

    qsort(c->activities, c->activity_count, sizeof(*c->activities), compare_activity);
    for (uint32_t h = 0; h <= HOST_COUNT; h++) {
        while (i < c->activity_count && c->activities[i].host < h) {
            i++;
        }
        c->first[h] = i;
    }
    for (uint32_t h = 0; h < HOST_COUNT; h++) {
        c->next[h] = rng_below(&c->rng, 64);
    }
}

// Chooses the active sources of each day: around and around in a random order, so that all have
// about the same number of active days.
static int draw_activities(struct campaign *c)
{
    uint64_t scale = activity_scale(c);

    c->activities =
        calloc((size_t)CAMPAIGN_PORTS * CAMPAIGN_DAYS * HOST_COUNT, sizeof(*c->activities));
    if (c->activities == NULL) {
        return -ENOMEM;
    }
    for (int p = 0; p < CAMPAIGN_PORTS; p++) {
        uint16_t order[HOST_COUNT];
        uint32_t at = 0;

        for (uint16_t h = 0; h < HOST_COUNT; h++) {
            order[h] = h;
        }
        rng_shuffle(&c->rng, order, HOST_COUNT);
        for (int d = 0; d < CAMPAIGN_DAYS; d++) {
            uint64_t hosts = (hosts_per_day[p][d] * scale + 999) / 1000;
            for (uint64_t i = 0; i < hosts; i++) {
                c->activities[c->activity_count++] =
                    (struct activity){.day = (uint8_t)(FIRST_DAY + d),
                                      .port = (uint8_t)p,
                                      .host = order[at++ % HOST_COUNT]};
            }
        }
    }
    index_activities(c);
    return 0;
}

void region_draw_ttls(const struct region *region, struct rng *rng, uint32_t n, uint16_t *ttls)
{
    uint32_t width = (uint32_t)(region->ttl_max - region->ttl_min) + 1;
    uint32_t total = 0;
    uint32_t sum = 0;
    uint32_t i = 0;

    for (uint32_t k = 0; k < width; k++) {
        total += region->weights[k];
    }
    for (uint32_t k = 0; k < width; k++) {
        sum += region->weights[k];
        for (uint32_t end = n * sum / total; i < end; i++) {
            ttls[i] = (uint16_t)(region->ttl_min + k);
        }
    }
    rng_shuffle(rng, ttls, n);
}

static int add_packet(struct campaign *c, int sensor, struct activity *activity)
{
    struct planned item = {
        .time_us = activity->day * DAY_US + rng_next(&c->rng) % (DAY_US - 10u * 1000000u),
        .src = c->hosts[activity->host],
        .port = campaign_ports[activity->port],
        .proto = PROTO_TCP,
        .ttl = c->ttl[sensor][activity->host],
        .host = activity->host,
    };

    activity->seen = true;
    return planned_add(&c->lists[sensor], &item);
}

// The host's next activity that this sensor was there to see, NULL if there is none.
static struct activity *next_activity(struct campaign *c, int sensor, uint16_t host)
{
    uint32_t n = c->first[host + 1] - c->first[host];

    for (uint32_t i = 0; i < n; i++) {
        struct activity *a = &c->activities[c->first[host] + c->next[host]++ % n];
        if (sensor_observes(sensor_at(sensor), a->day)) {
            return a;
        }
    }
    return NULL;
}

// Each sensor sees each source once, or as many as its packets suffice for: then the sensors take
// turns around the sources, so that home as a whole sees all.
static int show_sources(struct campaign *c)
{
    uint16_t order[HOST_COUNT];
    uint16_t ttls[HOST_COUNT];
    uint32_t at = 0;

    for (uint16_t h = 0; h < HOST_COUNT; h++) {
        order[h] = h;
    }
    rng_shuffle(&c->rng, order, HOST_COUNT);
    for (int s = 0; s < SENSOR_COUNT; s++) {
        uint32_t n = c->budget[s] < HOST_COUNT ? c->budget[s] : HOST_COUNT;
        uint32_t shown = 0;

        region_draw_ttls(region_at(sensor_region(s)), &c->rng, n, ttls);
        for (uint32_t i = 0; i < n; i++) {
            uint16_t host = order[at++ % HOST_COUNT];
            struct activity *a = next_activity(c, s, host);
            if (a == NULL) {
                continue;
            }
            c->ttl[s][host] = (uint8_t)ttls[shown++];
            int r = add_packet(c, s, a);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

// Activities that no sensor has shown so far get a packet wherever there is room.
static int show_activities(struct campaign *c)
{
    for (uint32_t i = 0; i < c->activity_count; i++) {
        struct activity *a = &c->activities[i];
        uint32_t start = rng_below(&c->rng, SENSOR_COUNT);

        for (uint32_t k = 0; k < SENSOR_COUNT && !a->seen; k++) {
            int s = (int)((start + k) % SENSOR_COUNT);
            if (c->ttl[s][a->host] != 0 && c->lists[s].count < c->budget[s] &&
                sensor_observes(sensor_at(s), a->day)) {
                int r = add_packet(c, s, a);
                if (r < 0) {
                    return r;
                }
            }
        }
    }
    return 0;
}

// What is left of a sensor's packets: other packets of the same activities, half of them the
// repetition of an unanswered SYN.
static int fill_up(struct campaign *c, int sensor)
{
    struct planned_list *list = &c->lists[sensor];
    int r = 0;

    while (list->count > 0 && list->count < c->budget[sensor] && r == 0) {
        if (rng_below(&c->rng, 2) == 0) {
            struct planned item = list->items[rng_below(&c->rng, (uint32_t)list->count)];
            item.time_us += 1000000u * (item.time_us % DAY_US < DAY_US - 10u * 1000000u);
            r = planned_add(list, &item);
        } else {
            struct activity *a = &c->activities[rng_below(&c->rng, c->activity_count)];
            if (c->ttl[sensor][a->host] != 0 && sensor_observes(sensor_at(sensor), a->day)) {
                r = add_packet(c, sensor, a);
            }
        }
    }
    return r;
}

int campaign_plan(uint64_t seed, uint32_t packets_per_day, struct planned_list lists[SENSOR_COUNT])
{
    _cleanup_(campaign_release) struct campaign c = {.lists = lists};

    rng_seed(&c.rng, mix64_pair(seed, 0xca3fa167));
    geo_hosts(seed, c.hosts);
    set_budgets(&c, packets_per_day);
    int r = draw_activities(&c);
    if (r == 0) {
        r = show_sources(&c);
    }
    if (r == 0) {
        r = show_activities(&c);
    }
    for (int s = 0; s < SENSOR_COUNT && r == 0; s++) {
        r = fill_up(&c, s);
    }
    return r;
}
