// Adds up one day of flow_rows.h as the rollup job does, for benchmarks of more data than the job
// would get through in their time: a file of binary COPY for each daily rollup. bench_sql.py
// compares what this writes of a day with what the job makes of it.
//
//   gen_rollups SENSORS PACKETS DAY DIRECTORY     DAY: days since 2000-01-01, of Asia/Tokyo
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "copy_out.h"
#include "flow_rows.h"

#define SENSORS_MAX 128u
#define COUNTRIES   26u // the last: not known
#define HOME        6u
#define DAY_US      (1440 * MINUTE_US)
#define ZONE_US     (9 * 60 * MINUTE_US)
#define COMPANY     0xc6120000u // /22
#define FLOOD_CODE  (6 * 131072 + 80)
#define FLOOD_SUM   15045 // of a flooded sensor: bench's ten rows
#define FLOOD_ROWS  10
#define FLOOD_LOW   800
#define BUSY        1000 // hirundo.rollup_busy_packets

// In the order of their names; all but the first are hosts'.
enum class { BACKSCATTER, OTHER, SCAN, CLASSES };
static const char *const class_names[] = {"backscatter", "other", "scan"};
// As sql_data.py gives them to /16 networks.
static const char *const countries[COUNTRIES] = {
    "CN", "US", "RU", "BR", "IN", "VN", "JP", "TW", "KR", "DE", "NL", "FR", "GB",
    "IR", "ID", "TH", "TR", "UA", "EG", "MX", "AR", "ZA", "PL", "IT", "ES", ""};

enum table {
    SOURCE_PORT,
    PORT,
    NETWORK_PORT,
    PORT_COUNTRY,
    SOURCE,
    SCANNER,
    COUNTRY,
    SENSOR,
    TTL,
    DAILY,
    SOURCE_PORT_MONTH = DAILY,
    SOURCE_TTL_MONTH,
    TABLES
};
static const char *const table_names[] = {
    "source_port_day", "port_day",          "network_port_day", "port_country_day",
    "source_day",      "scanner_day",       "country_day",      "sensor_day",
    "ttl_day",         "source_port_month", "source_ttl_month"};

struct record {
    uint64_t source;
    int32_t code, packets, bytes;
    int16_t sensor, ttl;
    int32_t class;
};

// All of a source on a port in a class.
struct pair {
    uint64_t source, sensors[SENSORS_MAX / 64];
    int64_t packets, bytes;
    int32_t code, class;
};

struct sum {
    int64_t packets, bytes, flood, sources;
    int32_t ttl_min, ttl_max;
};

struct rollups {
    FILE *out[TABLES];
    struct record *records;
    struct pair *pairs;
    size_t count, room, pair_count;
    int64_t first_us, past_us;
    int32_t day; // since 2000-01-01, which is what the wire has
    uint32_t sensors;
    struct sum port[CLASSES][SENSORS_MAX + 1], port_country[CLASSES][COUNTRIES];
    struct sum country[SENSORS_MAX + 1][CLASSES][COUNTRIES], sensor[SENSORS_MAX + 1][CLASSES];
    int64_t ttl[SENSORS_MAX + 1][256][CLASSES];
};

static uint32_t country_of(uint64_t source)
{
    if (source & IPV6_BIT)
        return 1;
    uint32_t h = (uint32_t)source >> 16;
    return h == COMPANY >> 16 || h == (COMPANY >> 16) + 1 ? HOME : h % (COUNTRIES - 1);
}

static int64_t as_of(uint64_t source)
{
    return source & IPV6_BIT ? 64511 : 64512 + (int64_t)(source >> 16) % 1000;
}

static bool is_flooded(int32_t day, uint32_t sensor)
{
    return (sensor + (uint32_t)day) % 30 == 0;
}

static int32_t class_of(const struct flow_row *row)
{
    if (row->proto != 6)
        return SCAN;
    if ((row->flags & 18) == 18 || row->flags & 4)
        return BACKSCATTER;
    return (row->flags & 18) == 2 ? SCAN : OTHER;
}

