// Groups of items: added up, committed, acknowledged; taken apart where the database refuses one.
#include <inttypes.h>
#include <string.h>

#include "collector/writer_internal.h"
#include "common/log.h"

// Somebody else holds a ledger row; it passes.
static bool is_lock_error(const char *state)
{
    return strcmp(state, "55P03") == 0 || strncmp(state, "40", 2) == 0;
}

// The server has not the memory for so much at once: locks, one for each day's partition and index.
static bool is_too_much(const char *state)
{
    return strcmp(state, "53200") == 0;
}

static void roll_back(struct writer *w)
{
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];
        if (item->state == ITEM_GROUPED) {
            receiver_rolled_back(&item->stream->receiver);
            item->state = ITEM_OPEN;
        }
    }
    group_clear(w->group);
}

// The last item of each stream and route carries the ack; earlier ones are covered by it.
static bool covered_by_later(const struct writer *w, size_t i)
{
    const struct item *item = &w->items[i];
    return item->stream->last != item->m && item->stream->last->route_size == item->m->route_size &&
           memcmp(item->stream->last->route, item->m->route, item->m->route_size) == 0;
}

static void count_committed(struct metrics *m, const struct item *item)
{
    metrics_add(item->poison                         ? &m->quarantined
                : item->m->header.kind == WIRE_BATCH ? &m->batches
                                                     : &m->losses,
                1);
}

static void acknowledge(struct writer *w)
{
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].state == ITEM_GROUPED)
            receiver_committed(&w->items[i].stream->receiver, w->items[i].stream->through + 1);
    // Memory and credit return before the acks tell of them.
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].state == ITEM_GROUPED)
            message_release(w->items[i].m);
    for (size_t i = 0; i < w->n_items; i++) {
        const struct item *item = &w->items[i];
        if (item->state == ITEM_GROUPED && (item->poison || !covered_by_later(w, i)))
            item_acknowledge(w, item);
    }
    group_clear(w->group);
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].state == ITEM_GROUPED) {
            count_committed(w->options.metrics, &w->items[i]);
            item_settle(&w->items[i]);
        }
}

static int commit_group(struct writer *w, struct errmsg *e)
{
    note_step(w);
    if (group_is_empty(w->group))
        return 0;
    size_t rows = group_rows(w->group);
    int64_t begun_us = mono_us();
    int r = group_commit(w->group, w->db, e);
    if (r == 0) {
        metrics_committed(w->options.metrics, mono_us() - begun_us, rows);
        if (rows >= BURST_ROWS)
            w->burst_ms = w->now_ms;
        log_debug("writer %u: committed %zu rows", w->options.number, rows);
        acknowledge(w);
        writer_forget_elsewhere(w);
    } else {
        metrics_add(&w->options.metrics->commit_failures, 1);
        roll_back(w);
    }
    return r;
}

// Whether the next item must wait for what is in the group: a loss message of unknown extent asks
// the ledger when the last window came.
static bool wants_own_group(const struct item *item)
{
    return item->m->header.kind == WIRE_LOSS;
}

// Takes open items from..to-1 in order into groups and commits them.
static int commit_range(struct writer *w, size_t from, size_t to, struct errmsg *e)
{
    int r = writer_look_elsewhere(w, from, to, e);
    if (r != 0)
        return r;
    for (size_t i = from; i < to; i++) {
        struct item *item = &w->items[i];
        if (item->state != ITEM_OPEN)
            continue;
        note_step(w);
        r = wants_own_group(item) ? commit_group(w, e) : 0;
        if (r == 0)
            r = item_judge(w, item, e);
        bool full = group_is_full(w->group);
        if (r == 0 && item->state == ITEM_GROUPED && (full || wants_own_group(item)))
            r = commit_group(w, e);
        if (r == 0 && full) // a large part of those in hand: worth asking anew for the rest
            r = writer_look_elsewhere(w, i + 1, to, e);
        if (r != 0) {
            roll_back(w);
            return r;
        }
    }
    return commit_group(w, e);
}

static size_t count_open(const struct writer *w, size_t from, size_t to)
{
    size_t n = 0;
    for (size_t i = from; i < to; i++)
        n += w->items[i].state == ITEM_OPEN;
    return n;
}

// One item alone was refused.
static void blame(struct writer *w, size_t from, size_t to, const char *state,
                  const struct errmsg *e)
{
    for (size_t i = from; i < to; i++) {
        struct item *item = &w->items[i];
        if (item->state != ITEM_OPEN)
            continue;
        if (item->m->missed) {
            item_settle(item);
        } else if (item->poison) { // not even quarantine takes it
            log_error("sensor %s (%s): batch %" PRIu64 " cannot be kept: %s", item->m->name,
                      item->m->peer, item->m->header.seq, e->text);
            item_settle(item);
        } else if (is_lock_error(state)) {
            log_info("sensor %s: another collector holds its ledger row: batch %" PRIu64
                     " waits for the sensor",
                     item->m->name, item->m->header.seq);
            item_settle(item);
        } else {
            char why[WIRE_TEXT_MAX + 1];
            snprintf(why, sizeof why, "the database refused it: %s", e->text);
            item_explain(item, why);
            item_poison(w, item);
        }
    }
}

// Commits from..to-1; where the database refuses a group, halves it until the one at fault stands
// alone. 0: all settled but duplicates; else the connection or the database is at fault.
static int commit_halving(struct writer *w, size_t from, size_t to, struct errmsg *e)
{
    bool alone = false; // one item is left and was refused already
    for (unsigned stale = 0;;) {
        int r = commit_range(w, from, to, e);
        if (r == GROUP_STALE && stale++ < 8)
            continue; // the ledger is read again
        if (r != DB_REFUSED)
            return r == GROUP_STALE ? -EAGAIN : r;
        char state[6];
        snprintf(state, sizeof state, "%s", db_sqlstate(w->db));
        if (!db_is_data_error(w->db) && !is_lock_error(state) &&
            !(is_too_much(state) && count_open(w, from, to) > 1))
            return r;
        dims_forget_days(w->dims); // a partition may have gone: one more try makes it again
        if (count_open(w, from, to) == 1) {
            if (alone)
                blame(w, from, to, state, e);
            alone = true;
            continue;
        }
        size_t middle = from + (to - from) / 2;
        r = commit_halving(w, from, middle, e);
        if (r != 0)
            return r;
        from = middle;
    }
}

int writer_commit(struct writer *w, struct errmsg *e)
{
    return commit_halving(w, 0, w->n_items, e);
}
