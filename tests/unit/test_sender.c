// The sender against tables of schedules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sensor/sender.h"
#include "tests/unit/fail_alloc.h"

enum step_kind {
    CONNECTED,
    LOST,
    REFUSED,
    SPOOLED, // a: next
    FOUND,   // a..b, c bytes
    FAILED,  // the look
    UNSENT,  // a: later
    RESTART, // a: acked, b: next
    ACK,     // a: through, b: credit, c: answers this message, 0: a
    GAP,     // a: expected, b: credit
    FORK,    // a: seq, b: credit
    PONG,    // a: credit
    WANT,    // a: enum sender_do, b, c: seq_first, seq_last or endpoint
    UNTIL,   // WAIT until a
    CREDIT0, // nothing but pings until a
};

struct step {
    int64_t at;
    enum step_kind kind;
    uint64_t a, b, c;
};

#define BIG 1000000

struct schedule {
    const char *name;
    uint32_t endpoints;
    uint64_t acked, next;
    uint32_t max_kbit;
    struct step steps[48];
};

// Connecting, the first ping, and its pong with credit c.
#define UP(t, c)                                                                                   \
    {t, WANT, SENDER_CONNECT, 0, 0}, {t, CONNECTED}, {t, WANT, SENDER_PING},                       \
    {                                                                                              \
        t, PONG, c                                                                                 \
    }
#define SENDS(t, n, size)                                                                          \
    {t, WANT, SENDER_LOOK, n, 0}, {t, FOUND, n, n, size},                                          \
    {                                                                                              \
        t, WANT, SENDER_SEND, n, n                                                                 \
    }

