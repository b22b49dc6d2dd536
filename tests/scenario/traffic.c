#include "traffic.h"

#include <stddef.h>

#include "geo.h"
#include "payloads.h"
#include "rng.h"
#include "tools.h"

#define BROADCAST    0xffffffffu
#define HOPS_MIN     8
#define HOPS_RANGE   18 // 8..25
#define EMBEDDED_LEN 28 // IPv4 header and 8 bytes, in ICMP errors
#define V6_PERCENT   2  // of the packets whose program also speaks IPv6

struct draw {
    const struct traffic *traffic;
    struct rng rng;
    int day;
    uint16_t part;
};

// The way from a source to a sensor has its number of hops, the same for all its packets. A source
// in the home country never starts at 255 here: those are the company's and the controls'.
static uint8_t arriving_ttl(const struct traffic *traffic, const struct source *source,
                            uint8_t initial)
{
    uint64_t h = mix64_pair(source->addr, (uint64_t)traffic->sensor);

    if (source->country == COUNTRY_HOME && initial == 255) {
        initial = (h & 0x10000) != 0 ? 64 : 128;
    }
    return (uint8_t)(initial - HOPS_MIN - h % HOPS_RANGE);
}

static struct ends make_ends(const struct traffic *traffic, const struct source *source, bool v6,
                             uint8_t initial_ttl)
{
    return (struct ends){
        .v6 = v6,
        .src = source->addr,
        .dst = sensor_addr4(traffic->sensor),
        .src6 = {source->addr6_high, source->addr6_low},
        .dst6 = {sensor_addr6_high(traffic->sensor), SENSOR_ADDR6_LOW},
        .ttl = arriving_ttl(traffic, source, initial_ttl),
    };
}

static struct ends draw_ends(struct draw *d, enum source_pool pool, bool v6, uint8_t initial_ttl)
{
    struct source source = geo_source(d->traffic->seed, pool, d->day, &d->rng);

    return make_ends(d->traffic, &source, v6, initial_ttl);
}

static uint16_t high_port(struct draw *d, uint32_t base, uint32_t range)
{
    return (uint16_t)(base + rng_below(&d->rng, range));
}

static uint8_t system_ttl(struct draw *d)
{
    return rng_below(&d->rng, 3) == 0 ? 128 : 64;
}

static void build_tcp_scan(struct draw *d, uint16_t port, struct packet *p)
{
    enum scanner scanner = scanner_draw(&d->rng, port);
    bool bot = scanner == SCANNER_MIRAI || scanner == SCANNER_WINDOWS;
    bool v6 = (scanner == SCANNER_LINUX || scanner == SCANNER_ZMAP) &&
              rng_below(&d->rng, 100) < V6_PERCENT * 4;
    struct ends ends =
        draw_ends(d, bot ? POOL_BOT : POOL_SCANNER, v6, scanner_initial_ttl(scanner));
    struct tcp_fields tcp;
    enum tool tool = TOOL_NONE;

    scanner_tcp(scanner, &d->rng, ends.dst, port, d->part, &tcp, &tool);
    packet_tcp(p, &ends, &tcp);
    p->sent.tool = v6 ? TOOL_NONE : tool; // an IPv6 header has no identification
}

static void build_udp_scan(struct draw *d, uint16_t port, struct packet *p)
{
    bool v6 = rng_below(&d->rng, 100) < V6_PERCENT;
    struct ends ends =
        draw_ends(d, rng_below(&d->rng, 4) == 0 ? POOL_BOT : POOL_SCANNER, v6, system_ttl(d));
    struct payload payload = udp_payload(port);

    packet_udp(p, &ends, high_port(d, 32768, 28000), port, (uint16_t)rng_next(&d->rng),
               payload.data, payload.len);
}

// The sensor's packet that an ICMP error says it answers; the sensor never sent it.
static size_t embedded_packet(struct draw *d, const struct ends *ends, struct packet *ret_inner)
{
    struct ends inner = *ends;

    inner.src = ends->dst;
    inner.dst = ends->src;
    inner.src6[0] = ends->dst6[0];
    inner.src6[1] = ends->dst6[1];
    inner.dst6[0] = ends->src6[0];
    inner.dst6[1] = ends->src6[1];
    inner.ttl = 1 + (uint8_t)rng_below(&d->rng, 40);
    packet_udp(ret_inner, &inner, high_port(d, 32768, 28000), 80, (uint16_t)rng_next(&d->rng), "",
               0);
    return ret_inner->len;
}

