#include "truth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "cleanup.h"
#include "json.h"

// What a system with windows of this length calls observed: from the first packet's window to the
// last one's.
#define WINDOW_US ((uint64_t)60 * 1000000u)

static void put_address(struct json *json, uint32_t addr)
{
    char text[INET_ADDRSTRLEN] = "";
    struct in_addr in = {htonl(addr)};

    (void)inet_ntop(AF_INET, &in, text, sizeof(text));
    json_string(json, NULL, text);
}

static void put_time(struct json *json, const char *key, uint64_t us)
{
    char text[UTC_TIME_SIZE];

    time_utc(us, text);
    json_string(json, key, text);
}

static void put_port(struct json *json, const char *key, uint8_t proto, uint16_t port)
{
    char label[PORT_LABEL];
    struct port_count count = {.port = {proto, port}};

    port_label(&count, label);
    json_string(json, key, label);
}

static uint64_t host_packets(const struct truth *truth)
{
    uint64_t n = 0;

    for (int i = 0; i < SENSOR_COUNT; i++) {
        n += truth->sensors[i].hosting;
    }
    return n;
}

static uint32_t hosts_seen(const struct truth *truth)
{
    uint64_t all[HOST_WORDS] = {0};

    for (int r = 0; r < REGION_COUNT; r++) {
        for (int i = 0; i < HOST_WORDS; i++) {
            all[i] |= truth->regions[r].sources[i];
        }
    }
    return host_set_size(all);
}

// percentile_disc(0.5) over packets
static int median_ttl(const uint64_t ttls[256], uint64_t packets)
{
    uint64_t sum = 0;

    for (int ttl = 0; ttl < 256; ttl++) {
        sum += ttls[ttl];
        if (sum * 2 >= packets && sum > 0) {
            return ttl;
        }
    }
    return 0;
}

static void put_region(struct json *json, const struct truth *truth, int r)
{
    const struct region_truth *region = &truth->regions[r];
    uint64_t packets = 0;
    int lowest = -1;
    int highest = -1;

    for (int ttl = 0; ttl < 256; ttl++) {
        packets += region->ttls[ttl];
        if (region->ttls[ttl] > 0) {
            lowest = lowest < 0 ? ttl : lowest;
            highest = ttl;
        }
    }
    json_open_inline(json, NULL, '{');
    json_string(json, "region", region_at(r)->country);
    json_number(json, "ttl_min", (uint64_t)lowest);
    json_number(json, "ttl_max", (uint64_t)highest);
    json_number(json, "ttl_median", (uint64_t)median_ttl(region->ttls, packets));
    json_number(json, "sources", host_set_size(region->sources));
    json_number(json, "packets", packets);
    json_close(json, '}');
}

static void put_host_days(struct json *json, const struct truth *truth)
{
    json_open(json, "daily_source_hosts", '[');
    for (int d = 0; d < QUARTER_DAYS; d++) {
        for (int p = 0; p < CAMPAIGN_PORTS; p++) {
            const struct host_day *day = &truth->days[d][p];
            char date[DAY_DATE_SIZE];

            day_date(d, date);
            json_open_inline(json, NULL, '{');
            json_string(json, "day", date);
            put_port(json, "port", PROTO_TCP, campaign_ports[p]);
            json_number(json, "hosts", host_set_size(day->sources));
            json_number(json, "packets", day->packets);
            json_close(json, '}');
        }
    }
    json_close(json, ']');
}

