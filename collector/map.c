#include "collector/map.h"

#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SLOTS_MIN 64

struct map {
    size_t key_size;
    size_t slots; // a power of two
    size_t count;
    uint64_t seed;
    uint8_t *used; // one byte a slot
    uint8_t *keys;
    uint32_t *values;
};

static int allocate(struct map *map, size_t slots)
{
    uint8_t *used = calloc(slots, 1);
    uint8_t *keys = malloc(slots * map->key_size);
    uint32_t *values = malloc(slots * sizeof *values);
    if (!used || !keys || !values) {
        free(used);
        free(keys);
        free(values);
        return -ENOMEM;
    }
    map->used = used;
    map->keys = keys;
    map->values = values;
    map->slots = slots;
    map->count = 0;
    return 0;
}

int map_new(size_t key_size, struct map **ret)
{
    struct map *map = calloc(1, sizeof *map);
    if (!map)
        return -ENOMEM;
    map->key_size = key_size;
    if (getrandom(&map->seed, sizeof map->seed, 0) != sizeof map->seed ||
        allocate(map, SLOTS_MIN) < 0) {
        free(map);
        return -ENOMEM;
    }
    *ret = map;
    return 0;
}

static void release(struct map *map)
{
    free(map->used);
    free(map->keys);
    free(map->values);
}

void map_free(struct map *map)
{
    if (!map)
        return;
    release(map);
    free(map);
}

void map_clear(struct map *map)
{
    memset(map->used, 0, map->slots);
    map->count = 0;
}

size_t map_count(const struct map *map)
{
    return map->count;
}

// The slot of the key, or the free one where it would stand.
static size_t find_slot(const struct map *map, const void *key)
{
    size_t i = XXH3_64bits_withSeed(key, map->key_size, map->seed) & (map->slots - 1);
    while (map->used[i] && memcmp(map->keys + i * map->key_size, key, map->key_size) != 0)
        i = (i + 1) & (map->slots - 1);
    return i;
}

uint32_t *map_get(const struct map *map, const void *key)
{
    size_t i = find_slot(map, key);
    return map->used[i] ? &map->values[i] : NULL;
}

static void set_slot(struct map *map, size_t i, const void *key, uint32_t value)
{
    if (!map->used[i]) {
        map->used[i] = 1;
        map->count++;
        memcpy(map->keys + i * map->key_size, key, map->key_size);
    }
    map->values[i] = value;
}

static int grow(struct map *map)
{
    struct map old = *map;
    if (allocate(map, old.slots * 2) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < old.slots; i++) {
        const uint8_t *key = old.keys + i * old.key_size;
        if (old.used[i])
            set_slot(map, find_slot(map, key), key, old.values[i]);
    }
    release(&old);
    return 0;
}

int map_put(struct map *map, const void *key, uint32_t value)
{
    if (map->count * 2 >= map->slots && grow(map) < 0)
        return -ENOMEM;
    set_slot(map, find_slot(map, key), key, value);
    return 0;
}
