#include "packet.h"

#include <string.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP  0x0806
#define ETHERTYPE_IPV6 0x86dd

#define IPV6_FRAGMENT 44
#define IPV6_HEADER   40

// A fragmented packet's transport part: 24 bytes go into the first fragment, 16 into the second.
#define FRAGMENTED_LEN 40
#define FRAGMENT_SPLIT 24

void packet_put(struct packet *p, const void *data, size_t len)
{
    memcpy(p->data + p->len, data, len);
    p->len += len;
}

void packet_put8(struct packet *p, uint8_t v)
{
    p->data[p->len++] = v;
}

void packet_put16(struct packet *p, uint16_t v)
{
    packet_put8(p, (uint8_t)(v >> 8));
    packet_put8(p, (uint8_t)v);
}

void packet_put32(struct packet *p, uint32_t v)
{
    packet_put16(p, (uint16_t)(v >> 16));
    packet_put16(p, (uint16_t)v);
}

static void put64(struct packet *p, uint64_t v)
{
    packet_put32(p, (uint32_t)(v >> 32));
    packet_put32(p, (uint32_t)v);
}

static void set16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

// RFC 1071; sum carries a pseudo-header's share in.
static uint16_t checksum(const uint8_t *data, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    }
    if (len % 2 != 0) {
        sum += (uint32_t)data[len - 1] << 8;
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static uint32_t sum64(uint64_t v)
{
    return (uint32_t)((v >> 48) + (v >> 32 & 0xffff) + (v >> 16 & 0xffff) + (v & 0xffff));
}

static uint32_t pseudo_sum(const struct ends *ends, uint8_t proto, size_t len)
{
    uint32_t sum = (uint32_t)proto + (uint32_t)len;

    if (ends->v6) {
        return sum + sum64(ends->src6[0]) + sum64(ends->src6[1]) + sum64(ends->dst6[0]) +
               sum64(ends->dst6[1]);
    }
    return sum + sum64(ends->src) + sum64(ends->dst);
}

static void put_ip4(struct packet *p, const struct ends *ends, uint8_t proto, uint16_t ip_id,
                    uint16_t frag)
{
    packet_put16(p, 0x4500);
    packet_put16(p, 0); // total length
    packet_put16(p, ip_id);
    packet_put16(p, frag);
    packet_put8(p, ends->ttl);
    packet_put8(p, proto);
    packet_put16(p, 0); // checksum
    packet_put32(p, ends->src);
    packet_put32(p, ends->dst);
}

static void put_ip6(struct packet *p, const struct ends *ends, uint8_t next)
{
    packet_put32(p, 0x60000000);
    packet_put16(p, 0); // payload length
    packet_put8(p, next);
    packet_put8(p, ends->ttl);
    put64(p, ends->src6[0]);
    put64(p, ends->src6[1]);
    put64(p, ends->dst6[0]);
    put64(p, ends->dst6[1]);
}

static void start(struct packet *p, const struct ends *ends, uint8_t proto)
{
    p->len = 0;
    p->broadcast = false;
    p->ethertype = ends->v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
    p->sent = (struct sent){
        .ip = true,
        .v6 = ends->v6,
        .proto = proto,
        .class = CLASS_OTHER,
        .ttl = ends->ttl,
        .host = HOST_NONE,
    };
}

void packet_begin(struct packet *p, const struct ends *ends, uint8_t proto, uint16_t ip_id,
                  uint16_t frag)
{
    start(p, ends, proto);
    if (ends->v6) {
        put_ip6(p, ends, proto);
    } else {
        put_ip4(p, ends, proto, ip_id, frag);
    }
    p->l4 = p->len;
}

void packet_begin_extended(struct packet *p, const struct ends *ends, uint8_t extension,
                           const uint8_t body[6], uint8_t proto)
{
    start(p, ends, proto);
    put_ip6(p, ends, extension);
    packet_put8(p, proto);
    packet_put8(p, 0); // length beyond the first 8 bytes
    packet_put(p, body, 6);
    p->l4 = p->len;
}

void packet_end(struct packet *p, const struct ends *ends, size_t csum_offset)
{
    size_t l4_len = p->len - p->l4;

    if (ends->v6) {
        set16(p->data + 4, (uint16_t)(p->len - IPV6_HEADER));
    } else {
        set16(p->data + 2, (uint16_t)p->len);
        set16(p->data + 10, checksum(p->data, p->l4, 0));
    }
    if (csum_offset != CSUM_NONE) {
        // ICMP for IPv4 alone has no pseudo-header.
        bool pseudo = p->sent.proto != PROTO_ICMP;
        uint32_t sum = pseudo ? pseudo_sum(ends, p->sent.proto, l4_len) : 0;
        uint16_t csum = checksum(p->data + p->l4, l4_len, sum);
        set16(p->data + p->l4 + csum_offset,
              p->sent.proto == PROTO_UDP && csum == 0 ? 0xffff : csum);
    }
}

static void put_options(struct packet *p, const struct tcp_fields *tcp)
{
    static const uint8_t mss[] = {2, 4, 0x05, 0xb4};
    static const uint8_t linux_head[] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10};
    static const uint8_t linux_tail[] = {0, 0, 0, 0, 1, 3, 3, 7};
    static const uint8_t windows[] = {2, 4, 0x05, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2};
    static const uint8_t hosting[] = {2, 4, 0x05, 0xb4, 1, 3, 3, 6, 4, 2, 0, 0};

    switch (tcp->options) {
    case OPTIONS_NONE:
        break;
    case OPTIONS_MSS:
        packet_put(p, mss, sizeof(mss));
        break;
    case OPTIONS_LINUX:
        packet_put(p, linux_head, sizeof(linux_head));
        packet_put32(p, tcp->timestamp);
        packet_put(p, linux_tail, sizeof(linux_tail));
        break;
    case OPTIONS_WINDOWS:
        packet_put(p, windows, sizeof(windows));
        break;
    case OPTIONS_HOSTING:
        packet_put(p, hosting, sizeof(hosting));
        break;
    }
}

