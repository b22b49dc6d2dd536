// Who is let through: the purses of the gate, and what the kernel makes of its rules, with real
// connections between loopback addresses. And who was let in without a message, or too
// often.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "collector/gate.h"
#include "collector/guests.h"
#include "collector/visits.h"

#define MANY 64 // connections; one in SYN_SHARE comes through where a few may

static struct sockaddr_storage address_of(const char *text, uint16_t port)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    }
    return a;
}

static struct origin origin(const char *text)
{
    struct sockaddr_storage a = address_of(text, 0);
    return origin_of(&a);
}

// ---- the kernel

static int listen_at(const char *text, uint16_t *ret_port)
{
    struct sockaddr_storage a = address_of(text, 0);
    socklen_t size = sizeof a;
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 2 * MANY) < 0)
        return -1;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    *ret_port = ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
                                             : ((struct sockaddr_in6 *)&a)->sin6_port);
    return fd;
}

// On loopback the answer to a first packet is there when connect returns.
static bool is_connected(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_state == 1; // TCP_ESTABLISHED
}

// How many of MANY connections from this address come through.
static int count(int listening, const char *from, const char *to, uint16_t port)
{
    int fds[MANY], n = 0;
    struct sockaddr_storage source = address_of(from, 0), target = address_of(to, port);
    for (int i = 0; i < MANY; i++) {
        fds[i] = socket(source.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&source, sizeof source), 0);
        if (connect(fds[i], (struct sockaddr *)&target, sizeof target) < 0)
            assert_int_equal(errno, EINPROGRESS);
        if (!is_connected(fds[i]))
            continue;
        n++; // and it works: nothing of a connection that is there is dropped
        int accepted = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        assert_true(accepted >= 0);
        char byte = 'x';
        assert_int_equal(send(fds[i], &byte, 1, 0), 1);
        assert_int_equal(recv(accepted, &byte, 1, 0), 1);
        close(accepted);
    }
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    return n;
}

static void assert_few(int n)
{
    assert_in_range(n, 0, MANY / 2);
}

static void test_shut_addresses(void **state)
{
    (void)state;
    uint16_t port = 0;
    int fd = listen_at("127.0.0.1", &port);
    struct syn_rules rules = {.shut = {origin("198.51.100.7"), origin("127.0.0.2")}, .n_shut = 2};
    assert_true(fd >= 0);
    assert_int_equal(count(fd, "127.0.0.2", "127.0.0.1", port), MANY);
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_few(count(fd, "127.0.0.2", "127.0.0.1", port));
    assert_int_equal(count(fd, "127.0.0.3", "127.0.0.1", port), MANY);
    rules.n_shut = 0;
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_int_equal(syn_filter_set(fd, &rules), 0); // none is there: as well
    assert_int_equal(count(fd, "127.0.0.2", "127.0.0.1", port), MANY);
    close(fd);
}

static void test_only_known_addresses(void **state)
{
    (void)state;
    uint16_t port = 0;
    int fd = listen_at("127.0.0.1", &port);
    const struct syn_rules rules = {.shut = {origin("127.0.0.4")},
                                    .n_shut = 1,
                                    .only_known = true,
                                    .known = {origin("127.0.0.3"), origin("127.0.0.4")},
                                    .n_known = 2};
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_few(count(fd, "127.0.0.2", "127.0.0.1", port));
    assert_int_equal(count(fd, "127.0.0.3", "127.0.0.1", port), MANY);
    assert_few(count(fd, "127.0.0.4", "127.0.0.1", port));
    close(fd);
}

static void test_ipv6(void **state)
{
    (void)state;
    uint16_t port = 0;
    int fd = listen_at("::1", &port);
    if (fd < 0)
        skip(); // no IPv6 here
    struct syn_rules rules = {.shut = {origin("2001:db8::1"), origin("127.0.0.1")}, .n_shut = 2};
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_int_equal(count(fd, "::1", "::1", port), MANY);
    rules.shut[1] = origin("::2"); // the same /64
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_few(count(fd, "::1", "::1", port));
    rules = (struct syn_rules){.only_known = true, .known = {origin("::1")}, .n_known = 1};
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_int_equal(count(fd, "::1", "::1", port), MANY);
    close(fd);
    fd = listen_at("::", &port); // IPv4 packets, IPv6 socket
    assert_true(fd >= 0);
    rules = (struct syn_rules){.shut = {origin("::ffff:127.0.0.2")}, .n_shut = 1};
    assert_int_equal(rules.shut[0].size, 4);
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_few(count(fd, "127.0.0.2", "127.0.0.1", port));
    assert_int_equal(count(fd, "127.0.0.3", "127.0.0.1", port), MANY);
    close(fd);
}

