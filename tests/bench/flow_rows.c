#include "flow_rows.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define BOTS      20000u
#define LIFE_DAYS 20u
#define SCANNERS  600u
#define VICTIMS   300u
#define HOSTS     310u
#define COMPANY   8435u
#define HOME      3u // the first sensors stand at home

struct generator {
    uint64_t state;
    uint32_t day, sensors;
    flow_row_fn *fn;
    void *data;
};

static uint64_t mix(uint64_t z)
{
    // splitmix64's finalizer
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t draw(struct generator *g)
{
    return mix(g->state += 0x9e3779b97f4a7c15u);
}

static uint32_t below(struct generator *g, uint32_t n)
{
    return (uint32_t)(((draw(g) >> 32) * n) >> 32);
}

// Port p of the ranking, by a law near 1/rank over the well-known ones.
static int32_t ranked_port(uint64_t r)
{
    static const uint16_t ports[] = {
        23,   22,   2323, 445,   80,   8080, 6379, 3389, 443,  5555, 5060,  37215, 1433, 8443,
        81,   7547, 8081, 60023, 3306, 5900, 123,  1023, 9530, 2375, 52869, 8088,  8000, 5432,
        9200, 26,   88,   8888,  25,   21,   139,  1900, 53,   161,  11211, 27017};
    const uint32_t n = sizeof ports / sizeof *ports;
    // the cube of a uniform draw
    uint64_t u = r & 0xffff, v = r >> 16 & 0xffff, w = r >> 32 & 0xffff;
    return ports[(((u * v >> 16) * w >> 16) * n) >> 16];
}

// A scanner's: three in eight of the well-known ones, else any, low ones more often.
static int32_t scanned_port(struct generator *g)
{
    uint64_t r = draw(g);
    if (r >> 61 < 3)
        return ranked_port(r);
    uint32_t port =
        r >> 60 & 1 ? (uint32_t)r & 0xffff : (uint32_t)((r & 0xffff) * (r >> 16 & 0xffff) >> 16);
    return (int32_t)(port ? port : 1);
}

static bool at_home(uint64_t source)
{
    // as bench_sql.py registers them: one /16 in twenty-five, and the company
    return source < UINT32_MAX && (source >> 16) % 25 == 6;
}

// Initial TTL of the source, less hops that never change between it and the sensor.
static int16_t ttl(struct generator *g, const struct flow_row *row, uint64_t kind)
{
    static const uint8_t initial[] = {64, 64, 64, 64, 64, 128, 128, 255, 255, 32};
    uint64_t path = mix(row->source * 1009 + (uint64_t)row->sensor);
    bool home = at_home(row->source);
    bool near = home && row->sensor <= (int16_t)HOME;
    int hops = near ? 5 + (int)(path % 7) : (home ? 14 : 8) + (int)(path % 14);
    int first = kind == 3 ? 255 : initial[mix(row->source) % sizeof initial];
    // some paths change within the day
    hops += below(g, 50) == 0;
    return (int16_t)(first > hops ? first - hops : 1);
}

static uint64_t address(uint64_t identity)
{
    uint64_t r = mix(identity);
    if (r % 100 == 0)
        return (r >> 8) | IPV6_BIT;
    return (1 + (r >> 8) % 222) << 24 | (r >> 24 & 0xffffff);
}

static void bot(struct generator *g, struct flow_row *row)
{
    // the square of a uniform draw: some are busier
    uint64_t r = draw(g);
    uint32_t slot = (uint32_t)(((r & 0xffff) * (r >> 16 & 0xffff) >> 16) * BOTS >> 16);
    uint64_t born = (g->day + slot % LIFE_DAYS) / LIFE_DAYS;
    uint64_t identity = (uint64_t)slot << 32 | born << 8 | 1;
    uint64_t habit = mix(identity ^ 0x5555);
    row->source = address(identity);
    row->port = ranked_port(mix(habit + (r >> 40) % (1 + habit % 3)));
    row->marks = habit >> 60 < 6 ? 1 : 0;
    row->window = (int32_t)(habit >> 20 & 0xffff);
    row->options = habit >> 60 < 6 ? 1 : 2 + (int32_t)(habit >> 40) % 60;
    row->proto = row->port == 5060 || row->port == 123 || row->port == 1900 ? 17 : 6;
}

static void scanner(struct generator *g, struct flow_row *row)
{
    uint64_t r = draw(g);
    uint64_t identity = ((r & 0xffff) * (r >> 16 & 0xffff) >> 16) * SCANNERS >> 16;
    uint64_t habit = mix(identity ^ 0xaaaa);
    row->source = address(identity << 8 | 2);
    row->port = scanned_port(g);
    row->marks = habit % 3 == 0 ? 2 : 0;
    row->window = habit % 3 == 1 ? 65535 : 1024;
    row->ip_id = habit % 3 == 1 ? 54321 : row->ip_id;
    row->options = 62 + (int32_t)(habit % 8);
    row->proto = habit >> 32 & 7 ? 6 : 17;
    if ((habit >> 40 & 15) == 0) {
        row->proto = 1;
        row->port = 2048;
    }
}

static void backscatter(struct generator *g, struct flow_row *row)
{
    uint64_t identity = (uint64_t)g->day / 3 << 20 | below(g, VICTIMS);
    uint64_t habit = mix(identity ^ 0x3333);
    row->source = address(identity << 8 | 4);
    row->flags = habit & 1 ? 18 : 20;
    row->src_port = habit & 2 ? 80 : 443;
    row->port = (int32_t)(1024 + below(g, 64000));
}

static uint64_t fill(struct generator *g, struct flow_row *row)
{
    uint32_t kind = below(g, 100);
    row->proto = 6;
    row->flags = 2;
    row->src_port = (int32_t)(1024 + below(g, 64000));
    row->ip_id = (int32_t)below(g, 65536);
    if (kind < 52) {
        bot(g, row);
    } else if (kind < 93) {
        scanner(g, row);
    } else if (kind < 98) {
        backscatter(g, row);
    } else if (kind < 99) {
        row->source = address(draw(g));
        row->port = ranked_port(draw(g));
    } else {
        scanner(g, row);
        row->flags = 16;
    }
    if (row->proto != 6) {
        row->flags = row->marks = 0;
        row->options = -1;
        row->window = -1;
    }
    if (row->proto == 1)
        row->src_port = -1;
    return kind;
}

static void finish(struct generator *g, struct flow_row *row, uint64_t kind)
{
    uint32_t more = below(g, 100);
    row->packets = more < 86 ? 1 : more < 95 ? 2 : 3;
    row->duration = row->packets == 1 ? 0 : row->packets == 2 ? 1000 : 3000;
    row->ip_len = row->proto == 17 ? 28 + (int32_t)below(g, 400) : row->options > 0 ? 60 : 40;
    row->bytes = row->packets * row->ip_len;
    row->dst_no = 1;
    row->ttl = ttl(g, row, kind);
    g->fn(row, g->data);
}

// The company's hosts: each to each sensor with an even chance on two days of three, to 22/TCP.
static void write_company(struct generator *g, int16_t sensor, int64_t ts, uint32_t minute)
{
    if (g->day < COMPANY || g->day > COMPANY + 28 || g->day % 3 == 0)
        return;
    for (uint32_t host = 0; host < HOSTS; host++) {
        uint64_t when = mix((uint64_t)g->day << 32 | (uint64_t)sensor << 16 | host);
        if (when & 1 || (when >> 8) % 1440 != minute)
            continue;
        struct flow_row row = {
            .ts = ts + (int64_t)(when >> 32) % MINUTE_US, .sensor = sensor, .port = 22};
        row.source = 0xc6120000u + host;
        row.proto = 6;
        row.flags = 2;
        row.src_port = 40000;
        row.window = 64240;
        row.ip_id = (int32_t)below(g, 65536);
        row.options = 2;
        finish(g, &row, 3);
    }
}

static int compare_rows(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void write_day(struct generator *g, uint32_t packets)
{
    // rows a minute and sensor, so that the packets of a day come to what was asked for (1.19 a
    // row)
    double each = packets / 1.19 / 1440;
    for (uint32_t minute = 0; minute < 1440; minute++) {
        int64_t start = (g->day * INT64_C(1440) + minute) * MINUTE_US;
        for (int16_t sensor = 1; sensor <= (int16_t)g->sensors; sensor++) {
            double due = each + (double)below(g, 1u << 20) / (1u << 20);
            int64_t at[256] = {0};
            uint32_t n = due < 256 ? (uint32_t)due : 255;
            for (uint32_t i = 0; i < n; i++)
                at[i] = start + below(g, MINUTE_US);
            qsort(at, n, sizeof *at, compare_rows);
            for (uint32_t i = 0; i < n; i++) {
                struct flow_row row = {.ts = at[i], .sensor = sensor};
                uint64_t kind = fill(g, &row);
                finish(g, &row, kind == 3 ? 0 : kind);
            }
            write_company(g, sensor, start, minute);
        }
    }
}

void flow_rows(uint32_t sensors, uint32_t packets, uint32_t day, flow_row_fn *fn, void *data)
{
    struct generator g = {.sensors = sensors, .day = day, .fn = fn, .data = data};
    g.state = mix(day);
    write_day(&g, packets);
}
