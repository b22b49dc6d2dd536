// A hash map from keys of one fixed size to 32-bit numbers: open addressing over xxHash with a
// random seed, so that no peer can choose its collisions. Not thread safe. It grows without limit;
// callers bound what they put in.
#pragma once

#include "common/util.h"

struct map;

int map_new(size_t key_size, struct map **ret); // key_size <= 32
void map_free(struct map *map);
DEFINE_CLEANUP(struct map *, map_free)

void map_clear(struct map *map);
size_t map_count(const struct map *map);
// NULL if it is not there; the pointer is good until the next map_put or map_clear.
uint32_t *map_get(const struct map *map, const void *key);
// Adds or replaces. 0 or -ENOMEM.
int map_put(struct map *map, const void *key, uint32_t value);
