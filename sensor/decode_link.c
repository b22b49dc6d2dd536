// What is below IP: link layers, tags, labels.
#include <pcap/dlt.h>
#include <string.h>

#include "common/util.h"
#include "sensor/decode_internal.h"

// EtherTypes (IEEE 802 numbers, RFC 9542).
enum {
    ETH_IPV4 = 0x0800,
    ETH_IPV6 = 0x86dd,
    ETH_MPLS = 0x8847,
    ETH_MPLS_UPSTREAM = 0x8848,
    ETH_PPPOE_SESSION = 0x8864,
    ETH_LENGTH_MAX = 1500, // up to here it is the length of an 802.2 frame
};

// What a file may claim for a frame: a packet's length stays within an integer column.
#define WIRELEN_MAX ((uint32_t)INT32_MAX)

struct decode_link {
    int link_type;
    enum decode_result (*decode)(struct cursor c, struct packet *ret);
};

static enum decode_result decode_llc(struct cursor c, struct packet *ret);

static bool is_vlan(uint16_t type)
{
    switch (type) {
    case 0x8100: // 802.1Q
    case 0x88a8: // 802.1ad
    case 0x9100: // what vendors used before 802.1ad
    case 0x9200:
    case 0x9300:
        return true;
    default:
        return false;
    }
}

// RFC 3032: labels of 4 bytes up to the one with the bottom-of-stack bit; what follows has no type,
// the first nibble tells (RFC 4928).
static enum decode_result decode_mpls(struct cursor c, struct packet *ret)
{
    const uint8_t *label;
    do {
        label = c.p;
        if (!cursor_skip(&c, 4))
            return DECODE_MALFORMED;
    } while (!(label[2] & 1));
    if (c.left == 0)
        return DECODE_MALFORMED;
    uint8_t version = c.p[0] >> 4;
    return version == 4 || version == 6 ? decode_ip(c, ret) : DECODE_NON_IP;
}

// RFC 1661: a protocol number of two bytes, or of one when that is odd.
static enum decode_result decode_ppp_protocol(struct cursor c, struct packet *ret)
{
    if (c.left == 0)
        return DECODE_MALFORMED;
    uint16_t protocol = c.p[0];
    if (!(protocol & 1)) {
        if (c.left < 2)
            return DECODE_MALFORMED;
        protocol = be16(c.p);
    }
    cursor_skip(&c, c.p[0] & 1 ? 1 : 2);
    switch (protocol) {
    case 0x0021:
        return decode_ipv4(c, ret);
    case 0x0057:
        return decode_ipv6(c, ret);
    case 0x0281:
    case 0x0283:
        return decode_mpls(c, ret);
    default:
        return DECODE_NON_IP;
    }
}

// RFC 2516 section 4.
static enum decode_result decode_pppoe(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 6))
        return DECODE_MALFORMED;
    return p[1] == 0 ? decode_ppp_protocol(c, ret) : DECODE_NON_IP;
}

static enum decode_result decode_ethertype(struct cursor c, uint16_t type, struct packet *ret)
{
    switch (type) {
    case ETH_IPV4:
        return decode_ipv4(c, ret);
    case ETH_IPV6:
        return decode_ipv6(c, ret);
    case ETH_MPLS:
    case ETH_MPLS_UPSTREAM:
        return decode_mpls(c, ret);
    case ETH_PPPOE_SESSION:
        return decode_pppoe(c, ret);
    default:
        return DECODE_NON_IP;
    }
}

// c behind an EtherType: any number of VLAN tags. False: cut within one.
static bool skip_tags(struct cursor *c, uint16_t *type)
{
    while (is_vlan(*type)) {
        const uint8_t *tag = c->p;
        if (!cursor_skip(c, 4))
            return false;
        *type = be16(tag + 2);
    }
    return true;
}

