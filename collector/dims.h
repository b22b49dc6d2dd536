// What a row refers to: numbers of sensor addresses, ids of TCP option sets, daily partitions.
// Looked up in caches; what is missing is made in the database in short transactions of their own,
// before the one that copies rows, and is harmless if that one fails.
#pragma once

#include "collector/db.h"
#include "common/flow.h"

#define DIMS_ADDRESSES_MAX 32000  // numbers per sensor; beyond: 0, other
#define DIMS_OPTIONS_MAX   100000 // entries of the dictionary; beyond: 0, other

struct dims;
int dims_new(struct dims **ret);
void dims_free(struct dims *d);
DEFINE_CLEANUP(struct dims *, dims_free)
// Forgets everything: after the connection was lost.
void dims_clear(struct dims *d);
void dims_forget_days(struct dims *d);

// Fills flow_dst[b->n_flows], flow_options[b->n_flows] (COPY_NO_OPTIONS where there is no TCP
// header) and flood_dst[b->n_floods], and makes the partitions of the days that have rows. 0;
// DB_REFUSED, -EPIPE, -ENOMEM.
struct dims_ids {
    int16_t *flow_dst;
    int32_t *flow_options;
    int16_t *flood_dst;
};
int dims_resolve(struct dims *d, struct db *db, int16_t sensor_id, const struct batch *b,
                 const struct dims_ids *ids, struct errmsg *e);
// Takes the addresses of sensors that are not known yet into the cache, in one query; dims_resolve
// then finds them. Nothing depends on it but speed.
int dims_prefetch(struct dims *d, struct db *db, const int16_t *sensor_ids, size_t n,
                  struct errmsg *e);
// Makes the partitions of a day (days since 1970, UTC).
int dims_day(struct dims *d, struct db *db, int64_t day, struct errmsg *e);
// TCP options as hirundo.tcp_options.layout writes them.
#define DIMS_LAYOUT_MAX 96
void dims_layout(const struct tcp_options *o, char text[DIMS_LAYOUT_MAX]);
