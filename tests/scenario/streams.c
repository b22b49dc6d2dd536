#include "streams.h"

#include <errno.h>
#include <stdlib.h>

struct tail {
    enum stream_kind kind;
    struct port_id port;
    uint16_t weight;
};

// clang-format off
#define T(p, w) {STREAM_PORT, {PROTO_TCP, (p)}, (w)}
#define U(p, w) {STREAM_PORT, {PROTO_UDP, (p)}, (w)}

// What lies below the tenth place. A port of the sensor's top ten is skipped here. The heaviest
// single port stays under half of a tenth place.
static const struct tail tails[] = {
    {STREAM_PORT, {PROTO_ICMP, 0}, 16},
    T(443, 12), T(8080, 12), T(445, 12), T(3389, 12), T(6379, 12), T(5555, 11), T(1433, 10),
    T(81, 9), T(8088, 7), T(8090, 6), T(139, 6), T(37215, 6), T(52869, 5), U(123, 9), U(5060, 9),
    T(5900, 2), T(2323, 5), T(8443, 5), T(2222, 4), T(21, 4), T(25, 4), T(110, 2), T(143, 2),
    T(993, 2), T(587, 2), T(3306, 4), T(5432, 3), T(27017, 2), T(9200, 3), T(11211, 1), T(2375, 4),
    T(2376, 1), T(6443, 2), T(8000, 3), T(8081, 3), T(8888, 2), T(9000, 2), T(10250, 1), T(5038, 1),
    T(1080, 2), T(3128, 2), T(7547, 2), T(60023, 2), T(9530, 1), T(34567, 1), T(4433, 1), T(5985, 1),
    U(53, 7), U(161, 6), U(1900, 6), U(5683, 3), U(11211, 3), U(389, 3), U(19, 1), U(137, 2),
    U(500, 2), U(3702, 3), U(69, 1), U(1194, 1), U(5353, 2), U(6881, 2), U(17185, 1), U(30120, 1),
    {STREAM_BACKSCATTER, {0, 0}, 32},
    {STREAM_DNS_ANSWER, {0, 0}, 8},
    {STREAM_ICMPV6, {0, 0}, 5},
    {STREAM_GRE, {0, 0}, 7},
    {STREAM_PROTOCOL, {0, 0}, 4},
    {STREAM_FRAGMENT, {0, 0}, 6},
    {STREAM_VERTICAL, {0, 0}, 30},
    {STREAM_SPOOFED, {0, 0}, 14},
    {STREAM_ODD_TCP, {0, 0}, 5},
};
// clang-format on

#undef T
#undef U

#define TAIL_COUNT (sizeof(tails) / sizeof(tails[0]))

_Static_assert(TAIL_COUNT + TOP_PORTS + 2 <= STREAM_MAX, "every stream has its place");

int sensor_observed_days(const struct sensor *sensor)
{
    return QUARTER_DAYS - (sensor->outage_to - sensor->outage_from);
}

uint64_t sensor_packets(int sensor, uint32_t packets_per_day)
{
    const struct sensor *s = sensor_at(sensor);

    return (uint64_t)packets_per_day * s->rate * (uint32_t)sensor_observed_days(s) / 1000;
}

uint64_t sensor_place_packets(int sensor, uint32_t packets_per_day, int k)
{
    return sensor_packets(sensor, packets_per_day) * sensor_share(sensor_at(sensor), k) / 1000;
}

static bool in_top(const struct sensor *sensor, const struct port_id *port)
{
    for (int k = 0; k < TOP_PORTS; k++) {
        if (sensor->top[k].proto == port->proto && sensor->top[k].port == port->port) {
            return true;
        }
    }
    return false;
}

static void add_stream(struct stream_plan *plan, struct rng *rng, enum stream_kind kind,
                       struct port_id port, uint64_t quota)
{
    plan->streams[plan->count++] = (struct stream){
        .kind = kind,
        .port = port,
        .quota = quota,
        .phase = rng_next(rng) % plan->weights[QUARTER_DAYS],
    };
}

static bool tail_applies(const struct tail *tail, const struct sensor *sensor)
{
    return tail->kind != STREAM_PORT || !in_top(sensor, &tail->port);
}

static void add_tails(struct stream_plan *plan, struct rng *rng, const struct sensor *sensor,
                      uint64_t packets)
{
    uint64_t weights = 0;

    for (size_t i = 0; i < TAIL_COUNT; i++) {
        weights += tail_applies(&tails[i], sensor) ? tails[i].weight : 0;
    }
    for (size_t i = 0; i < TAIL_COUNT; i++) {
        if (tail_applies(&tails[i], sensor)) {
            uint64_t quota = packets * tails[i].weight / weights;
            bool pairs = tails[i].kind == STREAM_FRAGMENT;
            add_stream(plan, rng, tails[i].kind, tails[i].port, pairs ? quota / 2 : quota);
        }
    }
}

void stream_plan_init(struct stream_plan *plan, uint64_t seed, int sensor, uint32_t packets_per_day,
                      const struct planned_list *planned)
{
    const struct sensor *s = sensor_at(sensor);
    uint64_t rest = sensor_packets(sensor, packets_per_day);
    uint64_t days = (uint64_t)sensor_observed_days(s);
    struct rng rng;

    rng_seed(&rng, mix64_pair(seed, 0x57433a00u + (uint64_t)sensor));
    plan->count = 0;
    plan->weights[0] = 0;
    for (int d = 0; d < QUARTER_DAYS; d++) {
        plan->weights[d + 1] = plan->weights[d] + (sensor_observes(s, d) ? day_weight(d) : 0);
    }
    for (int k = 0; k < TOP_PORTS; k++) {
        uint64_t quota = sensor_place_packets(sensor, packets_per_day, k);
        uint64_t taken = planned_count_port(planned, s->top[k].proto, s->top[k].port);
        add_stream(plan, &rng, STREAM_PORT, s->top[k], quota > taken ? quota - taken : 0);
        rest -= quota;
    }
    add_tails(plan, &rng, s, rest);
    if (s->link != LINK_RAW) { // a raw link carries nothing but IP, and no broadcasts
        struct port_id none = {0, 0};
        add_stream(plan, &rng, STREAM_LOCAL, none, days * (2 + packets_per_day / 150));
        add_stream(plan, &rng, STREAM_ARP, none, days * (2 + packets_per_day / 100));
    }
}