// c behind an EtherType: tags, then a protocol, or a length and 802.2.
static enum decode_result decode_tagged(struct cursor c, uint16_t type, struct packet *ret)
{
    if (!skip_tags(&c, &type))
        return DECODE_MALFORMED;
    if (type <= ETH_LENGTH_MAX)
        return decode_llc(c, ret);
    return decode_ethertype(c, type, ret);
}

// SNAP (RFC 1042): organisation 0 (or 0x0000f8, bridge tunnel encapsulation), then an EtherType. A
// length is none here, so this ends.
static enum decode_result decode_snap(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 5))
        return DECODE_MALFORMED;
    if (p[0] != 0 || p[1] != 0 || (p[2] != 0 && p[2] != 0xf8))
        return DECODE_NON_IP;
    uint16_t type = be16(p + 3);
    return skip_tags(&c, &type) ? decode_ethertype(c, type, ret) : DECODE_MALFORMED;
}

// 802.2: SAP 0xaa is SNAP, 0x06 is IP itself.
static enum decode_result decode_llc(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 3))
        return DECODE_MALFORMED;
    if (p[0] == 0xaa && p[1] == 0xaa && p[2] == 3)
        return decode_snap(c, ret);
    if (p[0] == 0x06 && p[1] == 0x06 && p[2] == 3)
        return decode_ip(c, ret);
    return DECODE_NON_IP;
}

static enum decode_result decode_ethernet(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 14))
        return DECODE_MALFORMED;
    uint16_t type = be16(p + 12);
    return type == ETH_IPV4 ? decode_ipv4(c, ret) : decode_tagged(c, type, ret);
}

// Where one tag of several was taken off the frame, Linux (from 6.10 on) writes the innermost
// protocol into the cooked header, though the other tags still stand before the packet: what is no
// packet of that protocol may be the rest of a tag.
static enum decode_result decode_cooked_type(struct cursor c, uint16_t type, struct packet *ret)
{
    for (;;) {
        enum decode_result result = decode_ethertype(c, type, ret);
        if (result != DECODE_MALFORMED || c.left < 4)
            return result;
        uint16_t inner = be16(c.p + 2);
        if (inner != type && !is_vlan(inner))
            return result;
        cursor_skip(&c, 4);
    }
}

// A protocol field of Linux's cooked headers: an EtherType, or 4 for 802.2 (ETH_P_802_2).
static enum decode_result decode_cooked(struct cursor c, uint16_t arphrd, uint16_t protocol,
                                        struct packet *ret)
{
    // netlink, 802.11 and frame relay devices put something else into the field
    if (arphrd == 824 || (arphrd >= 801 && arphrd <= 803) || arphrd == 770)
        return DECODE_NON_IP;
    if (protocol == 4)
        return decode_llc(c, ret);
    if (protocol <= ETH_LENGTH_MAX)
        return DECODE_NON_IP;
    if (!skip_tags(&c, &protocol))
        return DECODE_MALFORMED;
    return protocol <= ETH_LENGTH_MAX ? decode_llc(c, ret) : decode_cooked_type(c, protocol, ret);
}

static enum decode_result decode_sll(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 16))
        return DECODE_MALFORMED;
    return decode_cooked(c, be16(p + 2), be16(p + 14), ret);
}

static enum decode_result decode_sll2(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 20))
        return DECODE_MALFORMED;
    return decode_cooked(c, be16(p + 8), be16(p), ret);
}

// BSD loopback: an address family, in the byte order of the machine that captured (NULL) or in
// network order (LOOP). AF_INET is 2 everywhere, AF_INET6 24, 28, 30 or, on Linux, 10.
static enum decode_result decode_null(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 4))
        return DECODE_MALFORMED;
    uint32_t family = be32(p);
    if (family > 0xffff)
        family = __builtin_bswap32(family);
    switch (family) {
    case 2:
        return decode_ipv4(c, ret);
    case 10:
    case 24:
    case 28:
    case 30:
        return decode_ipv6(c, ret);
    default:
        return DECODE_NON_IP;
    }
}

