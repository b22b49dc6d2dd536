// What was sent, counted as it is sent. Independent of any code that will capture it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "calendar.h"
#include "campaign.h"
#include "geo.h"
#include "packet.h"
#include "sensors.h"
#include "surges.h"

#define FILES_MAX  2
#define HOST_WORDS ((HOST_COUNT + 63) / 64)
#define PORT_LABEL 24

struct capture_truth {
    char name[32]; // relative to the output directory
    uint64_t first_us, last_us;
    uint64_t frames;
};

struct sensor_truth {
    uint64_t frames, non_ip, ipv4, ipv6, tcp, udp, icmp, icmpv6, other, fragments, ip_bytes;
    uint64_t classes[CLASS_COUNT];
    uint64_t tools[TOOL_COUNT];
    uint64_t months[QUARTER_MONTHS]; // packets, class local left out, as the rankings do
    uint64_t hosting, controls, surges;
    uint32_t ports[2][65536]; // TCP, UDP; class local left out, as below
    uint64_t protocols[256];  // packets without a port
    struct capture_truth files[FILES_MAX];
    size_t file_count;
};

// The company's packets as one region's sensors see them.
struct region_truth {
    uint64_t ttls[256];
    uint64_t sources[HOST_WORDS];
};

struct host_day {
    uint64_t sources[HOST_WORDS];
    uint64_t packets;
};

struct truth {
    uint64_t seed;
    uint32_t packets_per_day;
    uint32_t hosts[HOST_COUNT];
    uint32_t controls[CONTROL_COUNT];
    struct sensor_truth sensors[SENSOR_COUNT];
    struct region_truth regions[REGION_COUNT];
    struct host_day days[QUARTER_DAYS][CAMPAIGN_PORTS];
    struct surge_plan surges;
};

// One row of a ranking: a port with a protocol, or a protocol; fragment: the later fragments of it.
struct port_count {
    struct port_id port;
    bool fragment;
    uint64_t packets;
};

// NULL: no memory.
struct truth *truth_new(uint64_t seed, uint32_t packets_per_day);
void truth_free(struct truth *truth);

void truth_count(struct truth *truth, int sensor, uint64_t time_us, const struct packet *packet);

// The n ports with most packets at this sensor, most first.
void truth_top(const struct sensor_truth *sensor, size_t n, struct port_count *ret_top);

// "22/TCP", "ICMP", "IP/50", "UDP/fragment"
void port_label(const struct port_count *port, char ret_label[PORT_LABEL]);

uint32_t host_set_size(const uint64_t set[HOST_WORDS]);

// What the scenario promises, looked up in what was sent. NULL, or the first promise broken.
const char *truth_check(const struct truth *truth);

// Writes truth.json. 0 or -errno.
int truth_write(const struct truth *truth, const char *path);
