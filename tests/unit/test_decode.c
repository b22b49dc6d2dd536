// Link layers and packets that captures rarely hold: each side of each decision, on frames made
// here.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pcap/dlt.h>

#include "common/util.h"
#include "sensor/decode.h"

#define IPV4 0x45, 0, 0, 20, 0, 1, 0, 0, 64, 0, 0, 0, 1, 2, 3, 4, 10, 0, 0, 1
#define SIX  0, 0, 0, 0, 0, 0
#define MACS SIX, SIX

#define FRAME(link, becomes, ...)                                                                  \
    {                                                                                              \
        link, becomes, sizeof((uint8_t[]){__VA_ARGS__}), (const uint8_t[])                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const struct {
    int link_type;
    enum decode_result becomes;
    size_t size;
    const uint8_t *p;
} frames[] = {
    // PPPoE discovery codes are no session data
    FRAME(DLT_PPP_ETHER, DECODE_IP, 0x11, 0, 0, 1, 0, 22, 0, 0x21, IPV4),
    FRAME(DLT_PPP_ETHER, DECODE_NON_IP, 0x11, 9, 0, 1, 0, 22, 0, 0x21, IPV4),
    // SNAP: organisation 0 or bridge tunnel encapsulation
    FRAME(DLT_ATM_RFC1483, DECODE_IP, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_IP, 0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 0xaa, 0xaa, 3, 0, 0, 0x0c, 8, 0, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 0xaa, 0xaa, 3, 0, 1, 0, 8, 0, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 0xaa, 0xaa, 3, 1, 0, 0, 8, 0, IPV4),
    // 802.2: both SAPs and unnumbered information, or not IP
    FRAME(DLT_ATM_RFC1483, DECODE_IP, 6, 6, 3, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 6, 6, 4, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 6, 7, 3, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 0xaa, 0xaa, 4, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 0xaa, 0xab, 3, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_ATM_RFC1483, DECODE_NON_IP, 0x42, 0x42, 3),
    // cooked frames of devices that put something else into the protocol field
    FRAME(DLT_LINUX_SLL, DECODE_IP, 0, 0, 0, 1, SIX, 0, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_LINUX_SLL, DECODE_NON_IP, 0, 0, 824 >> 8, 824 & 0xff, SIX, 0, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_LINUX_SLL, DECODE_NON_IP, 0, 0, 801 >> 8, 801 & 0xff, SIX, 0, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_LINUX_SLL, DECODE_NON_IP, 0, 0, 803 >> 8, 803 & 0xff, SIX, 0, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_LINUX_SLL, DECODE_IP, 0, 0, 804 >> 8, 804 & 0xff, SIX, 0, 0, 0, 0, 8, 0, IPV4),
    FRAME(DLT_LINUX_SLL, DECODE_NON_IP, 0, 0, 770 >> 8, 770 & 0xff, SIX, 0, 0, 0, 0, 8, 0, IPV4),
    // Cisco HDLC inside PPP captures, unicast and broadcast
    FRAME(DLT_PPP, DECODE_IP, 0x0f, 0, 8, 0, IPV4),
    FRAME(DLT_PPP, DECODE_IP, 0x8f, 0, 8, 0, IPV4),
    FRAME(DLT_PPP_WITH_DIR, DECODE_IP, 1, 0xff, 3, 0, 0x21, IPV4),
    FRAME(DLT_PPP_WITH_DIR, DECODE_MALFORMED, 1),
    // frame relay: an address without an end, nothing behind it
    FRAME(DLT_FRELAY, DECODE_IP, 0x18, 0x41, 3, 0xcc, IPV4),
    FRAME(DLT_FRELAY, DECODE_MALFORMED, 0x18, 0x40),
    FRAME(DLT_FRELAY, DECODE_MALFORMED, 0x18),
    FRAME(DLT_FRELAY, DECODE_IP, 0x18, 0x40, 0x40, 0x41, 3, 0xcc, IPV4),
    FRAME(DLT_FRELAY, DECODE_NON_IP, 0x18, 0x40, 0x40, 0x40, 0x41, 3, 0xcc, IPV4),
    FRAME(DLT_FRELAY, DECODE_MALFORMED, 0x18, 0x41, 3),
    // nflog: its header, and attributes
    FRAME(DLT_NFLOG, DECODE_NON_IP, 2, 0, 0, 0),
    FRAME(DLT_NFLOG, DECODE_MALFORMED, 2, 0, 0),
    // 802.11 QoS data: one packet, or several in one frame
    FRAME(DLT_IEEE802_11, DECODE_IP, 0x88, 0, 0, 0, MACS, SIX, 0, 0, 0, 0, 6, 6, 3, IPV4),
    FRAME(DLT_IEEE802_11, DECODE_NON_IP, 0x88, 0, 0, 0, MACS, SIX, 0, 0, 0x80, 0, 6, 6, 3, IPV4),
    FRAME(DLT_IEEE802_11, DECODE_IP, 0x08, 0, 0, 0, MACS, SIX, 0, 0, 6, 6, 3, IPV4),
    // PKTAP: a link type inside, none that there is, itself
    FRAME(DLT_PKTAP, DECODE_IP, 12, 0, 0, 0, 1, 0, 0, 0, 101, 0, 0, 0, IPV4),
    FRAME(DLT_PKTAP, DECODE_NON_IP, 12, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0, 0, IPV4),
    FRAME(DLT_PKTAP, DECODE_NON_IP, 12, 0, 0, 0, 1, 0, 0, 0, 101, 0, 0, 0x80, IPV4),
    FRAME(DLT_PKTAP, DECODE_NON_IP, 12, 0, 0, 0, 1, 0, 0, 0, DLT_PKTAP & 0xff, DLT_PKTAP >> 8, 0, 0,
          IPV4),
};

static void test_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        const struct frame frame = {.caplen = (uint32_t)frames[i].size,
                                    .wirelen = (uint32_t)frames[i].size,
                                    .data = frames[i].p};
        const struct decode_link *link = decode_link_find(frames[i].link_type);
        struct packet packet;
        assert_non_null(link);
        enum decode_result got = decode_frame(link, &frame, &packet);
        if (got != frames[i].becomes)
            fail_msg("frame %zu: %d and not %d", i, (int)got, (int)frames[i].becomes);
        if (got == DECODE_IP)
            assert_memory_equal(packet.key.src, ((uint8_t[]){1, 2, 3, 4}), 4);
    }
}

