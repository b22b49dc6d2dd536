// The thirteen sensors: where they stand, what link they capture on, what reaches them.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SENSOR_COUNT 13
#define HOME_COUNT   3 // the first three
#define HOME_COUNTRY "JP"
#define TOP_PORTS    10
#define REGION_COUNT 10

// IP protocol numbers
enum {
    PROTO_ICMP = 1,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_GRE = 47,
    PROTO_ICMPV6 = 58,
};

// What a ranking counts by: protocol and destination port; port 0 for the other protocols.
struct port_id {
    uint8_t proto;
    uint16_t port;
};

enum link_kind {
    LINK_ETHERNET,
    LINK_VLAN, // Ethernet, every frame with an 802.1Q tag
    LINK_RAW,
    LINK_SLL,
    LINK_SLL2,
};

struct sensor {
    const char *code;
    const char *country;
    const char *label_en;
    const char *label_ja;
    enum link_kind link;
    uint16_t vlan;
    uint16_t rate;       // background packets a day, in thousandths of --packets-per-day
    uint8_t profile;     // which curve of shares its top ten follow
    uint8_t outage_from; // days [from, to) without observation; equal: none
    uint8_t outage_to;
    struct port_id top[TOP_PORTS];
};

// The published TTL range of the hosting company's packets at one region's sensors.
struct region {
    const char *country;
    uint8_t ttl_min;
    uint8_t ttl_max;
    uint8_t weights[11]; // how often each TTL from ttl_min on is drawn; none is 0 inside the range
};

const struct sensor *sensor_at(int i);
const struct region *region_at(int i); // 0 is home, then by country code
int sensor_region(int i);

static inline bool sensor_is_home(int i)
{
    return i < HOME_COUNT;
}

static inline bool sensor_observes(const struct sensor *sensor, int day)
{
    return day < sensor->outage_from || day >= sensor->outage_to;
}

// The sensor's addresses, host order; IPv6: the high 64 bits, the low ones are SENSOR_ADDR6_LOW.
uint32_t sensor_addr4(int i);
#define SENSOR_ADDR6_LOW 0x10u
uint64_t sensor_addr6_high(int i);

// Share of the k-th port (from 0) of this sensor's top ten, in thousandths of all its packets.
uint32_t sensor_share(const struct sensor *sensor, int k);
