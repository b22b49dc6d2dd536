#include "sensor/source_set.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "sensor/hll.h"

#define SLOTS 131072u // at most 3/4 of them are used

struct source_set {
    uint64_t seed;
    uint32_t n;
    bool overflowed;
    uint64_t slots[SLOTS]; // 0 is free
    struct hll estimate;   // once overflowed
};

int source_set_new(struct source_set **ret)
{
    struct source_set *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return -errno;
    if (getrandom(&s->seed, sizeof s->seed, 0) != (ssize_t)sizeof s->seed) {
        source_set_free(s);
        return -EIO;
    }
    *ret = s;
    return 0;
}

void source_set_free(struct source_set *s)
{
    if (s)
        munmap(s, sizeof *s);
}

static void overflow(struct source_set *s)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (s->slots[i])
            hll_add(&s->estimate, s->slots[i]);
    }
    s->overflowed = true;
    madvise(s->slots, sizeof s->slots, MADV_DONTNEED);
}

uint64_t source_set_hash(const struct source_set *s, const struct flow_key *key)
{
    uint64_t hash = XXH3_64bits_withSeed(key->src, sizeof key->src, s->seed ^ key->version);
    hash |= hash == 0;
    __builtin_prefetch(&s->slots[(uint32_t)hash % SLOTS]);
    return hash;
}

void source_set_add(struct source_set *s, uint64_t hash)
{
    if (s->overflowed) {
        hll_add(&s->estimate, hash);
        return;
    }
    uint32_t i = (uint32_t)hash % SLOTS;
    while (s->slots[i]) {
        if (s->slots[i] == hash)
            return;
        i = (i + 1) % SLOTS;
    }
    s->slots[i] = hash;
    if (++s->n > SOURCES_EXACT)
        overflow(s);
}

uint64_t source_set_count(const struct source_set *s, bool *ret_estimated)
{
    *ret_estimated = s->overflowed;
    return s->overflowed ? hll_estimate(&s->estimate) : s->n;
}
