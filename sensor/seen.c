#include "sensor/seen.h"

#include <string.h>
#include <sys/mman.h>

// A block is one cache line; a key sets BITS of its 512. 32,768 keys in 4,096 blocks fill 8% of the
// bits, 400,000 in 16,384 blocks 21%.
#define BLOCK_WORDS   8u
#define BITS          5u
#define KNOWN_BLOCKS  4096u
#define FOLDED_BLOCKS 16384u

struct filter {
    uint64_t *words;
    uint32_t blocks; // a power of two
    uint32_t n;
};

struct seen {
    struct filter known[2]; // the generation that grows, the one before
    struct filter folded;
    uint64_t words[(2 * KNOWN_BLOCKS + FOLDED_BLOCKS) * BLOCK_WORDS];
};

int seen_new(struct seen **ret)
{
    struct seen *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return -errno;
    s->known[0] = (struct filter){s->words, KNOWN_BLOCKS, 0};
    s->known[1] = (struct filter){s->words + KNOWN_BLOCKS * BLOCK_WORDS, KNOWN_BLOCKS, 0};
    s->folded = (struct filter){s->words + 2 * KNOWN_BLOCKS * BLOCK_WORDS, FOLDED_BLOCKS, 0};
    *ret = s;
    return 0;
}

void seen_free(struct seen *s)
{
    if (s)
        munmap(s, sizeof *s);
}

// The table's hash is good but short: a multiplication spreads it over block and bits.
static uint64_t spread(uint32_t hash)
{
    uint64_t h = (hash ^ 0x5bd1e995u) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t *block_of(const struct filter *f, uint64_t h)
{
    return f->words + (size_t)(h >> 48 & (f->blocks - 1)) * BLOCK_WORDS;
}

static bool filter_has(const struct filter *f, uint32_t hash)
{
    uint64_t h = spread(hash), all = 1;
    const uint64_t *block = block_of(f, h);
    for (unsigned i = 0; i < BITS; i++, h >>= 9)
        all &= block[h >> 6 & 7] >> (h & 63);
    return all;
}

// Without a question whether the key is there: a branch that nothing can predict costs more.
static void filter_add(struct filter *f, uint32_t hash)
{
    uint64_t h = spread(hash), all = 1;
    uint64_t *block = block_of(f, h);
    for (unsigned i = 0; i < BITS; i++, h >>= 9) {
        uint64_t *word = &block[h >> 6 & 7];
        all &= *word >> (h & 63);
        *word |= 1ull << (h & 63);
    }
    f->n += !all;
}

static void filter_clear(struct filter *f)
{
    if (f->n > 0)
        memset(f->words, 0, f->blocks * BLOCK_WORDS * sizeof *f->words);
    f->n = 0;
}

void seen_add(struct seen *s, uint32_t hash)
{
    if (s->known[0].n == SEEN_GENERATION) {
        struct filter oldest = s->known[1];
        filter_clear(&oldest);
        s->known[1] = s->known[0];
        s->known[0] = oldest;
    }
    filter_add(&s->known[0], hash);
}

bool seen_has(const struct seen *s, uint32_t hash)
{
    return filter_has(&s->known[0], hash) || filter_has(&s->known[1], hash);
}

bool seen_again(struct seen *s, uint32_t hash)
{
    if (filter_has(&s->folded, hash))
        return true;
    if (s->folded.n < SEEN_FOLDED_MAX)
        filter_add(&s->folded, hash);
    return false;
}

void seen_window(struct seen *s)
{
    filter_clear(&s->folded);
}
