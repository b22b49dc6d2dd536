// Live capture on a pair of virtual interfaces in a network namespace of our own. Skipped where
// namespaces may not be made.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

#include "sensor/capture.h"
#include "sensor/decode.h"

#define TAG 4

struct pair {
    int sender; // packet socket on the far end
    struct capture *capture;
    const struct decode_link *link;
    uint32_t frames, ip, tagged;
    uint32_t wirelen;
};

static int ip_command(const char *arguments)
{
    char command[256];
    snprintf(command, sizeof command, "ip %s >/dev/null 2>&1", arguments);
    return system(command) == 0 ? 0 : -1; // NOLINT(cert-env33-c): words of this file only
}

// The kernel's own IPv6 would send router solicitations in between.
static void no_ipv6(void)
{
    _cleanup_(fclosep) FILE *f = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "we");
    if (f)
        fputs("1", f);
}

// A namespace with near and far, both up. False: not allowed here.
static bool namespace_enter(void)
{
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    no_ipv6();
    return ip_command("link add near type veth peer name far") == 0 &&
           ip_command("link set near up arp off") == 0 &&
           ip_command("link set far up arp off") == 0;
}

static int packet_socket(const char *interface)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    const struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                        .sll_protocol = htons(0x0003),
                                        .sll_ifindex = (int)if_nametoindex(interface)};
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int set_up(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    *state = pair;
    pair->sender = -1;
    if (namespace_enter())
        pair->sender = packet_socket("far");
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;
    capture_free(pair->capture);
    closep(&pair->sender);
    free(pair); // the namespace goes with the process
    return 0;
}

static void open_near(struct pair *pair, const char *interface, uint32_t ring_bytes,
                      const struct capture_exclude *excludes, size_t n)
{
    struct errmsg e = {""};
    const struct capture_live_config config = {.interface = interface,
                                               .snaplen = 128,
                                               .ring_bytes = ring_bytes,
                                               .excludes = excludes,
                                               .n_excludes = n};
    if (pair->sender < 0)
        skip();
    capture_free(pair->capture);
    pair->capture = NULL;
    if (capture_open_live(&config, &pair->capture, &e) != 0)
        fail_msg("%s", e.text);
    pair->link = decode_link_find(capture_link_type(pair->capture));
    pair->frames = pair->ip = pair->tagged = pair->wirelen = 0;
}

// A UDP packet from 192.0.2.last with that source port, behind 0 to 2 tags.
static void send_packet(int fd, unsigned tags, uint8_t last, uint16_t sport, size_t payload)
{
    uint8_t frame[1514] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
    uint8_t *p = frame + 12;
    for (unsigned i = 0; i < tags; i++, p += TAG) {
        p[0] = i + 1 < tags ? 0x88 : 0x81;
        p[1] = i + 1 < tags ? 0xa8 : 0x00;
        p[3] = 7;
    }
    const uint8_t head[] = {8,
                            0,
                            0x45,
                            0,
                            (uint8_t)((28 + payload) >> 8),
                            (uint8_t)(28 + payload),
                            0,
                            0,
                            0,
                            0,
                            64,
                            17,
                            0,
                            0,
                            192,
                            0,
                            2,
                            last,
                            198,
                            51,
                            100,
                            1,
                            (uint8_t)(sport >> 8),
                            (uint8_t)sport,
                            0,
                            53};
    memcpy(p, head, sizeof head);
    size_t size = (size_t)(p - frame) + 2 + 28 + payload;
    while (send(fd, frame, size, 0) < 0)
        assert_true(errno == ENOBUFS || errno == EAGAIN);
}

