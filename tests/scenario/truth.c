#include "truth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct truth *truth_new(uint64_t seed, uint32_t packets_per_day)
{
    struct truth *truth = calloc(1, sizeof(*truth));

    if (truth != NULL) {
        truth->seed = seed;
        truth->packets_per_day = packets_per_day;
        geo_hosts(seed, truth->hosts);
        geo_controls(seed, truth->controls);
    }
    return truth;
}

void truth_free(struct truth *truth)
{
    free(truth);
}

static void host_set_add(uint64_t set[HOST_WORDS], uint16_t host)
{
    set[host / 64] |= (uint64_t)1 << (host % 64);
}

uint32_t host_set_size(const uint64_t set[HOST_WORDS])
{
    uint32_t n = 0;

    for (int i = 0; i < HOST_WORDS; i++) {
        n += (uint32_t)__builtin_popcountll(set[i]);
    }
    return n;
}

static void count_host(struct truth *truth, int sensor, uint64_t time_us, const struct sent *sent)
{
    struct region_truth *region = &truth->regions[sensor_region(sensor)];

    region->ttls[sent->ttl]++;
    host_set_add(region->sources, sent->host);
    for (int p = 0; p < CAMPAIGN_PORTS; p++) {
        if (campaign_ports[p] == sent->port) {
            struct host_day *day = &truth->days[time_us / DAY_US][p];
            host_set_add(day->sources, sent->host);
            day->packets++;
        }
    }
}

static void count_protocol(struct sensor_truth *s, const struct sent *sent)
{
    switch (sent->proto) {
    case PROTO_TCP:
        s->tcp++;
        break;
    case PROTO_UDP:
        s->udp++;
        break;
    case PROTO_ICMP:
        s->icmp++;
        break;
    case PROTO_ICMPV6:
        s->icmpv6++;
        break;
    default:
        s->other++;
        break;
    }
}

static void count_ranked(struct sensor_truth *s, uint64_t time_us, const struct sent *sent)
{
    s->months[day_month((int)(time_us / DAY_US))]++;
    if (sent->has_port) {
        s->ports[sent->proto == PROTO_UDP][sent->port]++;
    } else {
        s->protocols[sent->proto]++;
    }
}

static void count_file(struct sensor_truth *s, uint64_t time_us)
{
    struct capture_truth *file = &s->files[s->file_count - 1];

    if (file->frames++ == 0) {
        file->first_us = time_us;
    }
    file->last_us = time_us;
}

void truth_count(struct truth *truth, int sensor, uint64_t time_us, const struct packet *packet)
{
    struct sensor_truth *s = &truth->sensors[sensor];
    const struct sent *sent = &packet->sent;

    s->frames++;
    count_file(s, time_us);
    if (!sent->ip) {
        s->non_ip++;
        return;
    }
    s->ipv4 += !sent->v6;
    s->ipv6 += sent->v6;
    s->fragments += sent->fragment;
    s->ip_bytes += packet->len;
    s->classes[sent->class]++;
    s->tools[sent->tool]++;
    count_protocol(s, sent);
    if (sent->class != CLASS_LOCAL) {
        count_ranked(s, time_us, sent);
    }
    s->controls += sent->host == HOST_CONTROL;
    s->surges += sent->host == HOST_SURGE;
    if (sent->host < HOST_COUNT) {
        s->hosting++;
        count_host(truth, sensor, time_us, sent);
    }
}

static void insert_ranked(struct port_count *top, size_t n, const struct port_count *candidate)
{
    size_t at = n;

    while (at > 0 && top[at - 1].packets < candidate->packets) {
        at--;
    }
    if (at < n) {
        memmove(top + at + 1, top + at, (n - at - 1) * sizeof(*top));
        top[at] = *candidate;
    }
}