static enum decode_result decode_chdlc(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 4))
        return DECODE_MALFORMED;
    return decode_tagged(c, be16(p + 2), ret);
}

// RFC 1662 framing (ff 03), or a direction byte in place of ff, or Cisco HDLC, or none.
static enum decode_result decode_ppp(struct cursor c, struct packet *ret)
{
    if (c.left < 2)
        return DECODE_MALFORMED;
    if (c.p[0] == 0x0f || c.p[0] == 0x8f)
        return decode_chdlc(c, ret);
    if ((c.p[0] == 0xff || c.p[0] <= 1) && c.p[1] == 0x03)
        cursor_skip(&c, 2);
    return decode_ppp_protocol(c, ret);
}

static enum decode_result decode_ppp_with_direction(struct cursor c, struct packet *ret)
{
    return cursor_skip(&c, 1) ? decode_ppp(c, ret) : DECODE_MALFORMED;
}

// RFC 2427: address of 2 to 4 bytes, control 3, an optional pad, NLPID. Cisco: address, EtherType.
static enum decode_result decode_frame_relay(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    size_t address = 1;
    while (address < 4 && address < c.left && !(p[address - 1] & 1))
        address++;
    if (!cursor_skip(&c, address) || c.left < 2)
        return DECODE_MALFORMED;
    p = c.p;
    if (p[0] != 3) {
        cursor_skip(&c, 2);
        return decode_ethertype(c, be16(p), ret);
    }
    cursor_skip(&c, p[1] == 0 && c.left > 2 ? 3 : 2);
    switch (c.p[-1]) {
    case 0xcc:
        return decode_ipv4(c, ret);
    case 0x8e:
        return decode_ipv6(c, ret);
    case 0x80:
        return decode_snap(c, ret);
    default:
        return DECODE_NON_IP;
    }
}

// libpcap's LINKTYPE_NFLOG: family, version, resource id, then attributes of length and type in
// host order, padded to 4 bytes. Attribute 9 is the packet.
static enum decode_result decode_nflog(struct cursor c, struct packet *ret)
{
    enum { FAMILY_IPV4 = 2, FAMILY_IPV6 = 10, ATTRIBUTE_PAYLOAD = 9 };
    uint8_t family = c.left ? c.p[0] : 0;
    if (!cursor_skip(&c, 4))
        return DECODE_MALFORMED;
    while (c.left >= 4) {
        uint16_t size, type;
        memcpy(&size, c.p, 2);
        memcpy(&type, c.p + 2, 2);
        if (size < 4)
            return DECODE_MALFORMED;
        if (type == ATTRIBUTE_PAYLOAD) {
            cursor_limit(&c, size);
            cursor_skip(&c, 4);
            return family == FAMILY_IPV4   ? decode_ipv4(c, ret)
                   : family == FAMILY_IPV6 ? decode_ipv6(c, ret)
                                           : DECODE_NON_IP;
        }
        if (!cursor_skip(&c, ((size_t)size + 3) & ~(size_t)3))
            return DECODE_MALFORMED;
    }
    return DECODE_NON_IP;
}

// IEEE 802.11 data frames that are not encrypted carry 802.2.
static enum decode_result decode_80211(struct cursor c, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (c.left < 2)
        return DECODE_MALFORMED;
    bool data = (p[0] & 0x0c) == 0x08, qos = p[0] & 0x80, null = p[0] & 0x40;
    bool to_and_from_ds = (p[1] & 3) == 3, encrypted = p[1] & 0x40, order = p[1] & 0x80;
    if (!data || null || encrypted)
        return DECODE_NON_IP;
    size_t header = 24 + (to_and_from_ds ? 6 : 0);
    size_t control = header; // of QoS, when there is one
    if (qos)
        header += order ? 6 : 2;
    if (!cursor_skip(&c, header))
        return DECODE_MALFORMED;
    bool aggregate = qos && p[control] & 0x80;
    return aggregate ? DECODE_NON_IP : decode_llc(c, ret);
}