// As many entries as there may be.
static void test_full_rules(void **state)
{
    (void)state;
    static struct syn_rules rules;
    uint16_t port = 0;
    for (size_t i = 0; i < SYN_SHUT_MAX; i++)
        rules.shut[rules.n_shut++] = (struct origin){.bytes = {0x20, (uint8_t)i}, .size = 8};
    for (size_t i = 0; i < SYN_KNOWN_MAX; i++)
        rules.known[rules.n_known++] = (struct origin){.bytes = {0x30, (uint8_t)i}, .size = 8};
    rules.known[SYN_KNOWN_MAX - 1] = origin("127.0.0.3");
    rules.only_known = true;
    int fd = listen_at("127.0.0.1", &port);
    assert_int_equal(syn_filter_set(fd, &rules), 0);
    assert_few(count(fd, "127.0.0.2", "127.0.0.1", port));
    assert_int_equal(count(fd, "127.0.0.3", "127.0.0.1", port), MANY);
    close(fd);
}

// ---- purses

static void come_times(struct gate *g, const char *from, int n, int64_t now_ms)
{
    struct origin o = origin(from);
    for (int i = 0; i < n; i++)
        gate_came(g, &o, from, now_ms);
}

static void test_one_address(void **state)
{
    (void)state;
    _cleanup_(gate_freep) struct gate *g = NULL;
    assert_int_equal(gate_new(&g), 0);
    come_times(g, "192.0.2.1", GATE_PURSE - 1, 1000);
    assert_int_equal(gate_rules(g)->n_shut, 0);
    come_times(g, "192.0.2.2", 1, 1000); // another one
    assert_int_equal(gate_rules(g)->n_shut, 0);
    come_times(g, "192.0.2.1", 1, 1000);
    assert_int_equal(gate_rules(g)->n_shut, 1);
    struct origin o = origin("192.0.2.1");
    assert_true(origin_equals(&gate_rules(g)->shut[0], &o));
    come_times(g, "192.0.2.1", 10 * GATE_ALL_PURSE,
               1000); // who is kept out shuts out nobody else
    assert_false(gate_rules(g)->only_known);
    const int64_t half_ms = GATE_PURSE / 2 * 1000 / GATE_PER_S;
    gate_check(g, 1000 + half_ms - 1);
    assert_int_equal(gate_rules(g)->n_shut, 1);
    gate_check(g, 1000 + half_ms);
    assert_int_equal(gate_rules(g)->n_shut, 0);
    come_times(g, "192.0.2.1", GATE_PURSE / 2, 1000 + half_ms);
    assert_int_equal(gate_rules(g)->n_shut, 1);
}

// A message gives it back, and where a sensor came in there is room for more.
static void test_given_back(void **state)
{
    (void)state;
    _cleanup_(gate_freep) struct gate *g = NULL;
    struct origin o = origin("192.0.2.1");
    assert_int_equal(gate_new(&g), 0);
    come_times(g, "192.0.2.1", GATE_PURSE, 1000); // silent, so far
    assert_int_equal(gate_rules(g)->n_shut, 1);
    gate_heard(g, &o, 1000);
    gate_check(g, 1000);
    assert_int_equal(gate_rules(g)->n_shut, 0);
    for (int i = 0; i < 10 * GATE_KNOWN; i++) { // each heard before the next comes
        come_times(g, "192.0.2.1", 1, 1000);
        gate_heard(g, &o, 1000);
    }
    assert_int_equal(gate_rules(g)->n_shut, 0);
    come_times(g, "192.0.2.1", GATE_KNOWN - GATE_PURSE, 1000);
    assert_int_equal(gate_rules(g)->n_shut, 0);
    come_times(g, "192.0.2.1", 1, 1000);
    assert_int_equal(gate_rules(g)->n_shut, 1);
    for (int i = 0; i < GATE_KNOWN / 2; i++) {
        gate_check(g, 1000);
        assert_int_equal(gate_rules(g)->n_shut, 1);
        gate_heard(g, &o, 1000);
    }
    gate_check(g, 1000);
    assert_int_equal(gate_rules(g)->n_shut, 0);
    for (int i = 0; i < 10 * GATE_ALL_PURSE; i++) // and all of them together have lost nothing
        gate_heard(g, &o, 1000);
    assert_false(gate_rules(g)->only_known);
}

static void test_slow_ones_are_free(void **state)
{
    (void)state;
    _cleanup_(gate_freep) struct gate *g = NULL;
    assert_int_equal(gate_new(&g), 0);
    for (int64_t s = 1; s < 600; s++)
        come_times(g, "192.0.2.1", GATE_PER_S, 1000 * s);
    assert_int_equal(gate_rules(g)->n_shut, 0);
}

