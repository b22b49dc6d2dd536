// Enrolment on the sensor's side: from a checked bundle to files on this machine, and the proof
// that it works.
#pragma once

#include "common/bundle.h"
#include "sensor/sensor_conf.h"

struct enroll_options {
    const char *conf_path;
    const char *key_path;   // NULL: sensor.key beside the configuration
    const char *spool_path; // NULL: the default
    const char *interface;  // NULL: the one with the default route
    bool replace;           // overwrite another configuration
};

#define ENROLL_PATH_MAX 512

struct enroll_result {
    char key_path[ENROLL_PATH_MAX];
    char interface[32];
    uint8_t public_key[KEY_SIZE];
    bool again; // everything was there already
};

// Writes key file, configuration (0600) and the spool's directory. Safe to repeat: an existing key
// is kept, the same configuration is left as it is, another one is refused unless `replace`.
int enroll_write(const struct bundle *b, const struct enroll_options *options,
                 struct enroll_result *ret, struct errmsg *e);

// The interface of the IPv4 or IPv6 default route. -ENOENT with *e filled.
int enroll_default_interface(char *ret, size_t size, struct errmsg *e);

// Waits until the first batch is committed, saying on standard error what is missing whenever that
// changes. 0: committed; -ETIMEDOUT: *e says in one sentence what is missing.
int enroll_wait(const struct sensor_conf *conf, const char *conf_path, const struct key_pair *keys,
                int timeout_s, struct errmsg *e);