static enum decode_result decode_radiotap(struct cursor c, struct packet *ret)
{
    if (c.left < 4 || !cursor_skip(&c, (size_t)(c.p[2] | c.p[3] << 8)))
        return DECODE_MALFORMED;
    return decode_80211(c, ret);
}

// Broadcom and Marvell switch tags: before the frame, or before its EtherType.
static enum decode_result decode_brcm_prepend(struct cursor c, struct packet *ret)
{
    return cursor_skip(&c, 4) ? decode_ethernet(c, ret) : DECODE_MALFORMED;
}

static enum decode_result decode_dsa(struct cursor c, size_t tag, struct packet *ret)
{
    const uint8_t *p = c.p;
    if (!cursor_skip(&c, 12 + tag + 2))
        return DECODE_MALFORMED;
    return decode_tagged(c, be16(p + 12 + tag), ret);
}

static enum decode_result decode_dsa4(struct cursor c, struct packet *ret)
{
    return decode_dsa(c, 4, ret);
}

static enum decode_result decode_edsa(struct cursor c, struct packet *ret)
{
    return decode_dsa(c, 8, ret);
}

// Apple's PKTAP: header length, record type and link type in little endian, then the frame.
static enum decode_result decode_pktap(struct cursor c, struct packet *ret)
{
    if (c.left < 12)
        return DECODE_MALFORMED;
    uint32_t header = __builtin_bswap32(be32(c.p));
    uint32_t inner = __builtin_bswap32(be32(c.p + 8));
    if (header < 12 || !cursor_skip(&c, header))
        return DECODE_MALFORMED;
    const struct decode_link *link = inner <= INT32_MAX ? decode_link_find((int)inner) : NULL;
    if (!link || link->decode == decode_pktap)
        return DECODE_NON_IP;
    return link->decode(c, ret);
}

static const struct decode_link links[] = {
    {DLT_EN10MB, decode_ethernet},
    {DLT_RAW, decode_ip},
    {14, decode_ip},  // DLT_RAW on OpenBSD
    {101, decode_ip}, // LINKTYPE_RAW
    {DLT_IPV4, decode_ipv4},
    {DLT_IPV6, decode_ipv6},
    {DLT_NULL, decode_null},
    {DLT_LOOP, decode_null},
    {DLT_LINUX_SLL, decode_sll},
    {DLT_LINUX_SLL2, decode_sll2},
    {DLT_PPP, decode_ppp},
    {DLT_PPP_SERIAL, decode_ppp},
    {DLT_PPP_PPPD, decode_ppp},
    {DLT_PPP_WITH_DIR, decode_ppp_with_direction},
    {DLT_PPP_ETHER, decode_pppoe},
    {DLT_C_HDLC, decode_chdlc},
    {DLT_FRELAY, decode_frame_relay},
    {DLT_ATM_RFC1483, decode_llc},
    {DLT_NFLOG, decode_nflog},
    {DLT_IEEE802_11, decode_80211},
    {DLT_IEEE802_11_RADIO, decode_radiotap},
    {DLT_DSA_TAG_BRCM_PREPEND, decode_brcm_prepend},
    {DLT_DSA_TAG_DSA, decode_dsa4},
    {DLT_DSA_TAG_EDSA, decode_edsa},
    {DLT_PKTAP, decode_pktap},
};

const struct decode_link *decode_link_find(int link_type)
{
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        if (links[i].link_type == link_type)
            return &links[i];
    }
    return NULL;
}

enum decode_result decode_frame(const struct decode_link *link, const struct frame *frame,
                                struct packet *ret)
{
    uint32_t wirelen = MIN(frame->wirelen, WIRELEN_MAX);
    struct cursor c = {
        .p = frame->data,
        .left = frame->caplen,
        .cut = wirelen > frame->caplen ? wirelen - frame->caplen : 0,
    };
    return link->decode(c, ret);
}
