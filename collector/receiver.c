#include "collector/receiver.h"

#include <string.h>

void receiver_start(struct receiver *r, uint64_t next_seq)
{
    *r = (struct receiver){.next_seq = next_seq, .pending_seq = next_seq};
}

void receiver_reload(struct receiver *r, uint64_t next_seq)
{
    r->next_seq = r->pending_seq = next_seq;
}

enum receiver_verdict receiver_judge(const struct receiver *r, uint64_t first, uint64_t last,
                                     int64_t now_ms)
{
    if (first == 0 || last < first || last > RECEIVER_SEQ_MAX)
        return RECEIVER_ABSURD;
    if (last < r->pending_seq)
        return RECEIVER_DUPLICATE;
    if (first <= r->pending_seq)
        return RECEIVER_TAKE;
    bool told = r->told_seq == r->pending_seq && now_ms >= r->told_ms &&
                now_ms - r->told_ms < RECEIVER_NACK_AGAIN_MS;
    return told ? RECEIVER_GAP_TOLD : RECEIVER_GAP;
}

void receiver_take(struct receiver *r, uint64_t last)
{
    r->pending_seq = last + 1;
}

void receiver_told(struct receiver *r, int64_t now_ms)
{
    r->told_seq = r->pending_seq;
    r->told_ms = now_ms;
}

void receiver_committed(struct receiver *r, uint64_t next_seq)
{
    r->next_seq = next_seq;
    r->pending_seq = MAX(r->pending_seq, next_seq);
}

void receiver_rolled_back(struct receiver *r)
{
    r->pending_seq = r->next_seq;
}

enum receiver_loss receiver_loss_item(uint64_t next_seq, const struct loss_item *item)
{
    if (item->seq_last < next_seq)
        return RECEIVER_LOSS_KNOWN;
    return item->seq_first >= next_seq ? RECEIVER_LOSS_COUNT : RECEIVER_LOSS_SPLIT;
}

bool receiver_is_fork(const uint8_t *stored, const uint8_t digest[WIRE_SHA256_SIZE])
{
    return stored && memcmp(stored, digest, WIRE_SHA256_SIZE) != 0;
}

static bool inside(int64_t first_ms, int64_t last_ms, const struct receiver_kept *k)
{
    return k->last_ms == 0 || (k->first_ms <= first_ms && last_ms <= k->last_ms);
}

bool receiver_batch_is_other(const struct receiver_kept *k, const struct wire_header *h)
{
    if (!k->found)
        return false;
    return k->is_batch ? receiver_is_fork(k->digest, h->sha256)
                       : !inside(h->first_window_ms, h->last_window_ms, k);
}

bool receiver_loss_is_other(const struct receiver_kept *k, const struct loss_item *item)
{
    if (!k->found)
        return false;
    if (!item->unknown)
        return !inside(item->first_ms, item->last_ms, k);
    // A single row that was found damaged tells of everything since the last window delivered.
    bool damaged = item->first_ms == 0 && item->seq_first == item->seq_last;
    return !damaged && k->latest_ms != 0 && k->latest_ms < item->last_ms;
}

bool receiver_spool_seen(struct receiver_spools *s, const uint8_t spool_id[WIRE_SPOOL_ID_SIZE])
{
    if (s->has_current && memcmp(s->current, spool_id, WIRE_SPOOL_ID_SIZE) == 0)
        return false;
    bool back = s->has_previous && memcmp(s->previous, spool_id, WIRE_SPOOL_ID_SIZE) == 0;
    memcpy(s->previous, s->current, WIRE_SPOOL_ID_SIZE);
    s->has_previous = s->has_current;
    memcpy(s->current, spool_id, WIRE_SPOOL_ID_SIZE);
    s->has_current = true;
    return back;
}
