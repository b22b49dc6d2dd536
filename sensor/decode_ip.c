// IP and the first bytes above it. Only the outermost header counts: what an ICMP error quotes or a
// tunnel carries is not looked at.
#include <netinet/in.h>
#include <string.h>

#include "common/util.h"
#include "sensor/decode_internal.h"

#define IPV4_HEADER 20u
#define IPV6_HEADER 40u
#define TCP_HEADER  20u
#define UDP_HEADER  8u

// RFC 9293: ports 0-3, sequence 4-7, data offset 12, flags 13, window 14-15. As many of them are
// taken as were captured.
static void decode_tcp(struct cursor c, struct packet *ret)
{
    struct flow_key *key = &ret->key;
    const uint8_t *p = c.p;

    if (c.left < TCP_HEADER) {
        key->marks |= MARK_CUT;
        if (c.left < 4)
            return;
    }
    key->port = be16(p + 2);
    key->has_port = 1;
    ret->src_port = be16(p);
    ret->has |= HAS_PORT | HAS_SRC_PORT;
    if (key->version == 4 && c.left >= 8) {
        uint32_t seq = be32(p + 4);
        uint32_t dst = be32(key->dst);
        if (seq == dst)
            key->marks |= MARK_MIRAI;
        if (ret->ip_id == ((dst ^ key->port ^ seq) & 0xffff))
            key->marks |= MARK_MASSCAN;
    }
    if (c.left >= 14)
        key->tcp_flags = p[13];
    if (c.left >= 16) {
        ret->tcp_window = be16(p + 14);
        ret->has |= HAS_TCP_WINDOW;
    }
    if (c.left < TCP_HEADER)
        return;
    size_t header = (size_t)(p[12] >> 4) * 4;
    if (header < TCP_HEADER || header > c.left)
        key->marks |= MARK_CUT;
    if (header > TCP_HEADER) {
        ret->options = p + TCP_HEADER;
        ret->options_len = (uint8_t)((header < c.left ? header : c.left) - TCP_HEADER);
    }
}

static void decode_udp(struct cursor c, struct packet *ret)
{
    if (c.left < UDP_HEADER) {
        ret->key.marks |= MARK_CUT;
        if (c.left < 4)
            return;
    }
    ret->key.port = be16(c.p + 2);
    ret->key.has_port = 1;
    ret->src_port = be16(c.p);
    ret->has |= HAS_PORT | HAS_SRC_PORT;
}

static void decode_icmp(struct cursor c, struct packet *ret)
{
    if (c.left < 2) {
        ret->key.marks |= MARK_CUT;
        return;
    }
    ret->key.port = be16(c.p); // type * 256 + code
    ret->key.has_port = 1;
    ret->has |= HAS_PORT;
}