// A step names only what it needs.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const struct schedule schedules[] = {
    {"an empty spool only pings",
     1,
     0,
     1,
     0,
     {UP(0, BIG), {0, UNTIL, 15000}, {15000, WANT, SENDER_PING}, {15000, PONG, BIG}}},
    {"one message until the first answer, then the window",
     1,
     0,
     20,
     0,
     {UP(0, BIG),
      SENDS(0, 1, 10),
      {0, UNTIL, 15000},
      {5, ACK, 1, BIG},
      {5, WANT, SENDER_ACKED, 0, 1},
      SENDS(5, 2, 10),
      SENDS(5, 3, 10),
      SENDS(5, 4, 10),
      SENDS(5, 5, 10),
      SENDS(5, 6, 10),
      SENDS(5, 7, 10),
      SENDS(5, 8, 10),
      SENDS(5, 9, 10),
      {5, UNTIL, 15000}}},
    {"credit in bytes bounds what flies",
     1,
     0,
     20,
     0,
     {UP(0, 100),
      SENDS(0, 1, 60),
      {1, ACK, 1, 100},
      {1, WANT, SENDER_ACKED, 0, 1},
      SENDS(1, 2, 60),
      {1, WANT, SENDER_LOOK, 3},
      {1, FOUND, 3, 3, 60},
      {1, UNTIL, 15000},
      {2, ACK, 2, 100},
      {2, WANT, SENDER_ACKED, 0, 2},
      {2, WANT, SENDER_SEND, 3, 3}}},
    {"a message larger than the credit goes alone",
     1,
     0,
     3,
     0,
     {UP(0, 10), SENDS(0, 1, 60), {1, ACK, 1, 10}, {1, WANT, SENDER_ACKED, 0, 1}, SENDS(1, 2, 60)}},
    {"credit 0: a ping every 5 s and nothing else, no resending either",
     1,
     0,
     2,
     0,
     {UP(0, 0),
      {0, UNTIL, 5000},
      {5000, WANT, SENDER_PING},
      {5000, PONG, 0},
      {5000, UNTIL, 10000},
      {10000, WANT, SENDER_PING},
      {10001, PONG, BIG},
      SENDS(10001, 1, 10),
      {10002, ACK, 0, 0},
      {10002, UNTIL, 15000},
      {15000, WANT, SENDER_PING},
      {15000, PONG, 0},
      {15000, CREDIT0, 90000},
      {90000, PONG, BIG},
      {90001, CREDIT0, 119000}}},
    {"ack timeout: again from the oldest, and slower each time",
     1,
     4,
     8,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 5, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      SENDS(1, 7, 10),
      {15000, WANT, SENDER_PING},
      {15000, PONG, BIG},
      {15001, UNTIL, 30000},
      {30000, WANT, SENDER_PING},
      {30000, PONG, BIG},
      {30000, UNTIL, 30001},
      SENDS(30001, 6, 10),
      SENDS(30001, 7, 10),
      {30002, ACK, 7, BIG},
      {30002, WANT, SENDER_ACKED, 0, 7}}},
    {"gap: back to the expected number, and only once for those in flight",
     1,
     4,
     9,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 5, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      SENDS(1, 7, 10),
      SENDS(1, 8, 10),
      {2, GAP, 2, BIG},
      {2, WANT, SENDER_REWIND, 0, 1},
      SENDS(2, 2, 10),
      {2, GAP, 2, BIG},
      {2, GAP, 2, BIG},
      SENDS(2, 3, 10),
      {3, ACK, 2, BIG},
      {3, WANT, SENDER_ACKED, 0, 2},
      SENDS(3, 4, 10)}},
    {"gap forwards: what the collector has goes again, one at a time, to be compared",
     1,
     4,
     9,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 5, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      SENDS(1, 7, 10),
      SENDS(1, 8, 10),
      {2, GAP, 7, BIG},
      SENDS(2, 6, 10),
      {2, UNTIL, 15000},
      {3, ACK, 6, BIG},
      {3, WANT, SENDER_ACKED, 0, 6},
      SENDS(3, 7, 10),
      SENDS(3, 8, 10)}},
    {"an ack counts for what it answers, not for what was sent since: that may be a fork",
     1,
     4,
     12,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 5, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      SENDS(1, 7, 10),
      SENDS(1, 8, 10),
      SENDS(1, 9, 10),
      SENDS(1, 10, 10),
      SENDS(1, 11, 10),
      {2, ACK, 10, BIG, 6},
      {2, WANT, SENDER_ACKED, 0, 6},
      {3, FORK, 7, BIG},
      {3, WANT, SENDER_DISCONNECT},
      {3, WANT, SENDER_FORK, 7}}},
    {"a gap behind what was sent is nonsense and changes nothing",
     1,
     4,
     9,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, GAP, 8, BIG},
      {1, GAP, 0, BIG},
      {1, ACK, 5, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10)}},
    {"a range of losses is one message",
     1,
     0,
     10,
     0,
     {UP(0, BIG),
      {0, WANT, SENDER_LOOK, 1},
      {0, FOUND, 1, 6, 100},
      {0, WANT, SENDER_SEND, 1, 6},
      {1, ACK, 6, BIG},
      {1, WANT, SENDER_ACKED, 0, 6},
      SENDS(1, 7, 10)}},
    {"a gap inside a range: the range goes again",
     1,
     0,
     10,
     0,
     {UP(0, BIG),
      {0, WANT, SENDER_LOOK, 1},
      {0, FOUND, 1, 6, 100},
      {0, WANT, SENDER_SEND, 1, 6},
      {1, GAP, 4, BIG},
      {1, WANT, SENDER_LOOK, 1},
      {1, FOUND, 1, 6, 100},
      {1, WANT, SENDER_SEND, 1, 6},
      {2, ACK, 6, BIG},
      {2, WANT, SENDER_ACKED, 0, 6}}},
    {"fork: the connection ends, the driver moves the rest, numbers begin anew",
     1,
     4,
     9,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, FORK, 5, BIG},
      {1, WANT, SENDER_DISCONNECT},
      {1, WANT, SENDER_FORK, 5},
      {1, RESTART, 0, 5},
      {1, WANT, SENDER_CONNECT},
      {1, CONNECTED},
      {1, WANT, SENDER_PING},
      SENDS(1, 1, 10)}},
    {"fork at an acknowledged number (an old copy of the spool that went on)",
     1,
     4,
     9,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 5, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      {2, FORK, 3, BIG},
      {2, WANT, SENDER_DISCONNECT},
      {2, WANT, SENDER_FORK, 3}}},
    {"fork that the disk refuses is asked for again",
     1,
     4,
     9,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, FORK, 5, BIG},
      {1, WANT, SENDER_DISCONNECT},
      {1, WANT, SENDER_FORK, 5},
      {1, FAILED},
      {1, UNTIL, 5001},
      {5001, WANT, SENDER_FORK, 5}}},
    {"an ack beyond what was sent: one at a time up to it, so that a fork shows",
     1,
     4,
     12,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 7, BIG, 5},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      {1, UNTIL, 15000},
      {2, ACK, 7, BIG, 6},
      {2, WANT, SENDER_ACKED, 0, 6},
      SENDS(2, 7, 10),
      {3, ACK, 7, BIG},
      {3, WANT, SENDER_ACKED, 0, 7},
      SENDS(3, 8, 10),
      SENDS(3, 9, 10)}},
    {"late and repeated acks do no harm",
     1,
     4,
     7,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 5, BIG},
      {1, ACK, 5, BIG},
      {1, ACK, 2, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      {2, ACK, 3, BIG},
      {2, UNTIL, 15000}}},
    {"a lost connection: again from the oldest on a new one",
     1,
     4,
     8,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, ACK, 5, BIG},
      {1, WANT, SENDER_ACKED, 0, 5},
      SENDS(1, 6, 10),
      SENDS(1, 7, 10),
      {2, LOST},
      {2, WANT, SENDER_DISCONNECT},
      {5000, WANT, SENDER_CONNECT},
      {5000, ACK, 7, BIG},
      {5000, CONNECTED},
      {5000, WANT, SENDER_PING},
      {5000, PONG, BIG},
      SENDS(5000, 6, 10)}},
    {"a refused key is tried again for ever",
     1,
     0,
     2,
     0,
     {{0, WANT, SENDER_CONNECT},
      {0, REFUSED},
      {0, WANT, SENDER_DISCONNECT},
      {60000, WANT, SENDER_CONNECT},
      {60000, REFUSED},
      {60000, WANT, SENDER_DISCONNECT},
      {200000, WANT, SENDER_CONNECT},
      {200000, CONNECTED},
      {200000, WANT, SENDER_PING},
      SENDS(200000, 1, 10)}},
    {"connecting takes too long: elsewhere",
     2,
     0,
     2,
     0,
     {{0, WANT, SENDER_CONNECT, 0},
      {0, UNTIL, 10000},
      {10000, WANT, SENDER_DISCONNECT},
      {20000, WANT, SENDER_CONNECT, 1}}},
    {"missing pongs: the next collector at once; return to the first when nothing flies",
     2,
     0,
     1,
     0,
     {UP(0, BIG),
      {15000, WANT, SENDER_PING},
      {15001, CREDIT0, 45000},
      {45000, WANT, SENDER_DISCONNECT},
      {45000, WANT, SENDER_CONNECT, 1},
      {45000, CONNECTED},
      {45000, WANT, SENDER_PING},
      {45000, PONG, BIG},
      {45000, SPOOLED, 2},
      SENDS(45000, 1, 10),
      {45001, ACK, 1, BIG},
      {45001, WANT, SENDER_ACKED, 0, 1},
      {60000, WANT, SENDER_PING},
      {60000, PONG, BIG},
      {945000, WANT, SENDER_DISCONNECT},
      {945000, WANT, SENDER_CONNECT, 0}}},
    {"missing acks never cause a failover: the same collector on a new connection",
     2,
     0,
     2,
     0,
     {UP(0, BIG),
      SENDS(0, 1, 10),
      {15000, WANT, SENDER_PING},
      {15000, PONG, BIG},
      {30000, WANT, SENDER_DISCONNECT},
      {30000, WANT, SENDER_CONNECT, 0},
      {30000, CONNECTED},
      {30000, WANT, SENDER_PING},
      {30000, PONG, BIG},
      SENDS(30000, 1, 10),
      {45000, WANT, SENDER_PING},
      {45000, PONG, BIG},
      {60000, WANT, SENDER_PING},
      {60000, PONG, BIG},
      {75000, WANT, SENDER_PING},
      {75000, PONG, BIG},
      {75001, UNTIL, 90000},
      {90000, WANT, SENDER_DISCONNECT},
      {90000, WANT, SENDER_CONNECT, 0}}},
    {"an unreadable spool is looked at again",
     1,
     0,
     2,
     0,
     {UP(0, BIG),
      {0, WANT, SENDER_LOOK, 1},
      {0, FAILED},
      {0, UNTIL, 5000},
      SENDS(5000, 1, 10),
      {5000, UNSENT, 1},
      {5001, UNTIL, 10000},
      SENDS(10000, 1, 10),
      {10000, UNSENT, 0},
      SENDS(10000, 1, 10)}},
    // a sixteenth and 512 bytes on top of each message; the ping of UP goes at once and is paid for
    {"bandwidth: 8 kbit/s is a byte each millisecond",
     1,
     0,
     9,
     8,
     {UP(0, BIG),
      {0, WANT, SENDER_LOOK, 1, 0},
      {0, FOUND, 1, 1, 1600},
      {0, UNTIL, 512 + 2212 + 1},
      {2724, UNTIL, 2725},
      {2725, WANT, SENDER_SEND, 1, 1},
      {2725, ACK, 1, BIG},
      {2725, WANT, SENDER_ACKED, 0, 1},
      {2725, WANT, SENDER_LOOK, 2, 0},
      {2725, FOUND, 2, 2, 320},
      {2725, UNTIL, 2725 + 852},
      {3577, WANT, SENDER_SEND, 2, 2}}},
    {"growing spool wakes the sender",
     1,
     0,
     1,
     0,
     {UP(0, BIG), {0, UNTIL, 15000}, {10, SPOOLED, 2}, SENDS(10, 1, 10)}},
    {"a replaced spool ends the connection",
     1,
     4,
     9,
     0,
     {UP(0, BIG),
      SENDS(0, 5, 10),
      {1, RESTART, 0, 2},
      {1, WANT, SENDER_DISCONNECT},
      {1, WANT, SENDER_CONNECT},
      {1, ACK, 5, BIG},
      {1, CONNECTED},
      {1, WANT, SENDER_PING},
      SENDS(1, 1, 10)}},
};