// A frame of no bytes at all, on every link type there may be.
static void test_nothing(void **state)
{
    (void)state;
    unsigned links = 0;
    const struct frame frame = {.data = (const uint8_t *)""};
    for (int type = 0; type < 400; type++) {
        const struct decode_link *link = decode_link_find(type);
        struct packet packet;
        if (!link)
            continue;
        assert_int_equal(decode_frame(link, &frame, &packet), DECODE_MALFORMED);
        links++;
    }
    assert_true(links > 20);
}

#define HEADER4(length, proto)                                                                     \
    0x45, 0, 0, length, 0, 1, 0, 0, 64, proto, 0, 0, 1, 2, 3, 4, 10, 0, 0, 1
#define TCP(offset) 0, 99, 0, 23, 1, 1, 1, 1, 0, 0, 0, 0, (offset) << 4, 2, 4, 0, 0, 0, 0, 0
#define HEADER6(length, next)                                                                      \
    0x60, 0, 0, 0, 0, length, next, 64, 1, 2, 3, 4, SIX, SIX, 10, 0, 0, 1, SIX, SIX
#define PACKET(proto, port, cut, options, ...)                                                     \
    {                                                                                              \
        proto, port, cut, options, sizeof((uint8_t[]){__VA_ARGS__}), (const uint8_t[])             \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

// Packets of which a part was captured, or a part is there.
static const struct {
    uint8_t proto;
    int port; // -1: none
    bool cut;
    uint8_t options;
    size_t size;
    const uint8_t *p;
} packets[] = {
    PACKET(6, 23, false, 4, HEADER4(44, 6), TCP(6), 2, 4, 5, 0xb4),
    PACKET(6, 23, false, 4, HEADER4(45, 6), TCP(6), 2, 4, 5, 0xb4, 'x'),
    PACKET(6, 23, true, 4, HEADER4(80, 6), TCP(15), 2, 4, 5, 0xb4),
    PACKET(6, 23, true, 0, HEADER4(40, 6), TCP(4)),
    PACKET(6, 23, true, 0, HEADER4(40, 6), 0, 99, 0, 23),
    PACKET(6, -1, true, 0, HEADER4(40, 6), 0, 99, 0),
    PACKET(6, -1, true, 0, HEADER4(10, 6), TCP(5)), // shorter than its own header
    PACKET(17, 53, false, 0, HEADER4(28, 17), 0, 99, 0, 53, 0, 8, 0, 0),
    PACKET(17, 53, true, 0, HEADER4(28, 17), 0, 99, 0, 53, 0, 8),
    PACKET(17, -1, true, 0, HEADER4(28, 17), 0, 99, 0),
    PACKET(1, 0x0800, false, 0, HEADER4(28, 1), 8, 0),
    PACKET(1, -1, true, 0, HEADER4(28, 1), 8),
    PACKET(17, 53, false, 0, HEADER6(16, 0), 17, 0, SIX, 0, 99, 0, 53, 0, 8, 0, 0),
    PACKET(0, -1, true, 0, HEADER6(16, 0), 17, 0, 0, 0),
    PACKET(0, -1, true, 0, HEADER6(16, 0), 17),
};

static void test_cut_packets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
        const struct frame frame = {
            .caplen = (uint32_t)packets[i].size, .wirelen = 100, .data = packets[i].p};
        struct packet p;
        assert_int_equal(decode_frame(decode_link_find(DLT_RAW), &frame, &p), DECODE_IP);
        int port = p.key.has_port ? p.key.port : -1;
        if (p.key.proto != packets[i].proto || port != packets[i].port ||
            p.options_len != packets[i].options || !!(p.key.marks & MARK_CUT) != packets[i].cut)
            fail_msg("packet %zu: protocol %u, port %d, %u bytes of options, marks %x", i,
                     p.key.proto, port, p.options_len, p.key.marks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_cut_packets),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