// This stream's packets on this day: its quota times the day's weight, with the remainders carried
// over, so that the days add up to the quota.
static uint64_t day_count(const struct stream_plan *plan, const struct stream *stream, int day)
{
    uint64_t total = plan->weights[QUARTER_DAYS];
    uint64_t before = (stream->quota * plan->weights[day] + stream->phase) / total;
    uint64_t after = (stream->quota * plan->weights[day + 1] + stream->phase) / total;

    return after - before;
}

static int schedule_add(struct schedule *schedule, const struct event *event)
{
    if (schedule->count == schedule->allocated) {
        size_t n = schedule->allocated == 0 ? 1024 : schedule->allocated * 2;
        struct event *events = reallocarray(schedule->events, n, sizeof(*events));
        if (events == NULL) {
            return -ENOMEM;
        }
        schedule->events = events;
        schedule->allocated = n;
    }
    schedule->events[schedule->count++] = *event;
    return 0;
}

// A time of the day by the hours' weights; the last four seconds are left to repetitions.
static uint64_t draw_time(struct rng *rng, int day)
{
    uint32_t n = rng_below(rng, 96);
    int hour = 0;

    while (n >= hour_weight(hour)) {
        n -= hour_weight(hour);
        hour++;
    }
    return (uint64_t)day * DAY_US + (uint64_t)hour * 3600u * 1000000u +
           rng_next(rng) % (3596u * 1000000u);
}

// Fragments come in pairs; other packets are repeated now and then: at once, or as a SYN is,
// after one and three seconds.
static uint32_t burst_length(enum stream_kind kind, struct rng *rng)
{
    if (kind == STREAM_FRAGMENT) {
        return 2;
    }
    uint32_t n = rng_below(rng, 16);
    return n == 0 ? 3 : n == 1 ? 2 : 1;
}

static uint64_t repetition_delay(enum stream_kind kind, uint64_t seed, uint16_t part)
{
    bool at_once = kind == STREAM_FRAGMENT || (seed & 0x100) != 0;

    if (at_once) {
        return part * (uint64_t)(200 + seed % 4000);
    }
    return part == 0 ? 0 : part == 1 ? 1000000u : 3000000u;
}

static int add_stream_day(struct schedule *schedule, const struct stream_plan *plan, uint16_t index,
                          int day, struct rng *rng)
{
    const struct stream *stream = &plan->streams[index];
    uint64_t left = stream->kind == STREAM_FRAGMENT ? 2 * day_count(plan, stream, day)
                                                    : day_count(plan, stream, day);

    while (left > 0) {
        uint32_t length = burst_length(stream->kind, rng);
        uint64_t base = draw_time(rng, day);
        uint64_t seed = rng_next(rng);

        for (uint16_t part = 0; part < length && left > 0; part++, left--) {
            struct event event = {
                .time_us = base + repetition_delay(stream->kind, seed, part),
                .seed = seed,
                .stream = index,
                .part = part,
            };
            int r = schedule_add(schedule, &event);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int add_planned_day(struct schedule *schedule, const struct planned_list *planned, int day)
{
    size_t i = planned_find(planned, (uint64_t)day * DAY_US);
    size_t end = planned_find(planned, (uint64_t)(day + 1) * DAY_US);

    for (; i < end; i++) {
        struct event event = {
            .time_us = planned->items[i].time_us,
            .seed = i,
            .stream = STREAM_PLANNED,
        };
        int r = schedule_add(schedule, &event);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int compare_event(const void *pa, const void *pb)
{
    const struct event *a = pa;
    const struct event *b = pb;

    if (a->time_us != b->time_us) {
        return a->time_us < b->time_us ? -1 : 1;
    }
    if (a->stream != b->stream) {
        return a->stream < b->stream ? -1 : 1;
    }
    if (a->seed != b->seed) {
        return a->seed < b->seed ? -1 : 1;
    }
    return (int)a->part - (int)b->part;
}

int schedule_day(struct schedule *schedule, const struct stream_plan *plan,
                 const struct sensor *sensor, int day, const struct planned_list *planned,
                 struct rng *rng)
{
    bool first = day == 0 || !sensor_observes(sensor, day - 1);
    bool last = day == QUARTER_DAYS - 1 || !sensor_observes(sensor, day + 1);

    schedule->count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        int r = add_stream_day(schedule, plan, (uint16_t)i, day, rng);
        if (r < 0) {
            return r;
        }
    }
    int r = add_planned_day(schedule, planned, day);
    if (r < 0) {
        return r;
    }
    if (schedule->count > 1) {
        qsort(schedule->events, schedule->count, sizeof(*schedule->events), compare_event);
        if (first) {
            schedule->events[0].time_us -= schedule->events[0].time_us % DAY_US;
        }
        if (last) {
            schedule->events[schedule->count - 1].time_us = (uint64_t)(day + 1) * DAY_US - 1;
        }
    }
    return 0;
}

void schedule_release(struct schedule *schedule)
{
    free(schedule->events);
    *schedule = (struct schedule){0};
}