#pragma GCC diagnostic pop

static const char *const names[] = {"WAIT", "CONNECT", "DISCONNECT", "LOOK", "SEND",
                                    "PING", "ACKED",   "REWIND",     "FORK"};

static void check_want(const struct schedule *sc, size_t i, struct sender *s)
{
    const struct step *step = &sc->steps[i];
    struct sender_action a;
    sender_next(s, step->at, &a);
    if ((uint64_t)a.what != step->a)
        fail_msg("%s, step %zu: %s instead of %s", sc->name, i, names[a.what], names[step->a]);
    bool fits = true;
    if (a.what == SENDER_CONNECT)
        fits = a.endpoint == step->b;
    else if (a.what == SENDER_LOOK || a.what == SENDER_FORK)
        fits = a.seq_first == step->b;
    else if (a.what == SENDER_SEND)
        fits = a.seq_first == step->b && a.seq_last == step->c;
    else if (a.what == SENDER_ACKED || a.what == SENDER_REWIND)
        fits = a.seq_last == step->c;
    if (!fits)
        fail_msg("%s, step %zu: %s of %llu..%llu (endpoint %u)", sc->name, i, names[a.what],
                 (unsigned long long)a.seq_first, (unsigned long long)a.seq_last, a.endpoint);
}

static void check_until(const struct schedule *sc, size_t i, struct sender *s)
{
    const struct step *step = &sc->steps[i];
    struct sender_action a;
    sender_next(s, step->at, &a);
    if (a.what != SENDER_WAIT || a.until_ms != (int64_t)step->a)
        fail_msg("%s, step %zu: %s until %lld instead of WAIT until %llu", sc->name, i,
                 names[a.what], (long long)a.until_ms, (unsigned long long)step->a);
}

