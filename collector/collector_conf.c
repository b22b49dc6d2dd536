#include "collector/collector_conf.h"

#include <string.h>

#include "collector/metrics_http.h"
#include "common/log.h"

#define FIELD(name) offsetof(struct collector_conf, name)
#define MIB         (1LL << 20)

static const struct conf_key keys[] = {
    {"collector", "endpoint", CONF_LIST, FIELD(endpoints), "tcp://127.0.0.1:4455", false, 0, 0,
     "where sensors connect: tcp://ADDRESS:PORT, several allowed; port 0 takes a free one"},
    {"collector", "public", CONF_LIST, FIELD(public_endpoints), NULL, false, 0, 0,
     "the endpoints as sensors reach them, for bundles: tcp://ADDRESS:PORT, numeric; default: "
     "endpoint, where that names an address"},
    {"collector", "key", CONF_TEXT, FIELD(key_path), "/var/lib/hirundo/collector.key", false, 0, 0,
     "the collector's key file; serve makes it at its first start"},
    {"collector", "next_key", CONF_TEXT, FIELD(next_key_path), NULL, false, 0, 0,
     "file of the key that will follow, served at next_endpoint beside the present one"},
    {"collector", "next_endpoint", CONF_LIST, FIELD(next_endpoints), NULL, false, 0, 0,
     "where next_key is served: other ports than endpoint's"},
    {"collector", "next_public", CONF_LIST, FIELD(next_public_endpoints), NULL, false, 0, 0,
     "next_endpoint as sensors reach it, for bundles"},
    {"collector", "writers", CONF_INTEGER, FIELD(writers), "2", false, 1, COLLECTOR_WRITERS_MAX,
     "database connections that write; a sensor always has the same one"},
    {"collector", "memory", CONF_BYTES, FIELD(memory), "64M", false, 4 * MIB, 65536 * MIB,
     "bytes of batches that may wait for the database, all sensors together"},
    {"collector", "limit_connections", CONF_BOOL, FIELD(limit_connections), "on", false, 0, 0,
     "let few connections through from where many bring no message; off where a proxy stands in "
     "front, whose address all have"},
    {"enrolment", "operator_key", CONF_TEXT, FIELD(operator_key), "/var/lib/hirundo/operator.key",
     false, 0, 0,
     "the key that signs bundles; sensor add makes it when it is missing; serve needs it not"},
    {"sharing", "pseudonym_key", CONF_TEXT, FIELD(pseudonym_key), "/var/lib/hirundo/pseudonym.key",
     false, 0, 0,
     "the key from which sensors get their names towards partners; partner add makes it when it is "
     "missing; serve needs it not"},
    {"database", "connection", CONF_TEXT, FIELD(connection), NULL, false, 0, 0,
     "libpq connection string, such as host=/run/postgresql dbname=hirundo; else the PG* "
     "environment"},
    {"database", "disk", CONF_LIST, FIELD(disks), NULL, false, 0, 0,
     "directories on the database's disks, where this host has them: data, WAL, tablespaces"},
    {"database", "min_free", CONF_BYTES, FIELD(min_free), "2G", false, MIB,
     1024LL * 1024 * 1024 * MIB,
     "bytes that stay free on [database] disk: below, no data is taken"},
    {"metrics", "listen", CONF_TEXT, FIELD(metrics), "127.0.0.1:4456", false, 0, 0,
     "where Prometheus finds /metrics: ADDRESS:PORT, numeric, port 0 takes a free one; or off"},
    {"log", "level", CONF_TEXT, FIELD(log_level), "notice", false, 0, 0,
     "error, warning, notice, info or debug"},
};

// What the table of keys cannot know.
static int check(const struct collector_conf *conf, const char *path, enum log_level *ret_level,
                 struct errmsg *e)
{
    if (log_level_parse(conf->log_level, ret_level) < 0)
        return errmsg_set(e, -EINVAL,
                          "%s: [log] level = %.40s: must be error, warning, notice, info or debug",
                          path, conf->log_level);
    if (!conf->next_key_path != (conf->next_endpoints.n == 0))
        return errmsg_set(e, -EINVAL,
                          "%s: [collector] next_key and next_endpoint belong together: give both",
                          path);
    if (conf->metrics && strcmp(conf->metrics, "off") != 0 &&
        metrics_listen_check(conf->metrics, e) < 0) {
        errmsg_prefix(e, "%s", path);
        return -EINVAL;
    }
    return 0;
}

int collector_conf_read(const char *path, struct collector_conf *ret, struct errmsg *e)
{
    struct collector_conf conf = {0};
    int r = path ? conf_read(keys, ARRAY_SIZE(keys), path, &conf, e)
                 : conf_defaults(keys, ARRAY_SIZE(keys), &conf, e);
    if (r < 0)
        return r;
    enum log_level level = LOG_LEVEL_NOTICE;
    r = check(&conf, path ? path : "configuration", &level, e);
    if (r < 0) {
        collector_conf_free(&conf);
        return r;
    }
    log_set_level(level);
    *ret = conf;
    return 0;
}

void collector_conf_free(struct collector_conf *conf)
{
    conf_free(keys, ARRAY_SIZE(keys), conf);
}
