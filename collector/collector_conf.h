// The collector's configuration: one typed table (common/conf.h) and the defaults without a file.
#pragma once

#include "common/conf.h"

#define COLLECTOR_WRITERS_MAX 16

struct collector_conf {
    struct conf_list endpoints;        // tcp://ADDRESS:PORT, port 0 or * for any free one
    struct conf_list public_endpoints; // as sensors reach them
    char *key_path;
    char *next_key_path; // NULL: none
    struct conf_list next_endpoints;
    struct conf_list next_public_endpoints;
    int64_t writers;
    bool limit_connections; // by address
    int64_t memory;         // bytes of queued batches, all sensors together
    char *operator_key;     // path
    char *pseudonym_key;    // path
    char *connection;       // libpq conninfo; NULL: PG* environment
    struct conf_list disks; // paths
    int64_t min_free;       // bytes
    char *metrics;          // ADDRESS:PORT, or off
    char *log_level;
};

// path NULL: defaults, and the database from the PG* environment. Sets the log level too.
int collector_conf_read(const char *path, struct collector_conf *ret, struct errmsg *e);
void collector_conf_free(struct collector_conf *conf);