static void check_only_pings(const struct schedule *sc, size_t i, struct sender *s)
{
    const struct step *step = &sc->steps[i];
    struct sender_state state;
    sender_state(s, &state);
    for (int64_t now = step->at; now < (int64_t)step->a; now += 1000) {
        struct sender_action a;
        sender_next(s, now, &a);
        if (a.what != SENDER_WAIT && a.what != SENDER_PING)
            fail_msg("%s, step %zu: %s at %lld", sc->name, i, names[a.what], (long long)now);
        if (a.what == SENDER_PING && state.credit == 0)
            sender_pong(s, now, 0);
    }
}

static void take_step(const struct schedule *sc, size_t i, struct sender *s)
{
    const struct step *t = &sc->steps[i];
    switch (t->kind) {
    case CONNECTED:
        sender_connected(s, t->at);
        break;
    case LOST:
        sender_disconnected(s, t->at, SENDER_LINK_LOST);
        break;
    case REFUSED:
        sender_disconnected(s, t->at, SENDER_LINK_REFUSED);
        break;
    case SPOOLED:
        sender_spooled(s, t->a);
        break;
    case FOUND:
        sender_found(s, t->a, t->b, t->c);
        break;
    case FAILED:
        sender_look_failed(s, t->at);
        break;
    case UNSENT:
        sender_unsent(s, t->at, t->a);
        break;
    case RESTART:
        sender_restart(s, t->at, t->a, t->b);
        break;
    case ACK:
        sender_ack(s, t->at, t->c ? t->c : t->a, t->a, t->b);
        break;
    case GAP:
        sender_nack_gap(s, t->at, t->a, t->b);
        break;
    case FORK:
        sender_nack_fork(s, t->at, t->a, t->b);
        break;
    case PONG:
        sender_pong(s, t->at, t->a);
        break;
    case WANT:
        check_want(sc, i, s);
        break;
    case UNTIL:
        check_until(sc, i, s);
        break;
    case CREDIT0:
        check_only_pings(sc, i, s);
        break;
    }
}