static void put_hosting(struct json *json, const struct truth *truth)
{
    const struct organisation *org = organisation_at(0);

    json_open(json, "hosting", '{');
    json_string(json, "name", org->name);
    json_number(json, "as", org->as);
    json_open_inline(json, "prefixes", '[');
    for (int i = 0; i < ORG_PREFIX_MAX && org->prefixes[i] != NULL; i++) {
        json_string(json, NULL, org->prefixes[i]);
    }
    json_close(json, ']');
    json_open_inline(json, "ports", '[');
    for (int p = 0; p < CAMPAIGN_PORTS; p++) {
        put_port(json, NULL, PROTO_TCP, campaign_ports[p]);
    }
    json_close(json, ']');
    json_number(json, "packets", host_packets(truth));
    json_number(json, "all_sources", hosts_seen(truth));
    json_open(json, "ttl_by_region", '[');
    for (int r = 0; r < REGION_COUNT; r++) {
        put_region(json, truth, r);
    }
    json_close(json, ']');
    json_open_inline(json, "ttl_origin", '{');
    json_string(json, "verdict", "consistent_with_home");
    json_open(json, "weak", '[');
    json_string(json, NULL, "MY");
    json_close(json, ']');
    json_close(json, '}');
    put_host_days(json, truth);
    json_open(json, "sources", '[');
    for (int i = 0; i < HOST_COUNT; i++) {
        put_address(json, truth->hosts[i]);
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void put_controls(struct json *json, const struct truth *truth)
{
    json_open(json, "controls", '{');
    json_open(json, "sources", '[');
    for (int i = 0; i < CONTROL_COUNT; i++) {
        put_address(json, truth->controls[i]);
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void put_surge(struct json *json, const struct surge *surge)
{
    char from[DAY_DATE_SIZE];
    char last[DAY_DATE_SIZE];

    day_date(surge->from, from);
    day_date(surge->to - 1, last);
    json_open_inline(json, NULL, '{');
    put_port(json, "port", surge->port.proto, surge->port.port);
    json_string(json, "first_day", from);
    json_string(json, "last_day", last);
    json_number(json, "sources_per_day", surge->sources_per_day);
    json_number(json, "packets", surge->packets);
    json_open(json, "sensors", '[');
    for (int s = 0; s < SENSOR_COUNT; s++) {
        if ((surge->sensors >> s & 1) != 0) {
            json_string(json, NULL, sensor_at(s)->code);
        }
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void put_surges(struct json *json, const struct truth *truth)
{
    if (!truth->surges.planted) {
        return;
    }
    json_number(json, "surge_seed", truth->surges.seed);
    json_open(json, "surges", '[');
    for (int i = 0; i < SURGE_COUNT; i++) {
        put_surge(json, &truth->surges.surges[i]);
    }
    json_close(json, ']');
}

static void put_files(struct json *json, const struct sensor_truth *s)
{
    json_open(json, "files", '[');
    for (size_t i = 0; i < s->file_count; i++) {
        const struct capture_truth *file = &s->files[i];

        json_open_inline(json, NULL, '{');
        json_string(json, "name", file->name);
        put_time(json, "first", file->first_us);
        put_time(json, "last", file->last_us);
        put_time(json, "observed_from", file->first_us / WINDOW_US * WINDOW_US);
        put_time(json, "observed_to", (file->last_us / WINDOW_US + 1) * WINDOW_US);
        json_number(json, "frames", file->frames);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void put_top(struct json *json, const struct sensor_truth *s)
{
    struct port_count top[TOP_PORTS];

    truth_top(s, TOP_PORTS, top);
    json_open(json, "top10", '[');
    for (int k = 0; k < TOP_PORTS; k++) {
        char label[PORT_LABEL];

        port_label(&top[k], label);
        json_open_inline(json, NULL, '{');
        json_string(json, "port", label);
        json_number(json, "packets", top[k].packets);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void put_months(struct json *json, const struct sensor_truth *s)
{
    static const char *const months[QUARTER_MONTHS] = {"2023-01", "2023-02", "2023-03"};

    json_open_inline(json, "packets_by_month", '{');
    for (int m = 0; m < QUARTER_MONTHS; m++) {
        json_number(json, months[m], s->months[m]);
    }
    json_close(json, '}');
}

static void put_kinds(struct json *json, const struct sensor_truth *s)
{
    static const char *const classes[CLASS_COUNT] = {"local", "fragment", "backscatter", "scan",
                                                     "other"};
    static const char *const tools[TOOL_COUNT] = {"none", "mirai", "masscan", "zmap",
                                                  "window_5656"};

    json_open_inline(json, "classes", '{');
    for (int i = 0; i < CLASS_COUNT; i++) {
        json_number(json, classes[i], s->classes[i]);
    }
    json_close(json, '}');
    json_open_inline(json, "tools", '{');
    for (int i = TOOL_NONE + 1; i < TOOL_COUNT; i++) {
        json_number(json, tools[i], s->tools[i]);
    }
    json_close(json, '}');
}

static void put_counts(struct json *json, const struct sensor_truth *s)
{
    json_number(json, "frames", s->frames);
    json_number(json, "non_ip", s->non_ip);
    json_number(json, "ipv4", s->ipv4);
    json_number(json, "ipv6", s->ipv6);
    json_number(json, "tcp", s->tcp);
    json_number(json, "udp", s->udp);
    json_number(json, "icmp", s->icmp);
    json_number(json, "icmpv6", s->icmpv6);
    json_number(json, "other", s->other);
    json_number(json, "fragments", s->fragments);
    json_number(json, "ip_bytes", s->ip_bytes);
    json_number(json, "hosting_packets", s->hosting);
    json_number(json, "control_packets", s->controls);
    json_number(json, "surge_packets", s->surges);
}

static void put_sensor(struct json *json, const struct truth *truth, int i)
{
    const struct sensor *sensor = sensor_at(i);
    const struct sensor_truth *s = &truth->sensors[i];

    json_open(json, NULL, '{');
    json_string(json, "code", sensor->code);
    json_string(json, "country", sensor->country);
    json_bool(json, "home", sensor_is_home(i));
    json_string(json, "label_en", sensor->label_en);
    json_string(json, "label_ja", sensor->label_ja);
    put_counts(json, s);
    put_kinds(json, s);
    put_months(json, s);
    put_files(json, s);
    put_top(json, s);
    json_close(json, '}');
}

static uint64_t observed_days(const struct sensor *sensor, int month)
{
    uint64_t n = 0;

    for (int d = 0; d < QUARTER_DAYS; d++) {
        n += day_month(d) == month && sensor_observes(sensor, d);
    }
    return n;
}

static void put_averages(struct json *json, const struct truth *truth)
{
    static const char *const buckets[QUARTER_MONTHS] = {"2023-01-01", "2023-02-01", "2023-03-01"};

    json_open(json, "average", '[');
    for (int m = 0; m < QUARTER_MONTHS; m++) {
        for (int home = 1; home >= 0; home--) {
            uint64_t packets = 0;
            uint64_t days = 0;

            for (int i = 0; i < SENSOR_COUNT; i++) {
                if (sensor_is_home(i) == (home == 1)) {
                    packets += truth->sensors[i].months[m];
                    days += observed_days(sensor_at(i), m);
                }
            }
            json_open_inline(json, NULL, '{');
            json_string(json, "bucket", buckets[m]);
            json_string(json, "side", home == 1 ? "home" : "overseas");
            json_number(json, "packets", packets);
            json_number(json, "sensor_days", days);
            json_ratio(json, "average", packets, days);
            json_close(json, '}');
        }
    }
    json_close(json, ']');
}

static void put_totals(struct json *json, const struct truth *truth)
{
    struct sensor_truth totals = {0};

    for (int i = 0; i < SENSOR_COUNT; i++) {
        const struct sensor_truth *s = &truth->sensors[i];

        totals.frames += s->frames;
        totals.non_ip += s->non_ip;
        totals.ipv4 += s->ipv4;
        totals.ipv6 += s->ipv6;
        totals.tcp += s->tcp;
        totals.udp += s->udp;
        totals.icmp += s->icmp;
        totals.icmpv6 += s->icmpv6;
        totals.other += s->other;
        totals.fragments += s->fragments;
        totals.ip_bytes += s->ip_bytes;
        totals.hosting += s->hosting;
        totals.controls += s->controls;
        totals.surges += s->surges;
    }
    json_open(json, "totals", '{');
    put_counts(json, &totals);
    json_close(json, '}');
}

static void put_document(struct json *json, const struct truth *truth)
{
    json_open(json, NULL, '{');
    json_number(json, "seed", truth->seed);
    json_number(json, "packets_per_day", truth->packets_per_day);
    json_open_inline(json, "period", '{');
    put_time(json, "from", 0);
    put_time(json, "to", QUARTER_DAYS * DAY_US);
    json_string(json, "time_zone", "Asia/Tokyo");
    json_close(json, '}');
    json_string(json, "home_country", HOME_COUNTRY);
    put_totals(json, truth);
    put_averages(json, truth);
    put_surges(json, truth);
    json_open(json, "sensors", '[');
    for (int i = 0; i < SENSOR_COUNT; i++) {
        put_sensor(json, truth, i);
    }
    json_close(json, ']');
    put_hosting(json, truth);
    put_controls(json, truth);
    json_close(json, '}');
}

int truth_write(const struct truth *truth, const char *path)
{
    _cleanup_(fclosep) FILE *file = fopen(path, "we");
    struct json json = {.file = file};

    if (file == NULL) {
        return -errno;
    }
    put_document(&json, truth);
    if (fflush(file) != 0 || ferror(file) != 0) {
        return errno != 0 ? -errno : -EIO;
    }
    return 0;
}