static void add_row(const struct flow_row *row, void *data)
{
    struct rollups *r = data;
    if (row->ts < r->first_us || row->ts >= r->past_us)
        return;
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 1 << 16;
        r->records = realloc(r->records, r->room * sizeof *r->records);
        if (!r->records)
            abort(); // a benchmark that has no memory
    }
    bool ports = row->proto == 6 || row->proto == 17;
    r->records[r->count++] = (struct record){.source = row->source,
                                             .code = row->proto * 131072 + (ports ? row->port : 0),
                                             .packets = row->packets,
                                             .bytes = row->bytes,
                                             .sensor = row->sensor,
                                             .ttl = row->ttl,
                                             .class = class_of(row)};
}

#define COMPARE(field)                                                                             \
    if (a->field != b->field)                                                                      \
    return a->field < b->field ? -1 : 1

static int compare_records(const void *x, const void *y)
{
    const struct record *a = x, *b = y;
    COMPARE(code);
    COMPARE(source);
    COMPARE(class);
    COMPARE(sensor);
    COMPARE(ttl);
    return 0;
}

static int compare_pairs(const void *x, const void *y)
{
    const struct pair *a = x, *b = y;
    COMPARE(source);
    COMPARE(code);
    COMPARE(class);
    return 0;
}

static void sum_add(struct sum *s, int64_t packets, int64_t bytes, int64_t sources)
{
    s->packets += packets;
    s->bytes += bytes;
    s->sources += sources;
}

static void write_estimates(FILE *out, bool flooded, int64_t sensors)
{
    if (!flooded) {
        copy_null(out);
        copy_null(out);
        return;
    }
    copy_int8(out, FLOOD_LOW);
    copy_int8(out, FLOOD_LOW * FLOOD_ROWS * sensors);
}

// columns: day, sensor_id, port_code, class, packets, bytes, flood_packets, source_days,
// flood_sources_min, flood_sources_max, ttl_min, ttl_max
static void write_port(struct rollups *r, int32_t code, int32_t class, uint32_t sensor)
{
    const struct sum *s = &r->port[class][sensor];
    FILE *out = r->out[PORT];
    copy_row(out, 12);
    copy_int4(out, r->day);
    copy_int2(out, (int32_t)sensor);
    copy_int4(out, code);
    copy_text(out, class_names[class]);
    copy_int8(out, s->packets);
    copy_int8(out, s->bytes);
    copy_int8(out, s->flood);
    copy_int8(out, s->sources);
    write_estimates(out, s->flood > 0, 1);
    copy_int2(out, s->ttl_min);
    copy_int2(out, s->ttl_max);
}

// columns: day, port_code, class, packets, bytes, flood_packets, sources, flood_sources_min,
// flood_sources_max, sensors, hosts, host_sensors
static void write_network_port(struct rollups *r, int32_t code, int32_t class, int64_t sources,
                               int64_t hosts, int64_t host_sensors)
{
    struct sum all = {0};
    int32_t sensors = 0, flooded = 0;
    for (uint32_t i = 1; i <= r->sensors; i++) {
        const struct sum *s = &r->port[class][i];
        sum_add(&all, s->packets, s->bytes, 0);
        all.flood += s->flood;
        sensors += s->packets > 0;
        flooded += s->flood > 0;
    }
    FILE *out = r->out[NETWORK_PORT];
    copy_row(out, 12);
    copy_int4(out, r->day);
    copy_int4(out, code);
    copy_text(out, class_names[class]);
    copy_int8(out, all.packets);
    copy_int8(out, all.bytes);
    copy_int8(out, all.flood);
    copy_int8(out, sources);
    write_estimates(out, flooded > 0, flooded);
    copy_int4(out, sensors);
    copy_int4(out, (int32_t)hosts);
    copy_int4(out, (int32_t)host_sensors);
}

