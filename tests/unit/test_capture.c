// What is excluded from live capture: the configuration's words, and the filter they become, run
// over packets with and without VLAN tags.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pcap/pcap.h>

#include "sensor/capture.h"
#include "sensor/decode.h"
#include "sensor/if_drops.h"

static void test_exclude_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *net;
        uint8_t prefix_len, proto;
        uint16_t port;
    } good[] = {
        {"192.0.2.0/24", "192.0.2.0", 24, 0, 0},
        {"192.0.2.7", "192.0.2.7", 32, 0, 0},
        {"192.0.2.255/25", "192.0.2.128", 25, 0, 0},
        {"0.0.0.0/0", "0.0.0.0", 0, 0, 0},
        {"192.0.2.0/24:tcp/22", "192.0.2.0", 24, 6, 22},
        {"192.0.2.7:udp/123", "192.0.2.7", 32, 17, 123},
        {"2001:db8::/32", "2001:db8::", 32, 0, 0},
        {"2001:db8::1", "2001:db8::1", 128, 0, 0},
        {"2001:db8:ffff::/33:udp/53", "2001:db8:8000::", 33, 17, 53},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128:tcp/65535",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, 6, 65535},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct capture_exclude x;
        struct errmsg e = {""};
        if (capture_exclude_parse(good[i].text, &x, &e) != 0)
            fail_msg("%s: %s", good[i].text, e.text);
        char net[INET6_ADDRSTRLEN];
        inet_ntop(x.net.version == 4 ? AF_INET : AF_INET6, x.net.b, net, sizeof net);
        assert_string_equal(net, good[i].net);
        assert_int_equal(x.prefix_len, good[i].prefix_len);
        assert_int_equal(x.proto, good[i].proto);
        assert_int_equal(x.port, good[i].port);
        assert_int_equal(x.has_port, good[i].proto != 0);
    }
}

static void test_exclude_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        ":",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/",
        "192.0.2/24",
        "2001:db8::/129",
        "192.0.2.0/24:tcp",
        "192.0.2.0/24:tcp/",
        "192.0.2.0/24:tcp/65536",
        "192.0.2.0/24:icmp/1",
        "192.0.2.0/24:22",
        "192.0.2.0/24 or 1=1",
        "192.0.2.0/2 4",
        "host.example",
        "2001:db8::1:tcp/22", // no length: whose colon is it?
        "192.0.2.0/24:tcp/22:tcp/23",
        "192.0.2.0/24:tcp/22 ",
        "a text that is longer than any network with its protocol and port can be, by far",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct capture_exclude x;
        struct errmsg e = {""};
        if (capture_exclude_parse(bad[i], &x, &e) != -EINVAL)
            fail_msg("\"%s\" is accepted", bad[i]);
        assert_non_null(strstr(e.text, "CIDR"));
    }
}

static size_t put_packet(uint8_t *frame, unsigned tags, const char *src, uint8_t proto,
                         uint16_t sport, uint16_t dport)
{
    uint8_t *p = frame + 12;
    memset(frame, 0, 128);
    for (unsigned i = 0; i < tags; i++, p += 4) {
        p[0] = tags == 2 && i == 0 ? 0x88 : 0x81;
        p[1] = tags == 2 && i == 0 ? 0xa8 : 0x00;
    }
    bool six = strchr(src, ':');
    p[0] = six ? 0x86 : 0x08;
    p[1] = six ? 0xdd : 0x00;
    uint8_t *ip = p + 2, *l4 = ip + (six ? 40 : 20);
    ip[0] = six ? 0x60 : 0x45;
    ip[six ? 6 : 9] = proto;
    inet_pton(six ? AF_INET6 : AF_INET, src, ip + (six ? 8 : 12));
    l4[0] = (uint8_t)(sport >> 8);
    l4[1] = (uint8_t)sport;
    l4[2] = (uint8_t)(dport >> 8);
    l4[3] = (uint8_t)dport;
    return (size_t)(l4 + 20 - frame);
}

static bool passes(struct bpf_program *program, unsigned tags, const char *src, uint8_t proto,
                   uint16_t sport, uint16_t dport)
{
    uint8_t frame[128];
    struct pcap_pkthdr header = {0};
    size_t n = put_packet(frame, tags, src, proto, sport, dport);
    header.caplen = header.len = (bpf_u_int32)n;
    return pcap_offline_filter(program, &header, frame) != 0;
}

