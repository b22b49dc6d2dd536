#include "tests/sim/spool_model.h"

#include <string.h>

#define LOOK_ITEMS    100 // losses in one message
#define SYNC_AFTER_MS 250 // as in sensor/uplink.c

void spool_model_init(struct spool_model *s, uint32_t id, uint32_t cap, uint32_t loss_cap)
{
    *s = (struct spool_model){.id = id, .next = 1, .oldest = 1, .cap = cap, .loss_cap = loss_cap};
}

void spool_model_release(struct spool_model *s)
{
    free(s->rows);
    s->rows = NULL;
    s->room = 0;
}

static uint64_t last_row(const struct spool_model *s)
{
    return s->next - 1 + s->base;
}

int spool_model_copy(const struct spool_model *s, struct spool_model *ret)
{
    *ret = *s;
    ret->room = last_row(s);
    ret->acked = s->acked_disk;
    ret->dirty_since = 0;
    ret->rows = malloc((ret->room + 1) * sizeof *ret->rows);
    if (!ret->rows)
        return -ENOMEM;
    if (ret->room > 0)
        memcpy(ret->rows, s->rows, ret->room * sizeof *ret->rows);
    return 0;
}

static void merge(struct spool_model *s, uint64_t first, uint64_t last)
{
    struct entry all = {
        .kind = ENTRY_UNKNOWN, .first = first, .last = last, .lo = s->rows[first - 1].lo};
    uint32_t n = 0;
    for (uint64_t row = first; row <= last; row = s->rows[row - 1].last + 1) {
        const struct entry *e = &s->rows[row - 1];
        all.lo = MIN(all.lo, e->lo); // 0, `since the last delivered`, stays
        all.hi = MAX(all.hi, e->hi);
        n++;
    }
    for (uint64_t row = first; row <= last; row++)
        s->rows[row - 1] = all;
    s->losses -= n - 1;
    s->merged++;
}

// The older half of the losses that lie in rows first..last becomes one. False: fewer than two.
static bool halve(struct spool_model *s, uint64_t first, uint64_t last)
{
    if (first <= last && s->rows[first - 1].first < first)
        first = s->rows[first - 1].last + 1; // a range that begins before
    uint32_t n = 0;
    uint64_t row = first;
    for (; row <= last && s->rows[row - 1].last <= last; row = s->rows[row - 1].last + 1)
        n++;
    if (n < 2)
        return false;
    uint64_t end = s->rows[first - 1].last;
    for (uint32_t i = 0; i < n / 2; i++)
        end = s->rows[end].last; // of the row behind
    merge(s, s->rows[first - 1].first, end);
    return true;
}

static void bound_losses(struct spool_model *s)
{
    while (s->losses > s->loss_cap) {
        uint64_t end = MIN(s->oldest - 1, last_row(s));
        uint64_t acked = MIN(end, s->acked + s->base);
        if (!halve(s, s->base + 1, acked) && !halve(s, acked + 1, end))
            return;
    }
}

static void find_oldest(struct spool_model *s)
{
    while (s->oldest <= last_row(s) && s->rows[s->oldest - 1].kind != ENTRY_BATCH)
        s->oldest++;
}

static void evict(struct spool_model *s)
{
    struct entry *e = &s->rows[s->oldest - 1];
    if (s->oldest > s->acked + s->base)
        s->evicted++;
    e->kind = ENTRY_LOST;
    s->batches--;
    s->losses++;
    find_oldest(s);
    bound_losses(s);
}

int spool_model_append(struct spool_model *s, struct entry entry)
{
    while (s->batches >= s->cap)
        evict(s);
    uint64_t row = last_row(s) + 1;
    if (row > s->room) {
        size_t room = 2 * s->room + 64;
        struct entry *rows = realloc(s->rows, room * sizeof *rows);
        if (!rows)
            return -ENOMEM;
        s->rows = rows;
        s->room = room;
    }
    entry.first = entry.last = row;
    s->rows[row - 1] = entry;
    s->next++;
    if (s->live_since != 0)
        s->live_since = entry.hi;
    if (entry.kind == ENTRY_BATCH)
        s->batches++;
    else
        s->losses++;
    find_oldest(s);
    spool_model_sync(s);
    return 0;
}

const struct entry *spool_model_at(const struct spool_model *s, uint64_t seq)
{
    return &s->rows[seq + s->base - 1];
}

void spool_model_look(const struct spool_model *s, uint64_t seq, uint64_t *ret_first,
                      uint64_t *ret_last, uint32_t *ret_bytes)
{
    const struct entry *e = spool_model_at(s, seq);
    uint64_t last = e->last;
    uint32_t bytes = e->bytes;
    if (e->kind != ENTRY_BATCH) {
        bytes = 100;
        for (int i = 1; i < LOOK_ITEMS && last < last_row(s); i++) {
            if (s->rows[last].kind == ENTRY_BATCH)
                break;
            last = s->rows[last].last;
            bytes += 100;
        }
    }
    *ret_first = e->first - s->base;
    *ret_last = last - s->base;
    *ret_bytes = bytes;
}

void spool_model_acked(struct spool_model *s, uint64_t through, int64_t now)
{
    s->acked = MIN(through, s->next - 1);
    if (s->dirty_since == 0)
        s->dirty_since = now;
}

void spool_model_sync(struct spool_model *s)
{
    s->acked_disk = s->acked;
    s->dirty_since = 0;
}

void spool_model_rewind(struct spool_model *s, uint64_t through)
{
    s->acked = MIN(through, s->next - 1);
    spool_model_sync(s);
}

void spool_model_crash(struct spool_model *s, int64_t now)
{
    if (s->dirty_since != 0 && now >= s->dirty_since + 2 * SYNC_AFTER_MS)
        spool_model_sync(s);
    s->acked = s->acked_disk;
    s->dirty_since = 0;
}

static void recount(struct spool_model *s)
{
    s->batches = s->losses = 0;
    for (uint64_t row = s->base + 1; row <= last_row(s); row = s->rows[row - 1].last + 1) {
        if (s->rows[row - 1].kind == ENTRY_BATCH)
            s->batches++;
        else
            s->losses++;
    }
    s->oldest = s->base + 1;
    find_oldest(s);
}

void spool_model_fork(struct spool_model *s, uint64_t from, uint32_t id)
{
    uint64_t row = from + s->base;
    s->id = id;
    s->base = row - 1;
    s->next -= from - 1;
    s->acked = 0;
    spool_model_sync(s);
    // A range over the border is cut.
    uint64_t last = row <= last_row(s) ? s->rows[row - 1].last : 0;
    for (uint64_t i = row; i <= last; i++)
        s->rows[i - 1].first = row;
    recount(s);
}