void truth_top(const struct sensor_truth *sensor, size_t n, struct port_count *ret_top)
{
    memset(ret_top, 0, n * sizeof(*ret_top));
    for (int u = 0; u < 2; u++) {
        for (uint32_t port = 0; port < 65536; port++) {
            struct port_count c = {
                .port = {u == 0 ? PROTO_TCP : PROTO_UDP, (uint16_t)port},
                .packets = sensor->ports[u][port],
            };
            insert_ranked(ret_top, n, &c);
        }
    }
    for (int proto = 0; proto < 256; proto++) {
        struct port_count c = {
            .port = {(uint8_t)proto, 0},
            .fragment = proto == PROTO_TCP || proto == PROTO_UDP,
            .packets = sensor->protocols[proto],
        };
        insert_ranked(ret_top, n, &c);
    }
}

void port_label(const struct port_count *port, char ret_label[PORT_LABEL])
{
    bool udp = port->port.proto == PROTO_UDP;

    switch (port->port.proto) {
    case PROTO_TCP:
    case PROTO_UDP:
        if (port->fragment) {
            (void)snprintf(ret_label, PORT_LABEL, "%s/fragment", udp ? "UDP" : "TCP");
        } else {
            (void)snprintf(ret_label, PORT_LABEL, "%u/%s", port->port.port, udp ? "UDP" : "TCP");
        }
        break;
    case PROTO_ICMP:
        (void)snprintf(ret_label, PORT_LABEL, "ICMP");
        break;
    case PROTO_ICMPV6:
        (void)snprintf(ret_label, PORT_LABEL, "ICMPv6");
        break;
    case PROTO_GRE:
        (void)snprintf(ret_label, PORT_LABEL, "GRE");
        break;
    default:
        (void)snprintf(ret_label, PORT_LABEL, "IP/%u", port->port.proto);
        break;
    }
}

static bool order_holds(const struct truth *truth, int sensor)
{
    const struct sensor *planned = sensor_at(sensor);
    const struct sensor_truth *s = &truth->sensors[sensor];
    struct port_count top[TOP_PORTS + 1];
    uint64_t tenth = 0;

    truth_top(s, TOP_PORTS + 1, top);
    tenth = top[TOP_PORTS - 1].packets;
    for (int k = 0; k < TOP_PORTS; k++) {
        if (top[k].port.proto != planned->top[k].proto ||
            top[k].port.port != planned->top[k].port || top[k].packets <= top[k + 1].packets) {
            return false;
        }
    }
    return s->hosting + s->controls < tenth && s->surges < tenth;
}

static bool range_reached(const struct truth *truth, int region)
{
    const struct region *r = region_at(region);
    const uint64_t *ttls = truth->regions[region].ttls;

    for (int ttl = 0; ttl < 256; ttl++) {
        if ((ttl < r->ttl_min || ttl > r->ttl_max) && ttls[ttl] > 0) {
            return false;
        }
    }
    return ttls[r->ttl_min] > 0 && ttls[r->ttl_max] > 0;
}

static bool peak_is_unique(const struct truth *truth)
{
    uint32_t peak = host_set_size(truth->days[DAY_OF(2, 8)][0].sources);

    for (int d = 0; d < QUARTER_DAYS; d++) {
        if (d != DAY_OF(2, 8) && host_set_size(truth->days[d][0].sources) >= peak) {
            return false;
        }
    }
    return peak > 0;
}

const char *truth_check(const struct truth *truth)
{
    for (int i = 0; i < SENSOR_COUNT; i++) {
        if (!order_holds(truth, i)) {
            return "a sensor's top ten is not in its order";
        }
    }
    for (int i = 0; i < REGION_COUNT; i++) {
        if (!range_reached(truth, i)) {
            return "a region's TTL range is not the planned one";
        }
    }
    if (host_set_size(truth->regions[0].sources) != HOST_COUNT) {
        return "not every source of the hosting company is seen at home";
    }
    if (!peak_is_unique(truth)) {
        return "22/TCP has no unique peak of source hosts on 2023-02-08";
    }
    return NULL;
}