static bool is_blank(const struct step *step)
{
    return step->at == 0 && step->kind == CONNECTED && step->a == 0;
}

static void test_schedules(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(schedules); k++) {
        const struct schedule *sc = &schedules[k];
        struct sender_config config = {.endpoints = sc->endpoints, .random_seed = 7};
        sender_config_defaults(&config);
        config.endpoints = sc->endpoints;
        config.window_max = SENDER_WINDOW;
        config.max_kbit = sc->max_kbit;
        _cleanup_(sender_freep) struct sender *s = NULL;
        assert_int_equal(sender_new(&config, sc->acked, sc->next, &s), 0);
        size_t n = ARRAY_SIZE(sc->steps);
        while (n > 0 && is_blank(&sc->steps[n - 1]))
            n--;
        for (size_t i = 0; i < n; i++)
            take_step(sc, i, s);
    }
}

// Everything that goes out, as the wire has it, against the limit since the connection was made.
static void test_bandwidth(void **state)
{
    (void)state;
    static const uint32_t limits[] = {8, 64, 1000, 100000};
    for (size_t k = 0; k < ARRAY_SIZE(limits); k++) {
        struct sender_config config = {.endpoints = 1, .random_seed = 7};
        sender_config_defaults(&config);
        config.endpoints = 1;
        config.max_kbit = limits[k];
        _cleanup_(sender_freep) struct sender *s = NULL;
        assert_int_equal(sender_new(&config, 0, 500, &s), 0);
        const int64_t begun = 5000;
        int64_t now = begun;
        uint64_t bytes = 0, acked = 0, found = 0;
        uint32_t seed = 1;
        while (acked < 499) {
            struct sender_action a;
            sender_next(s, now, &a);
            seed = seed * 1103515245 + 12345;
            uint64_t size = (seed >> 16) % (seed & 1 ? 200000 : 2000);
            if (a.what == SENDER_CONNECT) {
                sender_connected(s, now);
            } else if (a.what == SENDER_PING) {
                bytes += SENDER_OVERHEAD;
                sender_pong(s, now, 4 << 20);
            } else if (a.what == SENDER_LOOK) {
                sender_found(s, a.seq_first, a.seq_first, found = size);
            } else if (a.what == SENDER_SEND) {
                bytes += found + found / 16 + SENDER_OVERHEAD;
                sender_ack(s, now, a.seq_last, acked = a.seq_last, 4 << 20);
                // a heartbeat now and then goes beside
                if (acked % 100 == 0) {
                    sender_spent(s, now, 100);
                    bytes += 100 + 6 + SENDER_OVERHEAD;
                }
                // what goes at once is paid for later
                assert_true(bytes * 8 <= limits[k] * (uint64_t)(now - begun) + 2 * 8 * 1024);
            } else if (a.what == SENDER_WAIT) {
                now = MAX(now + 1, a.until_ms);
            }
        }
        // and it is used up, where it is the limit
        assert_true(bytes * 8 >= limits[k] * (uint64_t)(now - begun) * 9 / 10);
    }
}