static enum traffic_class tcp_class(uint8_t flags)
{
    if ((flags & TCP_RST) != 0 || (flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
        return CLASS_BACKSCATTER;
    }
    return (flags & TCP_SYN) != 0 ? CLASS_SCAN : CLASS_OTHER;
}

static void set_port(struct packet *p, uint16_t port)
{
    p->sent.port = port;
    p->sent.has_port = true;
}

void packet_tcp(struct packet *p, const struct ends *ends, const struct tcp_fields *tcp)
{
    packet_begin(p, ends, PROTO_TCP, tcp->ip_id, tcp->dont_fragment ? IP_DF : 0);
    packet_put16(p, tcp->src_port);
    packet_put16(p, tcp->dst_port);
    packet_put32(p, tcp->seq);
    packet_put32(p, tcp->ack);
    packet_put8(p, 0); // header length
    packet_put8(p, tcp->flags);
    packet_put16(p, tcp->window);
    packet_put32(p, 0); // checksum, urgent pointer
    put_options(p, tcp);
    p->data[p->l4 + 12] = (uint8_t)((p->len - p->l4) / 4 << 4);
    packet_end(p, ends, 16);
    set_port(p, tcp->dst_port);
    p->sent.class = tcp_class(tcp->flags);
}

void packet_udp(struct packet *p, const struct ends *ends, uint16_t src_port, uint16_t dst_port,
                uint16_t ip_id, const void *payload, size_t len)
{
    packet_begin(p, ends, PROTO_UDP, ip_id, 0);
    packet_put16(p, src_port);
    packet_put16(p, dst_port);
    packet_put16(p, (uint16_t)(8 + len));
    packet_put16(p, 0);
    packet_put(p, payload, len);
    packet_end(p, ends, 6);
    set_port(p, dst_port);
    p->sent.class = src_port == 53 ? CLASS_BACKSCATTER : CLASS_SCAN;
}

static enum traffic_class icmp_class(bool v6, uint8_t type)
{
    if (v6) {
        return type == 128 ? CLASS_SCAN : CLASS_BACKSCATTER;
    }
    return type == 8 || type == 13 ? CLASS_SCAN : CLASS_BACKSCATTER;
}

void packet_icmp(struct packet *p, const struct ends *ends, uint8_t type, uint8_t code,
                 uint32_t rest, const void *payload, size_t len)
{
    packet_begin(p, ends, ends->v6 ? PROTO_ICMPV6 : PROTO_ICMP, (uint16_t)rest, 0);
    packet_put8(p, type);
    packet_put8(p, code);
    packet_put16(p, 0);
    packet_put32(p, rest);
    packet_put(p, payload, len);
    packet_end(p, ends, 2);
    p->sent.class = icmp_class(ends->v6, type);
}

void packet_other(struct packet *p, const struct ends *ends, uint8_t proto, const void *payload,
                  size_t len)
{
    packet_begin(p, ends, proto, 0, 0);
    packet_put(p, payload, len);
    packet_end(p, ends, CSUM_NONE);
}

// The whole transport part, with its checksum over all of it.
static void fragmented_body(const struct ends *ends, uint8_t proto, uint16_t src_port,
                            uint16_t dst_port, uint8_t ret_body[FRAGMENTED_LEN])
{
    struct packet whole;
    uint8_t payload[FRAGMENTED_LEN - 8] = {0};

    if (proto == PROTO_UDP) {
        packet_udp(&whole, ends, src_port, dst_port, 0, payload, sizeof(payload));
    } else {
        // A SYN with data: a connection request that hides behind the fragment boundary.
        packet_begin(&whole, ends, PROTO_TCP, 0, 0);
        packet_put16(&whole, src_port);
        packet_put16(&whole, dst_port);
        packet_put32(&whole, 0x1000);
        packet_put32(&whole, 0);
        packet_put16(&whole, 0x5000 | TCP_SYN);
        packet_put16(&whole, 1024);
        packet_put32(&whole, 0);
        packet_put(&whole, payload, FRAGMENTED_LEN - 20);
        packet_end(&whole, ends, 16);
    }
    memcpy(ret_body, whole.data + whole.l4, FRAGMENTED_LEN);
}

void packet_fragment(struct packet *p, const struct ends *ends, uint8_t proto, uint16_t src_port,
                     uint16_t dst_port, uint16_t id, int part)
{
    uint8_t body[FRAGMENTED_LEN];
    uint16_t offset = part == 0 ? 0 : FRAGMENT_SPLIT / 8;

    fragmented_body(ends, proto, src_port, dst_port, body);
    if (ends->v6) {
        uint16_t field = (uint16_t)(offset << 3 | (part == 0 ? 1 : 0));
        const uint8_t header[6] = {(uint8_t)(field >> 8), (uint8_t)field, 0, 0,
                                   (uint8_t)(id >> 8),    (uint8_t)id};
        packet_begin_extended(p, ends, IPV6_FRAGMENT, header, proto);
    } else {
        packet_begin(p, ends, proto, id, (uint16_t)(offset | (part == 0 ? IP_MF : 0)));
    }
    if (part == 0) {
        packet_put(p, body, FRAGMENT_SPLIT);
    } else {
        packet_put(p, body + FRAGMENT_SPLIT, FRAGMENTED_LEN - FRAGMENT_SPLIT);
    }
    packet_end(p, ends, CSUM_NONE);
    p->sent.fragment = true;
    p->sent.class = part == 0 ? CLASS_SCAN : CLASS_FRAGMENT;
    if (part == 0) {
        set_port(p, dst_port);
    }
}

void packet_arp(struct packet *p, uint32_t sender, uint32_t target)
{
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 1, 0x00, 0x00, 0x5e, 0x00, 0x53, 0x01};

    p->len = 0;
    p->ethertype = ETHERTYPE_ARP;
    p->broadcast = true;
    p->sent = (struct sent){.ip = false, .host = HOST_NONE};
    packet_put(p, head, sizeof(head));
    packet_put32(p, sender);
    packet_put32(p, 0);
    packet_put16(p, 0);
    packet_put32(p, target);
}