static int on_frame(void *ctx, const struct frame *frame)
{
    struct pair *pair = ctx;
    struct packet packet;
    pair->frames++;
    pair->wirelen = frame->wirelen;
    if (decode_frame(pair->link, frame, &packet) == DECODE_IP)
        pair->ip++;
    if (frame->data[12] == 0x81 || frame->data[12] == 0x88)
        pair->tagged++;
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// Reads until that many frames came, or nothing more came for two seconds.
static void read_frames(struct pair *pair, uint32_t frames)
{
    struct errmsg e = {""};
    int64_t end = now_ms() + 2000;
    while (pair->frames < frames && now_ms() < end) {
        uint32_t before = pair->frames;
        if (capture_read(pair->capture, 0, 100, on_frame, pair, &e) != 0)
            fail_msg("%s", e.text);
        if (pair->frames != before)
            end = now_ms() + 2000;
    }
}

// Nothing but what was sent: a last packet of its own kind comes after it.
static void test_inbound_only_and_tags(void **state)
{
    struct pair *pair = *state;
    open_near(pair, "near", CAPTURE_RING_DEFAULT, NULL, 0);
    int near = packet_socket("near");
    for (int i = 0; i < 100; i++) {
        send_packet(near, 0, 1, 1, 100); // outbound, not ours
        for (unsigned tags = 0; tags <= 2; tags++)
            send_packet(pair->sender, tags, 1, 1, 1000);
    }
    close(near);
    read_frames(pair, 300);
    assert_int_equal(pair->frames, 300);
    assert_int_equal(pair->ip, 300);
    assert_int_equal(pair->tagged, 200);
    assert_int_equal(pair->wirelen, 14 + 2 * TAG + 1028);
    struct capture_stats stats;
    assert_int_equal(capture_stats(pair->capture, &stats), 0);
    assert_int_equal(stats.kernel_dropped, 0);
}

static void test_excludes_see_through_tags(void **state)
{
    struct pair *pair = *state;
    struct capture_exclude excludes[2];
    assert_int_equal(capture_exclude_parse("192.0.2.1:udp/123", &excludes[0], NULL), 0);
    assert_int_equal(capture_exclude_parse("192.0.2.128/25", &excludes[1], NULL), 0);
    open_near(pair, "near", CAPTURE_RING_DEFAULT, excludes, 2);
    for (int i = 0; i < 50; i++) {
        for (unsigned tags = 0; tags <= 2; tags++) {
            send_packet(pair->sender, tags, 1, 123, 0);  // excluded
            send_packet(pair->sender, tags, 200, 99, 0); // excluded
            send_packet(pair->sender, tags, 1, 124, 0);
        }
    }
    read_frames(pair, 150);
    send_packet(pair->sender, 0, 2, 1, 0); // the last word: nothing else is on its way
    read_frames(pair, 151);
    assert_int_equal(pair->frames, 151);
    assert_int_equal(pair->ip, 151);
}

static void test_captured_and_dropped_are_what_was_sent(void **state)
{
    struct pair *pair = *state;
    const uint32_t sent = 200000;
    open_near(pair, "near", CAPTURE_RING_MIN, NULL, 0);
    for (uint32_t i = 0; i < sent; i++)
        send_packet(pair->sender, 0, 1, (uint16_t)i, 0);
    read_frames(pair, sent);
    struct capture_stats stats;
    assert_int_equal(capture_stats(pair->capture, &stats), 0);
    assert_true(stats.kernel_dropped > 0); // a ring of 1 MiB does not hold them
    assert_int_equal(pair->frames + stats.kernel_dropped, sent);
}

static void test_100000_packets(void **state)
{
    struct pair *pair = *state;
    open_near(pair, "near", CAPTURE_RING_DEFAULT, NULL, 0);
    for (uint32_t i = 0; i < 100000; i++) {
        send_packet(pair->sender, 0, 1, (uint16_t)i, 0);
        if (i % 4096 == 4095)
            read_frames(pair, i + 1);
    }
    read_frames(pair, 100000);
    struct capture_stats stats;
    assert_int_equal(capture_stats(pair->capture, &stats), 0);
    assert_int_equal(stats.kernel_dropped, 0);
    assert_int_equal(pair->frames, 100000);
    assert_int_equal(pair->ip, 100000);
}

static void test_break_ends_a_read(void **state)
{
    struct pair *pair = *state;
    open_near(pair, "near", CAPTURE_RING_DEFAULT, NULL, 0);
    capture_break(pair->capture);
    assert_int_equal(capture_read(pair->capture, 0, 60000, on_frame, pair, NULL), CAPTURE_BROKEN);
    assert_int_equal(capture_read(pair->capture, 0, 1, on_frame, pair, NULL), 0);
}

static void test_any(void **state)
{
    struct pair *pair = *state;
    open_near(pair, "any", CAPTURE_RING_DEFAULT, NULL, 0);
    for (int i = 0; i < 50; i++)
        send_packet(pair->sender, 0, 1, 1, 0);
    read_frames(pair, 50);
    assert_int_equal(pair->ip, 50);
}

static void test_interface_down_and_up(void **state)
{
    struct pair *pair = *state;
    struct errmsg e = {""};
    open_near(pair, "near", CAPTURE_RING_DEFAULT, NULL, 0);
    send_packet(pair->sender, 0, 1, 1, 0);
    read_frames(pair, 1);
    assert_int_equal(ip_command("link set near down"), 0);
    for (int i = 0; i < 5; i++) {
        if (capture_read(pair->capture, 0, 20, on_frame, pair, &e) != 0)
            fail_msg("%s", e.text);
    }
    assert_int_equal(ip_command("link set near up"), 0);
    // What is sent before the other end has its carrier again, which the kernel sees to when it has
    // the time, is lost.
    uint64_t sent = 1;
    for (int64_t end = now_ms() + 20000; pair->frames < 2 && now_ms() < end; sent++) {
        send_packet(pair->sender, 0, 1, 1, 0);
        assert_int_equal(capture_read(pair->capture, 0, 100, on_frame, pair, NULL), 0);
    }
    assert_true(pair->frames >= 2 && pair->frames <= sent);
}

static void test_interface_down_is_not_a_busy_loop(void **state)
{
    struct pair *pair = *state;
    open_near(pair, "near", CAPTURE_RING_DEFAULT, NULL, 0);
    assert_int_equal(ip_command("link set near down"), 0);
    (void)capture_read(pair->capture, 0, 20, on_frame, pair, NULL);
    int64_t start = now_ms();
    for (int i = 0; i < 5; i++)
        assert_int_equal(capture_read(pair->capture, 0, 50, on_frame, pair, NULL), 0);
    assert_true(now_ms() - start >= 200);
    assert_int_equal(ip_command("link set near up"), 0);
}

static void test_interface_vanishes(void **state)
{
    struct pair *pair = *state;
    struct errmsg e = {""};
    open_near(pair, "near", CAPTURE_RING_DEFAULT, NULL, 0);
    assert_int_equal(ip_command("link del near"), 0);
    int r = 0;
    for (int64_t end = now_ms() + 5000; r == 0 && now_ms() < end;)
        r = capture_read(pair->capture, 0, 100, on_frame, pair, &e);
    assert_int_equal(r, -ENODEV);
    assert_non_null(strstr(e.text, "near"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inbound_only_and_tags),
        cmocka_unit_test(test_excludes_see_through_tags),
        cmocka_unit_test(test_captured_and_dropped_are_what_was_sent),
        cmocka_unit_test(test_100000_packets),
        cmocka_unit_test(test_break_ends_a_read),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_interface_down_and_up),
        cmocka_unit_test(test_interface_down_is_not_a_busy_loop),
        cmocka_unit_test(test_interface_vanishes), // last: near is gone afterwards
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
