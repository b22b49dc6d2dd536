#include "sensor/sensor_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/bundle.h"
#include "sensor/batch.h"

#define FIELD(name) offsetof(struct sensor_values, name)

const char sensor_conf_minimal[] = "  [collector]\n"
                                   "  endpoint = tcp://192.0.2.1:4455\n"
                                   "  server_key = (40 characters, from the collector's owner)\n"
                                   "  [capture]\n"
                                   "  interface = eth0\n";

static const struct conf_key keys[] = {
    {"sensor", "name", CONF_TEXT, FIELD(name), NULL, false, 0, 0,
     "the name under which the collector knows it; for rotate"},
    {"sensor", "key", CONF_TEXT, FIELD(key), SENSOR_KEY_DEFAULT, false, 0, 0,
     "key file, made by: hirundo-sensor keygen -c FILE"},
    {"sensor", "user", CONF_TEXT, FIELD(user), NULL, false, 0, 0,
     "user to become after opening the interface, when started as root"},
    {"collector", "endpoint", CONF_LIST, FIELD(endpoint), NULL, true, 0, 0,
     "collectors, the preferred first: tcp://ADDRESS:PORT, numeric"},
    {"collector", "server_key", CONF_TEXT, FIELD(server_key), NULL, true, 0, 0,
     "the collector's public key (Z85 or hex)"},
    {"collector", "next_endpoint", CONF_LIST, FIELD(next_endpoint), NULL, false, 0, 0,
     "where the collector serves the key that will follow server_key"},
    {"collector", "next_server_key", CONF_TEXT, FIELD(next_server_key), NULL, false, 0, 0,
     "that key"},
    {"uplink", "max_kbit", CONF_INTEGER, FIELD(max_kbit), "0", false, 0, 10000000,
     "bandwidth limit, kbit/s, of all that is sent; 0: none"},
    {"capture", "interface", CONF_TEXT, FIELD(interface), NULL, false, 0, 0,
     "network interface to listen on, or any; needed by run"},
    {"capture", "snaplen", CONF_INTEGER, FIELD(snaplen), "128", false, CAPTURE_SNAPLEN_MIN,
     CAPTURE_SNAPLEN_MAX, "bytes taken of each frame"},
    {"capture", "ring", CONF_BYTES, FIELD(ring), "4M", false, CAPTURE_RING_MIN, CAPTURE_RING_MAX,
     "kernel ring, bytes"},
    {"capture", "exclude", CONF_LIST, FIELD(exclude), NULL, false, 0, 0,
     "not looked at: CIDR[:tcp/PORT|:udp/PORT] of the operator's own SSH, NTP, DNS"},
    {"flow", "window", CONF_DURATION, FIELD(window_ms), "60s", false, WINDOW_MS_MIN, WINDOW_MS_MAX,
     "length of a flow's window; divides 15 minutes"},
    {"flow", "table", CONF_INTEGER, FIELD(table), "65536", false, TABLE_SIZE_MIN, TABLE_SIZE_MAX,
     "flows in memory"},
    {"batch", "max_delay", CONF_DURATION, FIELD(max_delay_ms), "60s", false, MAX_DELAY_MS_MIN,
     MAX_DELAY_MS_MAX, "longest time a flow waits to be sent"},
    {"spool", "path", CONF_TEXT, FIELD(spool_path), SENSOR_SPOOL_DEFAULT, false, 0, 0,
     "the queue on disk"},
    {"spool", "cap", CONF_BYTES, FIELD(spool_cap), "256M", false, SPOOL_CAP_MIN, SPOOL_CAP_MAX,
     "bytes the spool may take; beyond, the oldest batches go"},
    {"log", "level", CONF_TEXT, FIELD(log_level), "notice", false, 0, 0,
     "error, warning, notice, info or debug"},
};

static int parse_port(const char *text, uint16_t *ret)
{
    char *end;
    errno = 0;
    long port = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || port < 1 || port > 65535)
        return -EINVAL;
    *ret = (uint16_t)port;
    return 0;
}

int endpoint_parse(const char *text, struct ip_addr *ret_address, uint16_t *ret_port,
                   struct errmsg *e)
{
    char host[64];
    struct ip_addr address = {0};
    uint16_t port;
    const char *colon = strrchr(text, ':');
    if (strncmp(text, "tcp://", 6) != 0 || !colon || colon < text + 6 ||
        parse_port(colon + 1, &port) < 0 || (size_t)(colon - text - 6) >= sizeof host)
        return errmsg_set(e, -EINVAL, "\"%s\" is not tcp://ADDRESS:PORT", text);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text - 6), text + 6);
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        address.version = inet_pton(AF_INET6, host + 1, address.b) == 1 ? 6 : 0;
    } else if (inet_pton(AF_INET, host, address.b) == 1) {
        address.version = 4;
    }
    if (address.version == 0)
        return errmsg_set(e, -EINVAL,
                          "\"%s\" is not a numeric address (IPv6 in brackets): a sensor asks no "
                          "DNS; write the collector's address",
                          text);
    *ret_address = address;
    *ret_port = port;
    return 0;
}

