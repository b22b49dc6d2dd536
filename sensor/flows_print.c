#include "sensor/flows_print.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "common/util.h"

// The columns in their order; a column's value for one row is text, empty where it does not apply.
enum column {
    TS,
    DURATION_MS,
    SRC,
    DST,
    PROTO,
    PORT,
    SRC_PORT,
    ICMP_TYPE,
    ICMP_CODE,
    TTL,
    TCP_FLAGS,
    MARKS,
    PACKETS,
    BYTES,
    TCP_WINDOW,
    IP_ID,
    IP_LEN,
    TCP_OPTIONS,
    TTL_MIN,
    TTL_MAX,
    SOURCES,
    COLUMNS,
};

static const struct {
    const char *name;
    bool text; // quoted in json
} columns[COLUMNS] = {
    [TS] = {"ts", true},
    [DURATION_MS] = {"duration_ms", false},
    [SRC] = {"src", true},
    [DST] = {"dst", true},
    [PROTO] = {"proto", false},
    [PORT] = {"port", false},
    [SRC_PORT] = {"src_port", false},
    [ICMP_TYPE] = {"icmp_type", false},
    [ICMP_CODE] = {"icmp_code", false},
    [TTL] = {"ttl", false},
    [TCP_FLAGS] = {"tcp_flags", true},
    [MARKS] = {"marks", false},
    [PACKETS] = {"packets", false},
    [BYTES] = {"bytes", false},
    [TCP_WINDOW] = {"tcp_window", false},
    [IP_ID] = {"ip_id", false},
    [IP_LEN] = {"ip_len", false},
    [TCP_OPTIONS] = {"tcp_options", true},
    [TTL_MIN] = {"ttl_min", false},
    [TTL_MAX] = {"ttl_max", false},
    [SOURCES] = {"sources", false},
};

struct row {
    char value[COLUMNS][INET6_ADDRSTRLEN];
    char options[OPT_KINDS_MAX * sizeof "mss=65535"]; // longer than the rest
};

__attribute__((format(printf, 3, 4))) static void set(struct row *row, enum column column,
                                                      const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(row->value[column], sizeof row->value[column], format, ap);
    va_end(ap);
}

static void set_time(struct row *row, int64_t ts_ms)
{
    int64_t ms = ts_ms % 1000;
    ms += ms < 0 ? 1000 : 0;
    time_t s = (time_t)((ts_ms - ms) / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    set(row, TS, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
}

static void set_address(struct row *row, enum column column, const struct ip_addr *address)
{
    if (address->version)
        inet_ntop(address->version == 4 ? AF_INET : AF_INET6, address->b, row->value[column],
                  sizeof row->value[column]);
}

static void set_port(struct row *row, uint8_t proto, uint16_t port)
{
    set(row, PORT, "%u", port);
    if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
        set(row, ICMP_TYPE, "%u", port >> 8);
        set(row, ICMP_CODE, "%u", port & 0xff);
    }
}

// Like p0f's: mss=1460,sok,ts,nop,ws=7
static void set_options(struct row *row, const struct tcp_options *options)
{
    static const char *const names[] = {"eol", "nop", NULL, NULL, "sok", "sack", NULL, NULL, "ts"};
    char *at = row->options;
    for (uint8_t i = 0; i < options->n; i++) {
        uint8_t kind = options->kinds[i];
        if (i)
            *at++ = ',';
        if (kind == 2)
            at += sprintf(at, "mss=%u", options->mss);
        else if (kind == 3 && options->wscale != WSCALE_NONE)
            at += sprintf(at, "ws=%u", options->wscale);
        else if (kind == OPT_KIND_MORE)
            at += sprintf(at, "...");
        else if (kind < ARRAY_SIZE(names) && names[kind])
            at += sprintf(at, "%s", names[kind]);
        else
            at += sprintf(at, "?%u", kind);
    }
    *at = '\0';
}

static void print_row(FILE *out, enum flows_format format, const struct row *row)
{
    for (unsigned i = 0; i < COLUMNS; i++) {
        const char *value = i == TCP_OPTIONS ? row->options : row->value[i];
        if (format == FLOWS_CSV) {
            const char *quote = strchr(value, ',') ? "\"" : "";
            fprintf(out, "%s%s%s%s", i ? "," : "", quote, value, quote);
        } else {
            const char *quote = columns[i].text && *value ? "\"" : "";
            fprintf(out, "%s\"%s\":%s%s%s", i ? "," : "{", columns[i].name, quote,
                    *value ? value : "null", quote);
        }
    }
    fputs(format == FLOWS_CSV ? "\n" : "}\n", out);
}

void flows_print_header(FILE *out, enum flows_format format)
{
    if (format != FLOWS_CSV)
        return;
    for (unsigned i = 0; i < COLUMNS; i++)
        fprintf(out, "%s%s", i ? "," : "", columns[i].name);
    fputc('\n', out);
}

void flows_print_flow(FILE *out, enum flows_format format, const struct flow *flow)
{
    struct row row = {0};
    set_time(&row, flow->ts_ms);
    set(&row, DURATION_MS, "%" PRIu32, flow->duration_ms);
    set_address(&row, SRC, &flow->src);
    set_address(&row, DST, &flow->dst);
    set(&row, PROTO, "%u", flow->proto);
    if (flow->has & HAS_PORT) {
        set_port(&row, flow->proto, flow->port);
        if (flow->proto == IPPROTO_TCP)
            set(&row, TCP_FLAGS, "0x%02x", flow->tcp_flags);
    }
    if (flow->has & HAS_SRC_PORT)
        set(&row, SRC_PORT, "%u", flow->src_port);
    set(&row, TTL, "%u", flow->ttl);
    set(&row, MARKS, "%u", flow->marks);
    set(&row, PACKETS, "%" PRIu32, flow->packets);
    set(&row, BYTES, "%" PRIu64, flow->bytes);
    if (flow->has & HAS_TCP_WINDOW)
        set(&row, TCP_WINDOW, "%u", flow->tcp_window);
    if (flow->has & HAS_IP_ID)
        set(&row, IP_ID, "%u", flow->ip_id);
    set(&row, IP_LEN, "%" PRIu32, flow->ip_len);
    set_options(&row, &flow->options);
    print_row(out, format, &row);
}

void flows_print_flood(FILE *out, enum flows_format format, const struct flood *flood)
{
    struct row row = {0};
    set_time(&row, flood->ts_ms);
    set_address(&row, DST, &flood->dst);
    set(&row, PROTO, "%u", flood->proto);
    if (flood->has_port) {
        set_port(&row, flood->proto, flood->port);
        if (flood->proto == IPPROTO_TCP)
            set(&row, TCP_FLAGS, "0x%02x", flood->tcp_flags);
    }
    set(&row, PACKETS, "%" PRIu64, flood->packets);
    set(&row, BYTES, "%" PRIu64, flood->bytes);
    set(&row, TTL_MIN, "%u", flood->ttl_min);
    set(&row, TTL_MAX, "%u", flood->ttl_max);
    if (flood->has_sources)
        set(&row, SOURCES, "%" PRIu64, flood->sources_estimate);
    print_row(out, format, &row);
}
