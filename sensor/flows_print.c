#include "sensor/flows_print.h"

#include <arpa/inet.h>
#include <netinet/in.h>
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

#define VALUE_MAX   INET6_ADDRSTRLEN                     // the longest is an address
#define OPTIONS_MAX (OPT_KINDS_MAX * sizeof "mss=65535") // but for these
#define LINE_MAX    (COLUMNS * (VALUE_MAX + 24) + OPTIONS_MAX)

struct row {
    char value[COLUMNS][VALUE_MAX];
    char options[OPTIONS_MAX];
};

static void row_clear(struct row *row)
{
    for (unsigned i = 0; i < COLUMNS; i++)
        row->value[i][0] = '\0';
    row->options[0] = '\0';
}

// Millions of rows: printf would take most of the time.
static char *put_number(char *at, uint64_t value)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (n)
        *at++ = digits[--n];
    *at = '\0';
    return at;
}

static char *put_text(char *at, const char *text)
{
    size_t n = strlen(text);
    memcpy(at, text, n + 1);
    return at + n;
}

static void set_number(struct row *row, enum column column, uint64_t value)
{
    put_number(row->value[column], value);
}

static void set_flags(struct row *row, uint8_t flags)
{
    static const char hex[] = "0123456789abcdef";
    char *at = put_text(row->value[TCP_FLAGS], "0x00");
    at[-2] = hex[flags >> 4];
    at[-1] = hex[flags & 15];
}

static void set_time(struct row *row, int64_t ts_ms)
{
    int64_t ms = ts_ms % 1000;
    ms += ms < 0 ? 1000 : 0;
    time_t s = (time_t)((ts_ms - ms) / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    const unsigned fields[] = {
        (unsigned)tm.tm_year + 1900,
        (unsigned)tm.tm_mon + 1,
        (unsigned)tm.tm_mday,
        (unsigned)tm.tm_hour,
        (unsigned)tm.tm_min,
        (unsigned)tm.tm_sec,
        (unsigned)ms,
    };
    static const uint8_t last_digit[] = {3, 6, 9, 12, 15, 18, 22};
    char *text = row->value[TS];
    put_text(text, "0000-00-00T00:00:00.000Z");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        char *digit = text + last_digit[i];
        for (unsigned value = fields[i]; value; value /= 10)
            *digit-- = (char)('0' + value % 10);
    }
}

static void set_address(struct row *row, enum column column, const struct ip_addr *address)
{
    char *at = row->value[column];
    if (address->version == 6) {
        inet_ntop(AF_INET6, address->b, at, VALUE_MAX);
    } else if (address->version == 4) {
        for (unsigned i = 0; i < 4; i++) {
            at = put_number(at, address->b[i]);
            *at++ = i < 3 ? '.' : '\0';
        }
    }
}

static void set_port(struct row *row, uint8_t proto, uint16_t port)
{
    set_number(row, PORT, port);
    if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
        set_number(row, ICMP_TYPE, port >> 8);
        set_number(row, ICMP_CODE, port & 0xff);
    }
}

// Like p0f's: mss=1460,sok,ts,nop,ws=7
static void set_options(struct row *row, const struct tcp_options *options)
{
    static const char *const names[] = {"eol", "nop", NULL, NULL, "sok", "sack", NULL, NULL, "ts"};
    char *at = row->options;
    *at = '\0';
    for (uint8_t i = 0; i < options->n; i++) {
        uint8_t kind = options->kinds[i];
        if (i)
            *at++ = ',';
        if (kind == 2)
            at = put_number(put_text(at, "mss="), options->mss);
        else if (kind == 3 && options->wscale != WSCALE_NONE)
            at = put_number(put_text(at, "ws="), options->wscale);
        else if (kind == OPT_KIND_MORE)
            at = put_text(at, "...");
        else if (kind < ARRAY_SIZE(names) && names[kind])
            at = put_text(at, names[kind]);
        else
            at = put_number(put_text(at, "?"), kind);
    }
}

static char *put_csv(char *at, unsigned column, const char *value)
{
    bool quoted = column == TCP_OPTIONS && strchr(value, ',');
    if (column)
        *at++ = ',';
    if (quoted)
        *at++ = '"';
    at = put_text(at, value);
    if (quoted)
        *at++ = '"';
    return at;
}

static char *put_json(char *at, unsigned column, const char *value)
{
    bool quoted = columns[column].text && *value;
    at = put_text(at, column ? ",\"" : "{\"");
    at = put_text(at, columns[column].name);
    at = put_text(at, quoted ? "\":\"" : "\":");
    at = put_text(at, *value ? value : "null");
    if (quoted)
        *at++ = '"';
    return at;
}

static void print_row(FILE *out, enum flows_format format, const struct row *row)
{
    char line[LINE_MAX], *at = line;
    for (unsigned i = 0; i < COLUMNS; i++) {
        const char *value = i == TCP_OPTIONS ? row->options : row->value[i];
        at = format == FLOWS_CSV ? put_csv(at, i, value) : put_json(at, i, value);
    }
    at = put_text(at, format == FLOWS_CSV ? "\n" : "}\n");
    fwrite(line, 1, (size_t)(at - line), out);
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
    struct row row;
    row_clear(&row);
    set_time(&row, flow->ts_ms);
    set_number(&row, DURATION_MS, flow->duration_ms);
    set_address(&row, SRC, &flow->src);
    set_address(&row, DST, &flow->dst);
    set_number(&row, PROTO, flow->proto);
    if (flow->has & HAS_PORT) {
        set_port(&row, flow->proto, flow->port);
        if (flow->proto == IPPROTO_TCP)
            set_flags(&row, flow->tcp_flags);
    }
    if (flow->has & HAS_SRC_PORT)
        set_number(&row, SRC_PORT, flow->src_port);
    set_number(&row, TTL, flow->ttl);
    set_number(&row, MARKS, flow->marks);
    set_number(&row, PACKETS, flow->packets);
    set_number(&row, BYTES, flow->bytes);
    if (flow->has & HAS_TCP_WINDOW)
        set_number(&row, TCP_WINDOW, flow->tcp_window);
    if (flow->has & HAS_IP_ID)
        set_number(&row, IP_ID, flow->ip_id);
    set_number(&row, IP_LEN, flow->ip_len);
    set_options(&row, &flow->options);
    print_row(out, format, &row);
}

void flows_print_flood(FILE *out, enum flows_format format, const struct flood *flood)
{
    struct row row;
    row_clear(&row);
    set_time(&row, flood->ts_ms);
    set_address(&row, DST, &flood->dst);
    set_number(&row, PROTO, flood->proto);
    if (flood->has_port) {
        set_port(&row, flood->proto, flood->port);
        if (flood->proto == IPPROTO_TCP)
            set_flags(&row, flood->tcp_flags);
    }
    set_number(&row, PACKETS, flood->packets);
    set_number(&row, BYTES, flood->bytes);
    set_number(&row, TTL_MIN, flood->ttl_min);
    set_number(&row, TTL_MAX, flood->ttl_max);
    if (flood->has_sources)
        set_number(&row, SOURCES, flood->sources_estimate);
    print_row(out, format, &row);
}