// So many messages of that size go out at once behind the first answer.
static uint32_t in_flight_of(uint64_t size, uint64_t credit)
{
    struct sender_config config = {.endpoints = 1, .random_seed = 7};
    sender_config_defaults(&config);
    config.endpoints = 1;
    _cleanup_(sender_freep) struct sender *s = NULL;
    assert_int_equal(sender_new(&config, 0, 500, &s), 0);
    struct sender_action a;
    struct sender_state state;
    do {
        sender_next(s, 5000, &a);
        if (a.what == SENDER_CONNECT)
            sender_connected(s, 5000);
        else if (a.what == SENDER_LOOK)
            sender_found(s, a.seq_first, a.seq_first, size);
        else if (a.what == SENDER_SEND && a.seq_first == 1)
            sender_ack(s, 5000, 1, 1, credit);
    } while (a.what != SENDER_WAIT);
    sender_state(s, &state);
    return state.in_flight;
}

static void test_window(void **state)
{
    (void)state;
    const uint64_t much = 64 << 20;
    assert_int_equal(in_flight_of(10, much), SENDER_WINDOW_MAX);
    assert_int_equal(in_flight_of(SENDER_WINDOW_BYTES / SENDER_WINDOW_MAX, much),
                     SENDER_WINDOW_MAX);
    assert_int_equal(in_flight_of(SENDER_WINDOW_BYTES / 20, much), 20);
    assert_int_equal(in_flight_of(SENDER_WINDOW_BYTES, much), SENDER_WINDOW);
    assert_int_equal(in_flight_of(1000, 5500), 5);
    assert_int_equal(in_flight_of(1000, 100), 1);
}

static void test_new_refuses(void **state)
{
    (void)state;
    struct sender_config config;
    sender_config_defaults(&config);
    struct sender *s = NULL;
    config.endpoints = 0;
    assert_int_equal(sender_new(&config, 0, 1, &s), -EINVAL);
    config.endpoints = 1;
    assert_int_equal(sender_new(&config, 4, 4, &s), -EINVAL);
    config.window_max = SENDER_WINDOW_MAX + 1;
    assert_int_equal(sender_new(&config, 0, 1, &s), -EINVAL);
    config.window_max = 0;
    assert_int_equal(sender_new(&config, 0, 1, &s), -EINVAL);
    assert_null(s);
}

static struct sender *new_sender(uint32_t endpoints, uint64_t next, uint32_t max_kbit)
{
    struct sender_config config = {.random_seed = 7};
    struct sender *s = NULL;
    sender_config_defaults(&config);
    config.endpoints = endpoints;
    config.max_kbit = max_kbit;
    assert_int_equal(sender_new(&config, 0, next, &s), 0);
    return s;
}

static struct sender_action next_action(struct sender *s, int64_t now)
{
    struct sender_action a;
    sender_next(s, now, &a);
    return a;
}

// Connected at 0, and the first ping answered.
static struct sender *new_up(uint32_t endpoints, uint64_t next, uint32_t max_kbit)
{
    struct sender *s = new_sender(endpoints, next, max_kbit);
    assert_int_equal(next_action(s, 0).what, SENDER_CONNECT);
    sender_connected(s, 0);
    assert_int_equal(next_action(s, 0).what, SENDER_PING);
    sender_pong(s, 0, 64 << 20);
    return s;
}

static void test_answers_without_a_connection_change_nothing(void **state)
{
    (void)state;
    _cleanup_(sender_freep) struct sender *s = new_sender(1, 9, 1000);
    uint64_t before = sender_fingerprint(s);
    sender_connected(s, 5); // of a socket that was given up
    sender_ack(s, 5, 1, 1, BIG);
    sender_nack_gap(s, 5, 1, BIG);
    sender_nack_fork(s, 5, 1, BIG);
    sender_pong(s, 5, BIG);
    sender_spent(s, 5, 100);
    assert_int_equal(sender_fingerprint(s), before);
}