static void test_filter_sees_through_tags(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.0/24:tcp/22", "198.51.100.7",
                                        "2001:db8::/32:udp/53"};
    struct capture_exclude excludes[4];
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_int_equal(capture_exclude_parse(texts[i], &excludes[i], NULL), 0);
    assert_int_equal(capture_exclude_parse("203.0.113.5:tcp/5555", &excludes[3], NULL), 0);
    char text[4096];
    assert_int_equal(capture_filter_text(excludes, 4, DLT_EN10MB, text, sizeof text), 0);
    pcap_t *pcap = pcap_open_dead(DLT_EN10MB, 128);
    struct bpf_program program;
    if (pcap_compile(pcap, &program, text, 1, PCAP_NETMASK_UNKNOWN) != 0)
        fail_msg("%s: %s", text, pcap_geterr(pcap));
    for (unsigned tags = 0; tags <= 2; tags++) {
        assert_false(passes(&program, tags, "192.0.2.77", 6, 40000, 22));
        assert_false(passes(&program, tags, "192.0.2.77", 6, 22, 40000));
        assert_true(passes(&program, tags, "192.0.2.77", 17, 40000, 22));
        assert_true(passes(&program, tags, "192.0.2.77", 6, 40000, 23));
        assert_true(passes(&program, tags, "192.0.3.77", 6, 40000, 22));
        assert_false(passes(&program, tags, "198.51.100.7", 1, 0, 0));
        assert_true(passes(&program, tags, "198.51.100.8", 1, 0, 0));
        assert_false(passes(&program, tags, "2001:db8::7", 17, 53, 40000));
        assert_true(passes(&program, tags, "2001:db9::7", 17, 53, 40000));
        assert_false(passes(&program, tags, "203.0.113.5", 6, 5555, 40000));
        assert_false(passes(&program, tags, "203.0.113.5", 6, 40000, 5555));
        assert_true(passes(&program, tags, "203.0.113.5", 6, 40000, 5556));
    }
    pcap_freecode(&program);
    pcap_close(pcap);
}

static bool looked_at(const struct capture_exclude *excludes, size_t n, int link_type,
                      const uint8_t *data, size_t size)
{
    const struct frame frame = {.data = data, .caplen = (uint32_t)size, .wirelen = (uint32_t)size};
    struct packet packet;
    assert_int_equal(decode_frame(decode_link_find(link_type), &frame, &packet), DECODE_IP);
    return !capture_excludes(excludes, n, &packet);
}

