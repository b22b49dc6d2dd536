// Building one IP packet, with valid lengths and checksums, and saying what it is for the truth.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sensors.h"

#define PACKET_MAX 128 // every frame fits a snaplen of 128 completely; see frame.h

enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
};

enum traffic_class {
    CLASS_LOCAL,
    CLASS_FRAGMENT, // non-first
    CLASS_BACKSCATTER,
    CLASS_SCAN,
    CLASS_OTHER,
    CLASS_COUNT,
};

enum tool {
    TOOL_NONE, // a system's own network stack, or not known
    TOOL_MIRAI,
    TOOL_MASSCAN,
    TOOL_ZMAP,
    TOOL_WINDOW_5656,
    TOOL_COUNT,
};

#define HOST_NONE    UINT16_MAX
#define HOST_CONTROL (UINT16_MAX - 1)
#define HOST_SURGE   (UINT16_MAX - 2)

// What was sent, as the sender knows it. The truth is counted from this.
struct sent {
    bool ip; // false: a frame that carries no IP
    bool v6;
    uint8_t proto; // the final one, behind extension headers
    uint16_t port; // destination port; 0 where has_port is false
    bool has_port;
    bool fragment; // first or later
    enum traffic_class class;
    enum tool tool;
    uint8_t ttl;
    uint16_t host; // index of the hosting company's source, or one of HOST_*
};

struct packet {
    uint8_t data[PACKET_MAX];
    size_t len;
    uint16_t ethertype;
    bool broadcast; // link-layer destination
    size_t l4;      // where the transport header begins
    struct sent sent;
};

// Addresses in host order. ttl is the hop limit for IPv6.
struct ends {
    bool v6;
    uint32_t src, dst;
    uint64_t src6[2], dst6[2]; // high, low
    uint8_t ttl;
};

enum tcp_options {
    OPTIONS_NONE,
    OPTIONS_MSS,     // mss
    OPTIONS_LINUX,   // mss, sackOK, timestamps, nop, wscale
    OPTIONS_WINDOWS, // mss, nop, wscale, nop, nop, sackOK
    OPTIONS_HOSTING, // mss, nop, wscale, sackOK, eol
};

struct tcp_fields {
    uint16_t src_port, dst_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    uint16_t ip_id;
    bool dont_fragment;
    enum tcp_options options;
    uint32_t timestamp; // for OPTIONS_LINUX
};

// Flags and offset (in units of 8 bytes) of an IPv4 header's fragment field.
#define IP_DF 0x4000u
#define IP_MF 0x2000u

void packet_put8(struct packet *p, uint8_t v);
void packet_put16(struct packet *p, uint16_t v);
void packet_put32(struct packet *p, uint32_t v);
void packet_put(struct packet *p, const void *data, size_t len);

// The pieces: a header without its lengths and checksums, ...
void packet_begin(struct packet *p, const struct ends *ends, uint8_t proto, uint16_t ip_id,
                  uint16_t frag);
// ... an IPv6 extension header of 8 bytes in front of next (proto stays the final protocol), ...
void packet_begin_extended(struct packet *p, const struct ends *ends, uint8_t extension,
                           const uint8_t body[6], uint8_t proto);
// ... and the end, which fills in lengths and the transport checksum at csum_offset behind l4
// (CSUM_NONE: no transport checksum).
#define CSUM_NONE SIZE_MAX
void packet_end(struct packet *p, const struct ends *ends, size_t csum_offset);

// Whole packets. They set the class a plain packet of the kind has.
void packet_tcp(struct packet *p, const struct ends *ends, const struct tcp_fields *tcp);
void packet_udp(struct packet *p, const struct ends *ends, uint16_t src_port, uint16_t dst_port,
                uint16_t ip_id, const void *payload, size_t len);
// ICMP or ICMPv6, by ends->v6; rest is the second header word.
void packet_icmp(struct packet *p, const struct ends *ends, uint8_t type, uint8_t code,
                 uint32_t rest, const void *payload, size_t len);
// A protocol without ports.
void packet_other(struct packet *p, const struct ends *ends, uint8_t proto, const void *payload,
                  size_t len);
// One of the two fragments (part 0 or 1) of a TCP or UDP packet of 40 bytes, IPv4 or IPv6.
void packet_fragment(struct packet *p, const struct ends *ends, uint8_t proto, uint16_t src_port,
                     uint16_t dst_port, uint16_t id, int part);
// A broadcast ARP question from the sensor's gateway.
void packet_arp(struct packet *p, uint32_t sender, uint32_t target);