static void test_answers_to_other_questions(void **state)
{
    (void)state;
    _cleanup_(sender_freep) struct sender *s = new_up(1, 9, 0);
    for (int i = 0; i < 2; i++) {
        struct sender_action a = next_action(s, 0);
        assert_int_equal(a.what, SENDER_LOOK);
        assert_int_equal(a.seq_first, 1);
        if (i == 0) {
            sender_found(s, 2, 3, 10);
            sender_found(s, 0, 0, 10);
        }
    }
    sender_found(s, 1, 1, 10);
    assert_int_equal(next_action(s, 0).what, SENDER_SEND);
    sender_nack_fork(s, 0, 0, BIG);
    sender_nack_fork(s, 0, 2, BIG); // never sent
    assert_int_equal(next_action(s, 0).what, SENDER_WAIT);
}

// The spool changed under a message that was on its way; then its ack comes all the same.
static void test_acknowledged_after_it_was_taken_back(void **state)
{
    (void)state;
    _cleanup_(sender_freep) struct sender *s = new_up(1, 3, 0);
    assert_int_equal(next_action(s, 0).what, SENDER_LOOK);
    sender_found(s, 1, 1, 10);
    assert_int_equal(next_action(s, 0).what, SENDER_SEND);
    sender_unsent(s, 0, false);
    sender_ack(s, 0, 1, 1, BIG);
    assert_int_equal(next_action(s, 0).what, SENDER_ACKED);
    struct sender_action a = next_action(s, 0);
    assert_int_equal(a.what, SENDER_LOOK);
    assert_int_equal(a.seq_first, 2);
}

static void test_refused_while_up_goes_elsewhere(void **state)
{
    (void)state;
    _cleanup_(sender_freep) struct sender *s = new_up(2, 1, 0);
    struct sender_state now;
    sender_disconnected(s, 0, SENDER_LINK_REFUSED);
    sender_state(s, &now);
    assert_int_equal(now.link, SENDER_DOWN);
    assert_int_equal(now.endpoint, 1);
}

// However long nothing went out: what was saved up is one large message.
static void test_bucket_is_bounded(void **state)
{
    (void)state;
    _cleanup_(sender_freep) struct sender *s = new_up(1, 1, 100000);
    const int64_t now = 14000;
    sender_spooled(s, 3);
    assert_int_equal(next_action(s, now).what, SENDER_LOOK);
    sender_found(s, 1, 1, SENDER_BUCKET);
    assert_int_equal(next_action(s, now).what, SENDER_SEND);
    sender_ack(s, now, 1, 1, 64 << 20);
    assert_int_equal(next_action(s, now).what, SENDER_ACKED);
    assert_int_equal(next_action(s, now).what, SENDER_LOOK);
    sender_found(s, 2, 2, SENDER_BUCKET);
    struct sender_action a = next_action(s, now);
    assert_int_equal(a.what, SENDER_WAIT);
    assert_true(a.until_ms > now);
}

static int make_and_copy(void *ctx)
{
    (void)ctx;
    struct sender_config config = {.random_seed = 7};
    _cleanup_(sender_freep) struct sender *s = NULL;
    _cleanup_(sender_freep) struct sender *copy = NULL;
    sender_config_defaults(&config);
    config.endpoints = 1;
    int r = sender_new(&config, 0, 9, &s);
    if (r == 0)
        r = sender_copy(s, &copy);
    if (r < 0)
        return r;
    assert_int_equal(sender_fingerprint(copy), sender_fingerprint(s));
    assert_int_equal(next_action(copy, 0).what, SENDER_CONNECT);
    assert_int_not_equal(sender_fingerprint(copy), sender_fingerprint(s));
    return 0;
}

static void test_copies_and_want_of_memory(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_each(make_and_copy, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_new_refuses),
        cmocka_unit_test(test_answers_without_a_connection_change_nothing),
        cmocka_unit_test(test_answers_to_other_questions),
        cmocka_unit_test(test_acknowledged_after_it_was_taken_back),
        cmocka_unit_test(test_refused_while_up_goes_elsewhere),
        cmocka_unit_test(test_bucket_is_bounded),
        cmocka_unit_test(test_copies_and_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