static void add_floods(struct rollups *r)
{
    for (uint32_t i = 1; i <= r->sensors; i++) {
        if (!is_flooded(r->day, i))
            continue;
        struct sum *s = &r->port[SCAN][i];
        if (s->packets == 0)
            s->ttl_min = INT_MAX;
        sum_add(s, FLOOD_SUM, FLOOD_SUM * 40, 0);
        s->flood += FLOOD_SUM;
        s->ttl_min = s->ttl_min < 30 ? s->ttl_min : 30;
        s->ttl_max = s->ttl_max > 120 ? s->ttl_max : 120;
        sum_add(&r->port_country[SCAN][COUNTRIES - 1], FLOOD_SUM, FLOOD_SUM * 40, 0);
        sum_add(&r->country[i][SCAN][COUNTRIES - 1], FLOOD_SUM, FLOOD_SUM * 40, 0);
        sum_add(&r->sensor[i][SCAN], FLOOD_SUM, FLOOD_SUM * 40, 0);
        r->sensor[i][SCAN].flood += FLOOD_SUM;
    }
}

// columns of port_country_day: day, port_code, class, country, packets, bytes, sources
static void end_port(struct rollups *r, int32_t code, const int64_t sources[CLASSES], int64_t hosts)
{
    if (code == FLOOD_CODE)
        add_floods(r);
    int64_t host_sensors = 0;
    for (uint32_t i = 1; i <= r->sensors; i++)
        host_sensors += r->port[OTHER][i].sources > 0 || r->port[SCAN][i].sources > 0;
    int32_t first = sources[OTHER] ? OTHER : SCAN;
    for (int32_t c = 0; c < CLASSES; c++) {
        if (sources[c] > 0)
            write_network_port(r, code, c, sources[c], c == first ? hosts : 0,
                               c == first ? host_sensors : 0);
        for (uint32_t i = 1; i <= r->sensors; i++)
            if (r->port[c][i].packets > 0)
                write_port(r, code, c, i);
        for (uint32_t k = 0; k < COUNTRIES; k++) {
            const struct sum *s = &r->port_country[c][k];
            if (s->packets == 0)
                continue;
            copy_row(r->out[PORT_COUNTRY], 7);
            copy_int4(r->out[PORT_COUNTRY], r->day);
            copy_int4(r->out[PORT_COUNTRY], code);
            copy_text(r->out[PORT_COUNTRY], class_names[c]);
            copy_text(r->out[PORT_COUNTRY], countries[k]);
            copy_int8(r->out[PORT_COUNTRY], s->packets);
            copy_int8(r->out[PORT_COUNTRY], s->bytes);
            copy_int4(r->out[PORT_COUNTRY], (int32_t)s->sources);
        }
    }
    memset(r->port, 0, sizeof r->port);
    memset(r->port_country, 0, sizeof r->port_country);
}

// columns: day, sensor_id, src, port_code, class, ttl, fragment, packets, bytes
static void write_source_port(struct rollups *r, const struct record *e)
{
    FILE *out = r->out[SOURCE_PORT];
    copy_row(out, 9);
    copy_int4(out, r->day);
    copy_int2(out, e->sensor);
    copy_inet(out, e->source);
    copy_int4(out, e->code);
    copy_text(out, class_names[e->class]);
    copy_int2(out, e->ttl);
    copy_bool(out, false);
    copy_int8(out, e->packets);
    copy_int8(out, e->bytes);
}

// A row of source_port_day, into what it counts for.
static void add_record(struct rollups *r, const struct record *e, struct pair *pair)
{
    uint32_t country = country_of(e->source);
    struct sum *s = &r->port[e->class][e->sensor];
    uint64_t bit = UINT64_C(1) << (e->sensor - 1) % 64,
             *word = &pair->sensors[(e->sensor - 1) / 64];
    s->ttl_min = s->packets == 0 || e->ttl < s->ttl_min ? e->ttl : s->ttl_min;
    s->ttl_max = e->ttl > s->ttl_max ? e->ttl : s->ttl_max;
    sum_add(s, e->packets, e->bytes, !(*word & bit));
    *word |= bit;
    pair->packets += e->packets;
    pair->bytes += e->bytes;
    sum_add(&r->port_country[e->class][country], e->packets, e->bytes, 0);
    sum_add(&r->country[e->sensor][e->class][country], e->packets, e->bytes, 0);
    sum_add(&r->sensor[e->sensor][e->class], e->packets, e->bytes, 0);
    r->ttl[e->sensor][e->ttl][e->class] += e->packets;
    write_source_port(r, e);
}

