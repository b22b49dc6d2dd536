// What reaches one sensor, as streams with exact packet counts for the quarter, and the day-by-day
// schedule of their packets. Counts are apportioned, never drawn, so the top ten's order holds at
// any size; only sources, times and header fields are random. Memory is bounded by one day.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "calendar.h"
#include "planned.h"
#include "rng.h"
#include "sensors.h"

#define PACKETS_PER_DAY_MIN     60
#define PACKETS_PER_DAY_DEFAULT 400
#define PACKETS_PER_DAY_MAX     200000

#define STREAM_MAX     128
#define STREAM_PLANNED UINT16_MAX // an event of the sensor's planned packets

enum stream_kind {
    STREAM_PORT,        // requests to one TCP or UDP port, ICMP as a whole
    STREAM_BACKSCATTER, // TCP answers to floods with a forged source
    STREAM_DNS_ANSWER,
    STREAM_ICMPV6,
    STREAM_GRE,
    STREAM_PROTOCOL, // other IP protocols
    STREAM_FRAGMENT,
    STREAM_VERTICAL, // a few sources over many ports
    STREAM_SPOOFED,  // SYNs from anywhere, with any TTL
    STREAM_ODD_TCP,  // neither SYN nor answer
    STREAM_LOCAL,    // broadcasts on the sensor's own network
    STREAM_ARP,
};

struct stream {
    enum stream_kind kind;
    struct port_id port; // STREAM_PORT
    uint64_t quota;      // packets in the quarter; STREAM_FRAGMENT: pairs
    uint64_t phase;      // offset of the apportionment, so that small streams don't beat together
};

struct stream_plan {
    struct stream streams[STREAM_MAX];
    size_t count;
    uint64_t weights[QUARTER_DAYS + 1]; // sum of the weights of the observed days before this one
};

// One packet to come. Packets of one burst share the seed and differ in part.
struct event {
    uint64_t time_us;
    uint64_t seed;   // for a planned packet: its index
    uint16_t stream; // index, or STREAM_PLANNED
    uint16_t part;
};

struct schedule {
    struct event *events; // ascending in time
    size_t count;
    size_t allocated;
};

int sensor_observed_days(const struct sensor *sensor);

// Packets of the sensor's whole background in the quarter, and of the k-th place of its top ten.
uint64_t sensor_packets(int sensor, uint32_t packets_per_day);
uint64_t sensor_place_packets(int sensor, uint32_t packets_per_day, int k);

// The planned packets to a port of the top ten come out of that port's share.
void stream_plan_init(struct stream_plan *plan, uint64_t seed, int sensor, uint32_t packets_per_day,
                      const struct planned_list *planned);

// Replaces the schedule by one day's events, planned ones included. 0 or -ENOMEM.
// A capture file's first and last packet stand at the very edges of its days, so that the days it
// covers are whole ones.
int schedule_day(struct schedule *schedule, const struct stream_plan *plan,
                 const struct sensor *sensor, int day, const struct planned_list *planned,
                 struct rng *rng);
void schedule_release(struct schedule *schedule);