static void test_many_addresses(void **state)
{
    (void)state;
    _cleanup_(gate_freep) struct gate *g = NULL;
    struct origin sensor = origin("203.0.113.9");
    assert_int_equal(gate_new(&g), 0);
    gate_heard(g, &sensor, 500);
    for (int i = 0; i < GATE_ALL_PURSE; i++) {
        char from[32];
        snprintf(from, sizeof from, "198.18.%d.%d", i / 256, i % 256);
        assert_false(gate_rules(g)->only_known);
        come_times(g, from, 1, 1000);
    }
    assert_int_equal(gate_rules(g)->n_shut, 0);
    assert_true(gate_rules(g)->only_known);
    assert_int_equal(gate_rules(g)->n_known, 1);
    assert_true(origin_equals(&gate_rules(g)->known[0], &sensor));
    gate_check(g, 1000 + GATE_ALL_PURSE / 2 * 1000 / GATE_ALL_PER_S);
    assert_false(gate_rules(g)->only_known);
}

static void test_crowd(void **state)
{
    (void)state;
    _cleanup_(gate_freep) struct gate *g = NULL;
    assert_int_equal(gate_new(&g), 0);
    const int64_t half_ms = GATE_ALL_PURSE / 2 * 1000 / GATE_ALL_PER_S;
    gate_crowded(g, 1000, 1000);
    assert_true(gate_rules(g)->only_known);
    gate_crowded(g, 1000, 1000 + half_ms); // it is still there
    gate_check(g, 1000 + half_ms);
    assert_true(gate_rules(g)->only_known);
    gate_check(g, 1000 + 2 * half_ms);
    assert_false(gate_rules(g)->only_known);
}

// More addresses than there is room for: as if the ones of long ago had never been.
static void test_more_than_there_is_room_for(void **state)
{
    (void)state;
    _cleanup_(gate_freep) struct gate *g = NULL;
    assert_int_equal(gate_new(&g), 0);
    for (int i = 0; i < 5000; i++) {
        char from[32];
        snprintf(from, sizeof from, "2001:db8:%x::%d", i / 3, i % 3); // one of a /64
        struct origin o = origin(from);
        gate_heard(g, &o, 1000 + i);
        come_times(g, from, GATE_PURSE, 1000 + i);
        assert_in_range(gate_rules(g)->n_shut, 0, SYN_SHUT_MAX);
        assert_in_range(gate_rules(g)->n_known, 0, SYN_KNOWN_MAX);
    }
    gate_check(g, 1000000);
    assert_int_equal(gate_rules(g)->n_shut, 0);
    assert_false(gate_rules(g)->only_known);
}

// ---- visits

static unsigned allowed(struct visits *v, unsigned times, int64_t now_ms)
{
    unsigned n = 0;
    for (unsigned i = 0; i < times; i++)
        n += visits_allow(v, now_ms);
    return n;
}

static void test_visits(void **state)
{
    (void)state;
    struct visits v = {0};
    int64_t now = 1000;
    assert_int_equal(allowed(&v, 1000, now), 60);
    assert_int_equal(allowed(&v, 1, now + VISITS_MS - 1), 0);
    for (unsigned left = 30; left >= 3; left /= 2) { // less and less, while it goes on
        now += VISITS_MS;
        assert_int_equal(allowed(&v, 1000, now), left);
    }
    now += VISITS_MS;
    assert_int_equal(allowed(&v, 1000, now), 3);
    now += VISITS_MS;
    assert_int_equal(allowed(&v, 2, now), 2); // a minute in which it was enough
    now += VISITS_MS;
    assert_int_equal(allowed(&v, 1000, now), 60);
    now += 3LL * VISITS_MS; // or one without any
    assert_int_equal(allowed(&v, 1000, now), 60);
}

// ---- guests

static void test_guests(void **state)
{
    (void)state;
    _cleanup_(guests_freep) struct guests *g = NULL;
    char name[KEYRING_NAME_MAX];
    assert_int_equal(guests_new(&g), 0);
    assert_false(guests_left(g, "192.0.2.1", 4900, name));
    guests_let_in(g, "192.0.2.1", "a-1", 5000);
    guests_let_in(g, "192.0.2.1", "a-2", 5000);
    guests_heard(g, "192.0.2.1", "a-1");
    guests_heard(g, "192.0.2.2", "a-2"); // from elsewhere
    assert_false(guests_left(g, "192.0.2.3", 4900, name));
    assert_false(guests_left(g, "192.0.2.1", 5001 + GUESTS_LATE, name)); // came long after that
    assert_true(guests_left(g, "192.0.2.1", 4900, name));
    assert_string_equal(name, "a-2");
    assert_false(guests_left(g, "192.0.2.1", 4900, name));
    for (int i = 0; i <= GUESTS_MAX; i++) { // one more than there is room for
        snprintf(name, sizeof name, "b-%d", i);
        guests_let_in(g, "192.0.2.1", name, 5000);
    }
    assert_true(guests_left(g, "192.0.2.1", 4900, name));
    assert_string_equal(name, "b-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shut_addresses),
        cmocka_unit_test(test_only_known_addresses),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_full_rules),
        cmocka_unit_test(test_one_address),
        cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_slow_ones_are_free),
        cmocka_unit_test(test_many_addresses),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_more_than_there_is_room_for),
        cmocka_unit_test(test_visits),
        cmocka_unit_test(test_guests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