static void build_icmp(struct draw *d, struct packet *p)
{
    uint32_t n = rng_below(&d->rng, 100);
    static const uint8_t data[24] = {0};
    uint32_t rest = (uint32_t)rng_next(&d->rng);

    if (n < 74) {
        struct ends ends = draw_ends(d, n < 40 ? POOL_SCANNER : POOL_BOT, false, system_ttl(d));
        packet_icmp(p, &ends, 8, 0, rest, data, sizeof(data));
    } else if (n < 78) {
        struct ends ends = draw_ends(d, POOL_SCANNER, false, 64);
        packet_icmp(p, &ends, 13, 0, rest, data, 12);
    } else if (n < 84) {
        struct ends ends = draw_ends(d, POOL_VICTIM, false, 64);
        packet_icmp(p, &ends, 0, 0, rest, data, sizeof(data));
    } else {
        struct packet inner;
        struct ends ends = draw_ends(d, POOL_VICTIM, false, 255);
        size_t len = embedded_packet(d, &ends, &inner);
        if (n < 94) {
            static const uint8_t codes[] = {1, 3, 3, 3, 10, 13};
            packet_icmp(p, &ends, 3, codes[rng_below(&d->rng, 6)], 0, inner.data, len);
        } else {
            packet_icmp(p, &ends, 11, 0, 0, inner.data, len);
        }
    }
}

static void build_icmpv6(struct draw *d, struct packet *p)
{
    uint32_t n = rng_below(&d->rng, 10);
    static const uint8_t data[16] = {0};
    uint32_t rest = (uint32_t)rng_next(&d->rng);

    if (n < 6) {
        struct ends ends = draw_ends(d, POOL_SCANNER, true, 64);
        packet_icmp(p, &ends, 128, 0, rest, data, sizeof(data));
    } else if (n < 7) {
        struct ends ends = draw_ends(d, POOL_VICTIM, true, 64);
        packet_icmp(p, &ends, 129, 0, rest, data, sizeof(data));
    } else {
        struct packet inner;
        struct ends ends = draw_ends(d, POOL_VICTIM, true, 255);
        size_t len = embedded_packet(d, &ends, &inner);
        packet_icmp(p, &ends, n < 9 ? 1 : 3, n < 9 ? 4 : 0, 0, inner.data, len);
    }
}

static void build_backscatter(struct draw *d, struct packet *p)
{
    static const uint16_t ports[] = {80, 443, 443, 22, 25565, 53, 3389};
    static const uint8_t flags[] = {TCP_SYN | TCP_ACK, TCP_SYN | TCP_ACK, TCP_RST | TCP_ACK,
                                    TCP_RST};
    struct ends ends = draw_ends(d, POOL_VICTIM, rng_below(&d->rng, 40) == 0, 64);
    uint8_t flag = flags[rng_below(&d->rng, 4)];
    bool syn = (flag & TCP_SYN) != 0;
    struct tcp_fields tcp = {
        .src_port = ports[rng_below(&d->rng, sizeof(ports) / sizeof(ports[0]))],
        .dst_port = high_port(d, 40000, 12000),
        .seq = syn ? (uint32_t)rng_next(&d->rng) : 0,
        .ack = (flag & TCP_ACK) != 0 ? (uint32_t)rng_next(&d->rng) : 0,
        .flags = flag,
        .window = syn ? 65160 : 0,
        .dont_fragment = true,
        .options = syn ? OPTIONS_MSS : OPTIONS_NONE,
    };

    packet_tcp(p, &ends, &tcp);
}

static void build_dns_answer(struct draw *d, struct packet *p)
{
    struct ends ends = draw_ends(d, POOL_VICTIM, false, 64);
    struct payload payload = dns_answer();

    packet_udp(p, &ends, 53, high_port(d, 40000, 12000), (uint16_t)rng_next(&d->rng), payload.data,
               payload.len);
}