// c behind the last IP header, limited to the IP length.
static void decode_upper(struct cursor c, uint8_t proto, struct packet *ret)
{
    ret->key.proto = proto;
    if (proto == IPPROTO_TCP)
        decode_tcp(c, ret);
    else if (proto == IPPROTO_UDP)
        decode_udp(c, ret);
    else if (proto == (ret->key.version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
        decode_icmp(c, ret);
}

static bool ipv4_is_local(uint32_t address)
{
    return address >> 28 == 0xe || address >> 16 == 0xa9fe || address == 0xffffffff;
}

static bool ipv6_is_local(const uint8_t *address)
{
    return address[0] == 0xff || (address[0] == 0xfe && (address[1] & 0xc0) == 0x80);
}

// RFC 791. Total length 0: segmentation offload or BIG TCP, the packet is what the frame held.
enum decode_result decode_ipv4(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (c.left < IPV4_HEADER || p[0] >> 4 != 4)
        return DECODE_MALFORMED;
    size_t header = (size_t)(p[0] & 15) * 4;
    if (header < IPV4_HEADER || header > c.left)
        return DECODE_MALFORMED;

    memset(ret, 0, sizeof *ret);
    struct flow_key *key = &ret->key;
    key->version = 4;
    memcpy(key->src, p + 12, 4);
    memcpy(key->dst, p + 16, 4);
    key->ttl = p[8];
    if (ipv4_is_local(be32(p + 12)) || ipv4_is_local(be32(p + 16)))
        key->marks = MARK_LOCAL;
    ret->ip_id = be16(p + 4);
    ret->has = HAS_IP_ID;
    uint16_t total = be16(p + 2);
    ret->ip_len = total ? total : c.left + c.cut;
    cursor_limit(&c, ret->ip_len);
    if (!cursor_skip(&c, header))
        c.left = 0; // the total length is less than the header

    uint16_t fragment = be16(p + 6);
    if (fragment & 0x3fff)
        key->marks |= MARK_FRAGMENT;
    if (fragment & 0x1fff)
        key->proto = p[9];
    else
        decode_upper(c, p[9], ret);
    return DECODE_IP;
}

static bool is_extension(uint8_t next)
{
    return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
           next == IPPROTO_DSTOPTS;
}

// RFC 8200 section 4: hop-by-hop, routing, fragment and destination options are peeled. AH, ESP,
// mobility and the rest count as protocols of their own, as AH and ESP do in IPv4. A chain that is
// cut short ends in the number of the header that is not there, a later fragment in the protocol
// its fragment header names.
static void decode_extensions(struct cursor c, uint8_t next, struct packet *ret)
{
    while (is_extension(next)) {
        const uint8_t *p = c.p;
        size_t size = 8;
        if (next == IPPROTO_FRAGMENT)
            ret->key.marks |= MARK_FRAGMENT;
        else if (c.left >= 2)
            size += (size_t)p[1] * 8;
        if (!cursor_skip(&c, size)) {
            ret->key.marks |= MARK_CUT;
            ret->key.proto = next;
            return;
        }
        bool later = next == IPPROTO_FRAGMENT && (be16(p + 2) & 0xfff8);
        next = p[0];
        if (later) {
            ret->key.proto = next;
            return;
        }
    }
    decode_upper(c, next, ret);
}

// RFC 8200 section 3. Payload length 0: nothing follows, or a jumbogram (RFC 2675) or BIG TCP: the
// packet is what the frame held.
enum decode_result decode_ipv6(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (c.left < IPV6_HEADER || p[0] >> 4 != 6)
        return DECODE_MALFORMED;

    memset(ret, 0, sizeof *ret);
    struct flow_key *key = &ret->key;
    key->version = 6;
    memcpy(key->src, p + 8, 16);
    memcpy(key->dst, p + 24, 16);
    key->ttl = p[7];
    if (ipv6_is_local(p + 8) || ipv6_is_local(p + 24))
        key->marks = MARK_LOCAL;
    uint16_t payload = be16(p + 4);
    if (payload || p[6] == IPPROTO_NONE)
        ret->ip_len = IPV6_HEADER + payload;
    else
        ret->ip_len = c.left + c.cut;
    cursor_limit(&c, ret->ip_len);
    cursor_skip(&c, IPV6_HEADER);
    decode_extensions(c, p[6], ret);
    return DECODE_IP;
}

enum decode_result decode_ip(struct cursor c, struct packet *ret)
{
    if (c.left == 0)
        return DECODE_MALFORMED;
    return c.p[0] >> 4 == 6 ? decode_ipv6(c, ret) : decode_ipv4(c, ret);
}

// RFC 9293 section 3.2: EOL and NOP are one byte, every other kind has a length that covers kind
// and length.
void tcp_options_parse(const uint8_t *options, uint8_t n, struct tcp_options *ret)
{
    enum { EOL = 0, NOP = 1, MSS = 2, WSCALE = 3 };

    *ret = (struct tcp_options){.wscale = WSCALE_NONE};
    for (unsigned i = 0; i < n;) {
        uint8_t kind = options[i];
        unsigned size = kind <= NOP ? 1 : i + 1 < n ? options[i + 1] : 0;
        bool bad = kind > NOP && (size < 2 || size > n - i);
        if (ret->n == OPT_KINDS_MAX || bad) {
            ret->n = MIN(ret->n + 1, OPT_KINDS_MAX);
            ret->kinds[ret->n - 1] = OPT_KIND_MORE;
            return;
        }
        ret->kinds[ret->n++] = kind;
        if (kind == EOL)
            return;
        if (kind == MSS && size == 4)
            ret->mss = be16(options + i + 2);
        if (kind == WSCALE && size == 3)
            ret->wscale = options[i + 2];
        i += size;
    }
}
