// The sensor's configuration file, checked: what common/conf cannot know (addresses, keys, levels)
// is parsed here, once.
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "common/conf.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/util.h"
#include "sensor/capture.h"
#include "sensor/uplink.h"

#define SENSOR_KEY_DEFAULT   "/etc/hirundo/sensor.key"
#define SENSOR_SPOOL_DEFAULT "/var/lib/hirundo-sensor/spool.db"

// As it stands in the file.
struct sensor_values {
    char *name;
    char *key;
    char *user;
    struct conf_list endpoint;
    char *server_key;
    struct conf_list next_endpoint;
    char *next_server_key;
    int64_t max_kbit;
    char *interface;
    int64_t snaplen;
    int64_t ring;
    struct conf_list exclude;
    int64_t window_ms;
    int64_t table;
    int64_t max_delay_ms;
    char *spool_path;
    int64_t spool_cap;
    char *log_level;
};

struct sensor_conf {
    struct sensor_values values;
    uint8_t server_key[KEY_SIZE];
    uint8_t next_server_key[KEY_SIZE];
    // The present key's, then n_next of the key that follows.
    const char *endpoints[UPLINK_ENDPOINTS_MAX];
    size_t n_endpoints, n_next;
    enum log_level log_level;
    // Those of the file first, then one for each collector.
    struct capture_exclude excludes[CAPTURE_EXCLUDES_MAX];
    size_t n_excludes;
};

// The sensor's identity: its key file, and the one that will follow (KEY.next, made by rotate).
struct sensor_keys {
    struct key_pair present;
    struct key_pair next;
    bool has_next;
};

#define SENSOR_KEY_NEXT ".next" // behind the key file's name

// -ENOENT: there is no key file; -ENAMETOOLONG; else what key_file_read says.
int sensor_keys_read(const char *path, struct sensor_keys *ret, struct errmsg *e);
void sensor_keys_wipe(struct sensor_keys *keys);

// Every problem is one line that names file and key. -EINVAL and what opening the file said.
int sensor_conf_read(const char *path, struct sensor_conf **ret, struct errmsg *e);
void sensor_conf_free(struct sensor_conf *c);
DEFINE_CLEANUP(struct sensor_conf *, sensor_conf_free);
// A complete configuration file.
void sensor_conf_dump(const struct sensor_conf *c, FILE *out);

// tcp://ADDRESS:PORT, numeric (a sensor asks no DNS); IPv6 in brackets. -EINVAL with *e filled.
int endpoint_parse(const char *text, struct ip_addr *ret_address, uint16_t *ret_port,
                   struct errmsg *e);

// What --help of check shows: five lines that suffice.
extern const char sensor_conf_minimal[];