// A collector's address: to be connected to, and left out of the capture.
static int add_endpoint(struct sensor_conf *c, const char *text, const char *key, struct errmsg *e)
{
    struct capture_exclude *x = &c->excludes[c->n_excludes];
    if (c->n_endpoints == UPLINK_ENDPOINTS_MAX)
        return errmsg_set(e, -EINVAL, "[collector] endpoint and next_endpoint: at most %d together",
                          UPLINK_ENDPOINTS_MAX);
    if (c->n_excludes == CAPTURE_EXCLUDES_MAX)
        return errmsg_set(e, -EINVAL, "[capture] exclude: at most %d with the collectors",
                          CAPTURE_EXCLUDES_MAX);
    // either side's port: a collector on this very host is also seen being written to (lo, any)
    *x = (struct capture_exclude){.proto = 6, .has_port = true};
    int r = endpoint_parse(text, &x->net, &x->port, e);
    if (r < 0) {
        errmsg_prefix(e, "[collector] %s", key);
        return r;
    }
    x->prefix_len = x->net.version == 4 ? 32 : 128;
    c->n_excludes++;
    c->endpoints[c->n_endpoints++] = text;
    return 0;
}

static int parse_next(struct sensor_conf *c, struct errmsg *e)
{
    struct sensor_values *v = &c->values;
    if (!v->next_server_key && v->next_endpoint.n == 0)
        return 0;
    if (!v->next_server_key || v->next_endpoint.n == 0)
        return errmsg_set(
            e, -EINVAL, "[collector] next_server_key and next_endpoint belong together: give both");
    if (key_parse(v->next_server_key, c->next_server_key) < 0)
        return errmsg_set(
            e, -EINVAL,
            "[collector] next_server_key is not a key: 40 characters of Z85 or 64 of hex");
    int r = 0;
    for (size_t i = 0; r == 0 && i < v->next_endpoint.n; i++, c->n_next++)
        r = add_endpoint(c, v->next_endpoint.items[i], "next_endpoint", e);
    return r;
}

static int parse_collector(struct sensor_conf *c, struct errmsg *e)
{
    struct sensor_values *v = &c->values;
    if (key_parse(v->server_key, c->server_key) < 0)
        return errmsg_set(e, -EINVAL,
                          "[collector] server_key is not a key: 40 characters of Z85 or 64 of hex");
    if (v->endpoint.n == 0 || v->endpoint.n > UPLINK_ENDPOINTS_MAX)
        return errmsg_set(e, -EINVAL, "[collector] endpoint: give 1 to %d", UPLINK_ENDPOINTS_MAX);
    int r = 0;
    for (size_t i = 0; r == 0 && i < v->endpoint.n; i++)
        r = add_endpoint(c, v->endpoint.items[i], "endpoint", e);
    return r == 0 ? parse_next(c, e) : r;
}

static int parse_values(struct sensor_conf *c, struct errmsg *e)
{
    struct sensor_values *v = &c->values;
    if (v->name && !sensor_name_is_valid(v->name))
        return errmsg_set(e, -EINVAL, "[sensor] name \"%.80s\" is no sensor's name", v->name);
    if (log_level_parse(v->log_level, &c->log_level) < 0)
        return errmsg_set(e, -EINVAL,
                          "[log] level \"%s\": it is error, warning, notice, info or debug",
                          v->log_level);
    if (900000 % v->window_ms != 0)
        return errmsg_set(e, -EINVAL,
                          "[flow] window must divide 15 minutes: 60s, 30s, 5m and such");
    if (v->exclude.n > CAPTURE_EXCLUDES_MAX)
        return errmsg_set(e, -EINVAL, "[capture] exclude: at most %d", CAPTURE_EXCLUDES_MAX);
    for (size_t i = 0; i < v->exclude.n; i++) {
        int r = capture_exclude_parse(v->exclude.items[i], &c->excludes[c->n_excludes], e);
        if (r < 0) {
            errmsg_prefix(e, "[capture] exclude");
            return r;
        }
        c->n_excludes++;
    }
    return parse_collector(c, e);
}

int sensor_conf_read(const char *path, struct sensor_conf **ret, struct errmsg *e)
{
    struct sensor_conf *c = calloc(1, sizeof *c);
    if (!c)
        return errmsg_set(e, -ENOMEM, "out of memory");
    int r = conf_read(keys, ARRAY_SIZE(keys), path, &c->values, e);
    if (r < 0) {
        free(c);
        return r;
    }
    r = parse_values(c, e);
    if (r < 0) {
        errmsg_prefix(e, "%s", path);
        sensor_conf_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void sensor_conf_free(struct sensor_conf *c)
{
    if (!c)
        return;
    conf_free(keys, ARRAY_SIZE(keys), &c->values);
    free(c);
}

void sensor_conf_dump(const struct sensor_conf *c, FILE *out)
{
    conf_dump(keys, ARRAY_SIZE(keys), &c->values, out);
}

// The unit file's stand-in for a credential that is not there: an end of line.
static bool is_stand_in(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= 1;
}

int sensor_keys_read(const char *path, struct sensor_keys *ret, struct errmsg *e)
{
    char next_path[PATH_MAX], present[PATH_MAX], next[PATH_MAX];
    struct sensor_keys read = {0};
    int n = snprintf(next_path, sizeof next_path, "%s" SENSOR_KEY_NEXT, path);
    if (n < 0 || (size_t)n >= sizeof next_path ||
        key_file_place(path, present, sizeof present) < 0 ||
        key_file_place(next_path, next, sizeof next) < 0)
        return errmsg_set(e, -ENAMETOOLONG, "[sensor] key: too long a path");
    int r = key_file_read(present, &read.present, e);
    if (r < 0)
        return r;
    r = strcmp(next, next_path) != 0 && is_stand_in(next) ? -ENOENT
                                                          : key_file_read(next, &read.next, e);
    read.has_next = r == 0;
    if (r == 0 || r == -ENOENT)
        *ret = read;
    sensor_keys_wipe(&read);
    return r == -ENOENT ? 0 : r;
}

void sensor_keys_wipe(struct sensor_keys *k)
{
    key_pair_wipe(&k->present);
    key_pair_wipe(&k->next);
}