static void build_gre(struct draw *d, struct packet *p)
{
    // RFC 2784: a tunnelled datagram from one invented network to another.
    struct ends ends = draw_ends(d, POOL_BOT, false, system_ttl(d));
    struct ends inner_ends = {.src = 0xc613f001u, .dst = 0xc613f002u, .ttl = 64};
    struct packet inner;
    uint8_t payload[4 + EMBEDDED_LEN] = {0, 0, 0x08, 0x00};

    packet_udp(&inner, &inner_ends, 4000, high_port(d, 40000, 12000), 0, "", 0);
    for (size_t i = 0; i < inner.len && i < EMBEDDED_LEN; i++) {
        payload[4 + i] = inner.data[i];
    }
    packet_other(p, &ends, PROTO_GRE, payload, 4 + inner.len);
}

static void build_protocol(struct draw *d, struct packet *p)
{
    // ESP and an unassigned number; neither is an IPv6 extension header to look behind
    static const uint8_t protocols[] = {50, 50, 147};
    uint8_t proto = protocols[rng_below(&d->rng, sizeof(protocols))];
    struct ends ends = draw_ends(d, POOL_SCANNER, rng_below(&d->rng, 10) == 0, 255);
    uint64_t payload[3] = {rng_next(&d->rng), rng_next(&d->rng), rng_next(&d->rng)};

    packet_other(p, &ends, proto, payload, sizeof(payload));
}

static void build_fragment(struct draw *d, struct packet *p)
{
    bool udp = rng_below(&d->rng, 3) != 0;
    struct ends ends = draw_ends(d, POOL_SCANNER, rng_below(&d->rng, 8) == 0, 64);
    uint16_t src_port = high_port(d, 32768, 28000);
    uint16_t dst_port = high_port(d, 10000, 5000);

    packet_fragment(p, &ends, udp ? PROTO_UDP : PROTO_TCP, src_port, dst_port,
                    (uint16_t)rng_next(&d->rng), d->part);
}

// Six sources a day walk over ports that nothing else here uses.
static void build_vertical(struct draw *d, struct packet *p)
{
    uint64_t id = 0x7e270000u + (uint64_t)d->day * 4 + rng_below(&d->rng, 6);
    struct source source = geo_source_by_id(d->traffic->seed, POOL_SCANNER, id);
    struct ends ends = make_ends(d->traffic, &source, false, 255);
    struct tcp_fields tcp = {
        .src_port = (uint16_t)(40000 + id % 20000),
        .dst_port = high_port(d, 15000, 5000),
        .seq = (uint32_t)rng_next(&d->rng),
        .flags = TCP_SYN,
        .window = 1024,
        .ip_id = (uint16_t)rng_next(&d->rng),
        .options = OPTIONS_MSS,
    };

    packet_tcp(p, &ends, &tcp);
}

static void build_spoofed(struct draw *d, struct packet *p)
{
    struct source source = geo_source(d->traffic->seed, POOL_SPOOFED, d->day, &d->rng);
    struct ends ends = make_ends(d->traffic, &source, false, 64);
    struct tcp_fields tcp = {
        .src_port = high_port(d, 1024, 64000),
        .dst_port = high_port(d, 20000, 10000),
        .seq = (uint32_t)rng_next(&d->rng),
        .flags = TCP_SYN,
        .window = high_port(d, 512, 60000),
        .ip_id = (uint16_t)rng_next(&d->rng),
    };

    if (source.country != COUNTRY_HOME) { // see arriving_ttl
        ends.ttl = (uint8_t)(20 + rng_below(&d->rng, 230));
    }
    packet_tcp(p, &ends, &tcp);
}

static void build_odd_tcp(struct draw *d, struct packet *p)
{
    static const uint8_t flags[] = {TCP_ACK, TCP_ACK, TCP_FIN, 0, TCP_FIN | TCP_PSH | TCP_URG};
    struct ends ends = draw_ends(d, POOL_SCANNER, false, 64);
    uint8_t flag = flags[rng_below(&d->rng, sizeof(flags))];
    struct tcp_fields tcp = {
        .src_port = high_port(d, 32768, 28000),
        .dst_port = high_port(d, 10000, 5000),
        .seq = (uint32_t)rng_next(&d->rng),
        .ack = flag == TCP_ACK ? (uint32_t)rng_next(&d->rng) : 0,
        .flags = flag,
        .window = 1024,
        .ip_id = (uint16_t)rng_next(&d->rng),
    };

    packet_tcp(p, &ends, &tcp);
}