// Equal keys into one record.
static void merge_records(struct rollups *r)
{
    if (r->count == 0)
        return;
    qsort(r->records, r->count, sizeof *r->records, compare_records);
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (n > 0 && compare_records(&r->records[n - 1], &r->records[i]) == 0) {
            r->records[n - 1].packets += r->records[i].packets;
            r->records[n - 1].bytes += r->records[i].bytes;
        } else {
            r->records[n++] = r->records[i];
        }
    }
    r->count = n;
}

static void by_port(struct rollups *r)
{
    int64_t sources[CLASSES] = {0}, hosts = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct record *e = &r->records[i], *last = i ? e - 1 : NULL;
        bool new_port = !last || last->code != e->code;
        bool new_source = new_port || last->source != e->source;
        if (last && new_port) {
            end_port(r, last->code, sources, hosts);
            memset(sources, 0, sizeof sources);
            hosts = 0;
        }
        if (new_source || last->class != e->class) {
            r->pairs[r->pair_count++] =
                (struct pair){.source = e->source, .code = e->code, .class = e->class};
            sources[e->class]++;
            r->port_country[e->class][country_of(e->source)].sources++;
            // classes come in order, so backscatter before hosts'
            hosts += e->class != BACKSCATTER && (new_source || last->class == BACKSCATTER);
        }
        add_record(r, e, &r->pairs[r->pair_count - 1]);
    }
    if (r->count > 0)
        end_port(r, r->records[r->count - 1].code, sources, hosts);
}

// columns: day, src, class, packets, bytes, ports, sensors, asn, country, organisation_id,
// known_scanner
static void write_source(struct rollups *r, const struct pair *p, int32_t ports)
{
    FILE *out = r->out[SOURCE];
    copy_row(out, 11);
    copy_int4(out, r->day);
    copy_inet(out, p->source);
    copy_text(out, class_names[p->class]);
    copy_int8(out, p->packets);
    copy_int8(out, p->bytes);
    copy_int4(out, ports);
    copy_varbit(out, p->sensors, (r->sensors + 7) / 8 * 8);
    copy_int8(out, as_of(p->source));
    copy_text(out, countries[country_of(p->source)]);
    if (p->source >> 10 == COMPANY >> 10)
        copy_int4(out, 1);
    else
        copy_null(out);
    copy_bool(out, false);
}

// columns of scanner_day: day, src, ports, sensors, packets
static void end_source(struct rollups *r, const struct pair sums[CLASSES],
                       const int32_t ports[CLASSES], int32_t host_ports)
{
    int32_t sensors = 0;
    for (int32_t c = 0; c < CLASSES; c++) {
        if (ports[c] == 0)
            continue;
        write_source(r, &sums[c], ports[c]);
        for (uint32_t i = 1; i <= r->sensors; i++) {
            if (!(sums[c].sensors[(i - 1) / 64] >> (i - 1) % 64 & 1))
                continue;
            r->sensor[i][c].sources++;
            r->country[i][c][country_of(sums[c].source)].sources++;
        }
    }
    for (uint32_t k = 0; k < SENSORS_MAX / 64; k++)
        sensors += __builtin_popcountll(sums[OTHER].sensors[k] | sums[SCAN].sensors[k]);
    if (host_ports < 5)
        return;
    copy_row(r->out[SCANNER], 5);
    copy_int4(r->out[SCANNER], r->day);
    copy_inet(r->out[SCANNER], ports[OTHER] ? sums[OTHER].source : sums[SCAN].source);
    copy_int4(r->out[SCANNER], host_ports);
    copy_int4(r->out[SCANNER], sensors);
    copy_int8(r->out[SCANNER], sums[OTHER].packets + sums[SCAN].packets);
}