// What the filter sees and what it does not: a third tag, cooked captures, PPPoE, MPLS.
static void test_packets_are_excluded_behind_anything(void **state)
{
    (void)state;
    struct capture_exclude x[5];
    static const char *const texts[] = {"192.0.2.0/25:tcp/22", "198.51.100.7",
                                        "2001:db8::/33:udp/53", "203.0.113.5:tcp/5555",
                                        "10.0.0.0/8"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_int_equal(capture_exclude_parse(texts[i], &x[i], NULL), 0);
    static const struct {
        const char *src;
        uint8_t proto;
        uint16_t sport, dport;
        bool looked_at;
    } cases[] = {
        {"192.0.2.77", 6, 40000, 22, false},    {"192.0.2.77", 6, 22, 40000, false},
        {"192.0.2.77", 17, 40000, 22, true},    {"192.0.2.77", 6, 40000, 23, true},
        {"192.0.2.128", 6, 40000, 22, true},    {"192.0.3.77", 6, 40000, 22, true},
        {"198.51.100.7", 1, 0, 0, false},       {"198.51.100.6", 1, 0, 0, true},
        {"2001:db8:7fff::7", 17, 53, 4, false}, {"2001:db8:8000::7", 17, 53, 4, true},
        {"203.0.113.5", 6, 5555, 40000, false}, {"203.0.113.5", 6, 40000, 5555, false},
        {"10.255.0.1", 47, 0, 0, false},        {"11.0.0.1", 47, 0, 0, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t frame[160];
        size_t n = 0;
        for (unsigned tags = 0; tags <= 3; tags++) {
            memset(frame, 0, sizeof frame);
            n = put_packet(frame, tags, cases[i].src, cases[i].proto, cases[i].sport,
                           cases[i].dport);
            assert_int_equal(looked_at(x, 5, DLT_EN10MB, frame, n), cases[i].looked_at);
        }
        // the same packet behind three tags, from its first tag on, as the cooked header of `any`
        uint8_t cooked[160] = {0};
        memcpy(cooked + 14, frame + 12, n - 12);
        assert_int_equal(looked_at(x, 5, DLT_LINUX_SLL, cooked, n + 2), cases[i].looked_at);
    }
}

static void test_filter_of_any_size_compiles(void **state)
{
    (void)state;
    static struct capture_exclude excludes[CAPTURE_EXCLUDES_MAX];
    static char text[32768];
    static const int links[] = {DLT_EN10MB, DLT_RAW, DLT_LINUX_SLL, DLT_LINUX_SLL2, DLT_PPP};
    for (size_t i = 0; i < ARRAY_SIZE(excludes); i++) {
        char network[64];
        snprintf(network, sizeof network, "2001:db8:1234:5678:9abc:def0:1234:%zx00/120:tcp/%zu", i,
                 60000 + i);
        assert_int_equal(capture_exclude_parse(network, &excludes[i], NULL), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        assert_int_equal(
            capture_filter_text(excludes, ARRAY_SIZE(excludes), links[i], text, sizeof text), 0);
        pcap_t *pcap = pcap_open_dead(links[i], 128);
        struct bpf_program program;
        if (pcap_compile(pcap, &program, text, 1, PCAP_NETMASK_UNKNOWN) != 0)
            fail_msg("link type %d: %s", links[i], pcap_geterr(pcap));
        assert_true(program.bf_len < 4096); // the kernel's limit
        pcap_freecode(&program);
        pcap_close(pcap);
    }
    for (size_t size = 0; size < 200; size++)
        assert_int_equal(capture_filter_text(excludes, 9, DLT_EN10MB, text, size), -ENOSPC);
    assert_int_equal(capture_filter_text(NULL, 0, DLT_EN10MB, text, sizeof text), 0);
    assert_string_equal(text, "");
}

static void write_counter(const char *directory, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    _cleanup_(fclosep) FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
}

static void test_interface_drops(void **state)
{
    (void)state;
    char directory[] = "/tmp/hirundo-drops-XXXXXX", path[256];
    struct if_drops d;
    assert_non_null(mkdtemp(directory));
    if_drops_open(directory, &d); // nothing there
    assert_int_equal(if_drops_read(&d), 0);
    if_drops_close(&d);
    write_counter(directory, "rx_missed_errors", "100\n");
    write_counter(directory, "rx_fifo_errors", "18446744073709551610\n");
    if_drops_open(directory, &d);
    assert_int_equal(if_drops_read(&d), 0); // what was before is not ours
    write_counter(directory, "rx_missed_errors", "107\n");
    assert_int_equal(if_drops_read(&d), 7);
    assert_int_equal(if_drops_read(&d), 7);
    write_counter(directory, "rx_fifo_errors", "18446744073709551613\n");
    assert_int_equal(if_drops_read(&d), 10);
    write_counter(directory, "rx_missed_errors", "5\n"); // the driver began anew
    assert_int_equal(if_drops_read(&d), 15);
    static const char *const none[] = {"", "none\n", "99999999999999999999\n"};
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        write_counter(directory, "rx_missed_errors", none[i]);
        assert_int_equal(if_drops_read(&d), 15);
    }
    write_counter(directory, "rx_missed_errors", "6\n");
    assert_int_equal(if_drops_read(&d), 16);
    if_drops_close(&d);
    snprintf(path, sizeof path, "%s/rx_missed_errors", directory);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/rx_fifo_errors", directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void test_interface_that_is_not_there(void **state)
{
    (void)state;
    const struct capture_live_config config = {
        .interface = "hirundo-none", .snaplen = 128, .ring_bytes = CAPTURE_RING_DEFAULT};
    struct capture *c = NULL;
    struct errmsg e = {""};
    int r = capture_open_live(&config, &c, &e);
    assert_true(r == -ENODEV || r == -EPERM); // who may not capture is told that first
    assert_non_null(strstr(e.text, "hirundo-none"));
    assert_null(c);
    capture_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclude_parse),
        cmocka_unit_test(test_exclude_refused),
        cmocka_unit_test(test_filter_sees_through_tags),
        cmocka_unit_test(test_packets_are_excluded_behind_anything),
        cmocka_unit_test(test_filter_of_any_size_compiles),
        cmocka_unit_test(test_interface_drops),
        cmocka_unit_test(test_interface_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