// Neighbours on the sensor's network shout. Of the ranges used here only 255.255.255.255 is a
// broadcast or multicast address.
static void build_local(struct draw *d, struct packet *p)
{
    uint32_t own = sensor_addr4(d->traffic->sensor);
    struct ends ends = {
        .src = (own & 0xffffff00u) | (200 + rng_below(&d->rng, 20)),
        .dst = BROADCAST,
        .ttl = 64,
    };
    uint16_t port = high_port(d, 30000, 3);

    packet_udp(p, &ends, port, port, (uint16_t)rng_next(&d->rng), "", 0);
    p->broadcast = true;
    p->sent.class = CLASS_LOCAL;
}

static void build_arp(struct draw *d, struct packet *p)
{
    uint32_t network = sensor_addr4(d->traffic->sensor) & 0xffffff00u;

    packet_arp(p, network | 1, network | (2 + rng_below(&d->rng, 250)));
}

static void build_port(struct draw *d, const struct port_id *port, struct packet *p)
{
    if (port->proto == PROTO_TCP) {
        build_tcp_scan(d, port->port, p);
    } else if (port->proto == PROTO_UDP) {
        build_udp_scan(d, port->port, p);
    } else {
        build_icmp(d, p);
    }
}

void traffic_build(const struct traffic *traffic, const struct stream *stream,
                   const struct event *event, struct packet *ret_packet)
{
    struct draw d = {
        .traffic = traffic,
        .day = (int)(event->time_us / DAY_US),
        .part = event->part,
    };

    rng_seed(&d.rng, event->seed);
    switch (stream->kind) {
    case STREAM_PORT:
        build_port(&d, &stream->port, ret_packet);
        break;
    case STREAM_BACKSCATTER:
        build_backscatter(&d, ret_packet);
        break;
    case STREAM_DNS_ANSWER:
        build_dns_answer(&d, ret_packet);
        break;
    case STREAM_ICMPV6:
        build_icmpv6(&d, ret_packet);
        break;
    case STREAM_GRE:
        build_gre(&d, ret_packet);
        break;
    case STREAM_PROTOCOL:
        build_protocol(&d, ret_packet);
        break;
    case STREAM_FRAGMENT:
        build_fragment(&d, ret_packet);
        break;
    case STREAM_VERTICAL:
        build_vertical(&d, ret_packet);
        break;
    case STREAM_SPOOFED:
        build_spoofed(&d, ret_packet);
        break;
    case STREAM_ODD_TCP:
        build_odd_tcp(&d, ret_packet);
        break;
    case STREAM_LOCAL:
        build_local(&d, ret_packet);
        break;
    case STREAM_ARP:
        build_arp(&d, ret_packet);
        break;
    }
}

// A control's SYN or datagram, a host of a planted surge's, or the company's: a full network stack
// with initial TTL 255 and TCP options, no scanner's bare SYN.
void traffic_build_planned(const struct traffic *traffic, const struct planned *planned,
                           struct packet *ret_packet)
{
    struct ends ends = {
        .src = planned->src, .dst = sensor_addr4(traffic->sensor), .ttl = planned->ttl};
    struct rng rng;

    rng_seed(&rng, mix64_pair(planned->src, planned->time_us / 10000000u));
    uint16_t src_port = (uint16_t)(32768 + rng_below(&rng, 28000));
    if (planned->proto == PROTO_UDP) {
        struct payload payload = udp_payload(planned->port);
        packet_udp(ret_packet, &ends, src_port, planned->port, (uint16_t)rng_next(&rng),
                   payload.data, payload.len);
    } else {
        struct tcp_fields tcp = {
            .src_port = src_port,
            .dst_port = planned->port,
            .seq = (uint32_t)rng_next(&rng),
            .flags = TCP_SYN,
            .window = planned->host < HOST_SURGE ? 49640 : 29200,
            .ip_id = (uint16_t)rng_next(&rng),
            .dont_fragment = true,
            .options = planned->host < HOST_SURGE ? OPTIONS_HOSTING : OPTIONS_MSS,
        };
        packet_tcp(ret_packet, &ends, &tcp);
    }
    ret_packet->sent.host = planned->host;
}