static void by_source(struct rollups *r)
{
    struct pair sums[CLASSES] = {0};
    int32_t ports[CLASSES] = {0}, host_ports = 0;
    qsort(r->pairs, r->pair_count, sizeof *r->pairs, compare_pairs);
    for (size_t i = 0; i < r->pair_count; i++) {
        const struct pair *p = &r->pairs[i], *last = i ? p - 1 : NULL;
        if (last && last->source != p->source) {
            end_source(r, sums, ports, host_ports);
            memset(sums, 0, sizeof sums);
            memset(ports, 0, sizeof ports);
            host_ports = 0;
        }
        bool again = last && last->source == p->source && last->code == p->code &&
                     last->class != BACKSCATTER;
        host_ports += p->class != BACKSCATTER && !again;
        struct pair *s = &sums[p->class];
        s->source = p->source;
        s->class = p->class;
        s->packets += p->packets;
        s->bytes += p->bytes;
        for (uint32_t k = 0; k < SENSORS_MAX / 64; k++)
            s->sensors[k] |= p->sensors[k];
        ports[p->class]++;
    }
    if (r->pair_count > 0)
        end_source(r, sums, ports, host_ports);
}

// columns of country_day: day, sensor_id, class, country, packets, bytes, source_days; of
// sensor_day: day, sensor_id, class, packets, bytes, flood_packets, source_days, flood_sources_min,
// flood_sources_max; of ttl_day: day, sensor_id, ttl, class, packets
static void by_sensor(struct rollups *r, uint32_t i, int32_t class)
{
    const struct sum *s = &r->sensor[i][class];
    if (s->packets > 0) {
        copy_row(r->out[SENSOR], 9);
        copy_int4(r->out[SENSOR], r->day);
        copy_int2(r->out[SENSOR], (int32_t)i);
        copy_text(r->out[SENSOR], class_names[class]);
        copy_int8(r->out[SENSOR], s->packets);
        copy_int8(r->out[SENSOR], s->bytes);
        copy_int8(r->out[SENSOR], s->flood);
        copy_int4(r->out[SENSOR], (int32_t)s->sources);
        write_estimates(r->out[SENSOR], s->flood > 0, 1);
    }
    for (uint32_t k = 0; k < COUNTRIES; k++) {
        s = &r->country[i][class][k];
        if (s->packets == 0)
            continue;
        copy_row(r->out[COUNTRY], 7);
        copy_int4(r->out[COUNTRY], r->day);
        copy_int2(r->out[COUNTRY], (int32_t)i);
        copy_text(r->out[COUNTRY], class_names[class]);
        copy_text(r->out[COUNTRY], countries[k]);
        copy_int8(r->out[COUNTRY], s->packets);
        copy_int8(r->out[COUNTRY], s->bytes);
        copy_int8(r->out[COUNTRY], s->sources);
    }
    for (int32_t ttl = 0; ttl < 256; ttl++) {
        if (r->ttl[i][ttl][class] == 0)
            continue;
        copy_row(r->out[TTL], 5);
        copy_int4(r->out[TTL], r->day);
        copy_int2(r->out[TTL], (int32_t)i);
        copy_int2(r->out[TTL], ttl);
        copy_text(r->out[TTL], class_names[class]);
        copy_int8(r->out[TTL], r->ttl[i][ttl][class]);
    }
}

static int compare_ttls(const void *x, const void *y)
{
    const struct record *a = x, *b = y;
    COMPARE(source);
    COMPARE(sensor);
    COMPARE(ttl);
    return 0;
}

// columns: month, port_code, src, sensor_id, ttl, fragment, class, packets
static void write_source_port_month(struct rollups *r, const struct record *e)
{
    FILE *out = r->out[SOURCE_PORT_MONTH];
    copy_row(out, 8);
    copy_int4(out, r->day);
    copy_int4(out, e->code);
    copy_inet(out, e->source);
    copy_int2(out, e->sensor);
    copy_int2(out, e->ttl);
    copy_bool(out, false);
    copy_text(out, class_names[e->class]);
    copy_int8(out, e->packets);
}

static void busy_ports(struct rollups *r, int64_t flood)
{
    for (size_t from = 0, past; from < r->count; from = past) {
        int32_t code = r->records[from].code;
        int64_t packets = code == FLOOD_CODE ? flood : 0;
        for (past = from; past < r->count && r->records[past].code == code; past++)
            packets += r->records[past].packets;
        for (size_t i = from; packets >= BUSY && i < past; i++)
            write_source_port_month(r, &r->records[i]);
    }
}

// columns: month, src, sensor_id, ttl, packets
static void source_ttls(struct rollups *r)
{
    FILE *out = r->out[SOURCE_TTL_MONTH];
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->records[i].class != BACKSCATTER && r->records[i].code >> 17 != 1)
            r->records[n++] = r->records[i];
    if (n == 0)
        return;
    qsort(r->records, n, sizeof *r->records, compare_ttls);
    for (size_t i = 0, past; i < n; i = past) {
        int64_t packets = 0;
        for (past = i; past < n && compare_ttls(&r->records[past], &r->records[i]) == 0; past++)
            packets += r->records[past].packets;
        copy_row(out, 5);
        copy_int4(out, r->day);
        copy_inet(out, r->records[i].source);
        copy_int2(out, r->records[i].sensor);
        copy_int2(out, r->records[i].ttl);
        copy_int8(out, packets);
    }
}

static void month(struct rollups *r, int32_t days)
{
    int64_t flood = 0;
    for (int32_t d = r->day; d < r->day + days; d++)
        for (uint32_t i = 1; i <= r->sensors; i++)
            flood += is_flooded(d, i) ? FLOOD_SUM : 0;
    busy_ports(r, flood);
    source_ttls(r);
}

static int day(struct rollups *r)
{
    r->pairs = calloc(r->count + 1, sizeof *r->pairs);
    if (!r->pairs)
        return -ENOMEM;
    by_port(r);
    by_source(r);
    for (uint32_t i = 1; i <= r->sensors; i++)
        for (int32_t c = 0; c < CLASSES; c++)
            by_sensor(r, i, c);
    free(r->pairs);
    return 0;
}

static int open_all(struct rollups *r, const char *directory, int from, int past)
{
    for (int i = from; i < past; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", directory, table_names[i]);
        r->out[i] = fopen(path, "w");
        if (!r->out[i]) {
            fprintf(stderr, "%s: %s\n", path, strerror(errno));
            return -errno;
        }
        copy_begin(r->out[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6 || atoi(argv[1]) < 1 || (uint32_t)atoi(argv[1]) > SENSORS_MAX) {
        fprintf(stderr, "usage: %s SENSORS(1-%u) PACKETS DAY DIRECTORY [DAYS]\n", argv[0],
                SENSORS_MAX);
        return 2;
    }
    bool monthly = argc == 6;
    int32_t days = monthly ? atoi(argv[5]) : 1;
    int from = monthly ? DAILY : 0, past = monthly ? TABLES : DAILY;
    struct rollups *r = calloc(1, sizeof *r);
    if (!r || open_all(r, argv[4], from, past) < 0)
        return 1;
    r->sensors = (uint32_t)atoi(argv[1]);
    r->day = atoi(argv[3]);
    r->first_us = r->day * DAY_US - ZONE_US;
    r->past_us = r->first_us + days * DAY_US;
    for (int32_t d = r->day - 1; d < r->day + days; d++)
        flow_rows(r->sensors, (uint32_t)atoi(argv[2]), (uint32_t)d, add_row, r);
    merge_records(r);
    int bad = 0;
    if (monthly)
        month(r, days);
    else
        bad = day(r);
    for (int i = from; i < past; i++)
        bad |= copy_end(r->out[i]) | fclose(r->out[i]);
    free(r->records);
    free(r);
    return bad ? 1 : 0;
}
