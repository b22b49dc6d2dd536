// A writer and its transactions: what collector/writer.c and group.c do with the ledger.
//
// Each function has the name of what it stands for there. Where the real thread waits for the
// database an event goes by, so that other writers, crashes and outages come between.
#include <string.h>

#include "tests/sim/world.h"

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS   10000
#define LOCK_TIMEOUT_MS  2000
#define LOCK_AGAIN_MS    20
#define STALE_MAX        8

static void go_on(struct world *w, struct collector_node *c);

static void later(struct world *w, struct collector_node *c, enum writer_state state, int64_t ms)
{
    c->state = state;
    world_post(w, w->now + ms, EVENT_WRITER, c->number, c->epoch, NULL);
}

static bool database_answers(const struct world *w, const struct collector_node *c)
{
    return w->db.up && !c->db_cut && c->connection && c->db_session == w->db.session;
}

// ---- settling

static void settle(struct collector_node *c, struct item *item)
{
    if (item->m)
        c->used -= item->m->bytes;
    free(item->m);
    item->m = NULL;
    item->state = ITEM_DONE;
}

static void send_ack(struct world *w, struct collector_node *c, const struct item *item)
{
    uint64_t through = group_stream(c, item)->receiver.next_seq - 1;
    // The promise itself: no ack for what is not committed. (A database set back meanwhile breaks
    // the connection to it; until that is noticed an ack may speak of before.)
    if (c->db_session == w->db.session &&
        through >= ledger_next_seq(w->db.ledger, item->m->sensor, item->m->spool))
        world_fail(w, "collector %u: acknowledges %llu of sensor %u before it is committed",
                   c->number, (unsigned long long)through, item->m->sensor);
    collector_reply(w, c, item->m, REPLY_ACK, through);
}

static void acknowledge(struct world *w, struct collector_node *c)
{
    for (uint32_t i = 0; i < c->n_streams; i++) {
        if (c->streams[i].from != 0)
            receiver_committed(&c->streams[i].receiver, c->streams[i].through + 1);
    }
    for (uint32_t i = 0; i < c->n_items; i++) {
        struct item *item = &c->items[i];
        if (item->state != ITEM_GROUPED)
            continue;
        const struct sim_message *last = group_stream(c, item)->last;
        if (last == item->m || last->route != item->m->route)
            send_ack(w, c, item);
    }
    for (uint32_t i = 0; i < c->n_items; i++) {
        if (c->items[i].state == ITEM_GROUPED)
            settle(c, &c->items[i]);
    }
    group_clear(c);
}

static void roll_back(struct world *w, struct collector_node *c)
{
    for (uint32_t i = 0; i < c->n_items; i++) {
        if (c->items[i].state != ITEM_GROUPED)
            continue;
        receiver_rolled_back(&group_stream(c, &c->items[i])->receiver);
        c->items[i].state = ITEM_OPEN;
    }
    w->tally->rollbacks++;
    group_clear(c);
}

static void send_gap(struct world *w, struct collector_node *c, const struct item *item)
{
    w->tally->gaps++;
    collector_reply(w, c, item->m, REPLY_GAP, group_stream(c, item)->receiver.next_seq);
}

static void look_for_fork(const struct world *w, struct collector_node *c, struct item *item)
{
    const struct sim_message *m = item->m;
    uint64_t fork = group_find_fork(w, m);
    if (fork == 0)
        return;
    item->state = ITEM_FORK;
    item->fork = c->fork[m->sensor] = fork;
    c->forked_route[m->sensor] = m->route;
    TRACE(w, "collector %u: fork of sensor %u at %llu", c->number, m->sensor,
          (unsigned long long)fork);
}

// What must wait until all that came with it is committed: a gap names a number, and everything
// before that is taken for committed.
static void settle_rest(struct world *w, struct collector_node *c)
{
    for (uint32_t i = 0; i < c->n_items; i++) {
        struct item *item = &c->items[i];
        if (item->state == ITEM_DUPLICATE)
            look_for_fork(w, c, item);
        if (item->state == ITEM_DUPLICATE)
            send_ack(w, c, item);
        else if (item->state == ITEM_FORK)
            collector_reply(w, c, item->m, REPLY_FORK, item->fork);
        else if (item->state == ITEM_GAP)
            send_gap(w, c, item);
        else
            continue;
        settle(c, item);
    }
}

// ---- judging

static int judge_item(struct world *w, struct collector_node *c, struct item *item)
{
    const struct sim_message *m = item->m;
    int r = group_get(w, c, m, &item->stream);
    if (r < 0)
        return r;
    struct sim_stream *s = group_stream(c, item);
    enum receiver_verdict verdict = receiver_judge(&s->receiver, m->first, m->last, w->now);
    if (verdict == RECEIVER_GAP && s->receiver.pending_seq == s->receiver.next_seq) {
        group_load(w, s); // another collector may have taken what seems to be missing
        verdict = receiver_judge(&s->receiver, m->first, m->last, w->now);
    }
    switch (verdict) {
    case RECEIVER_TAKE:
        if (m->route == c->forked_route[m->sensor]) {
            item->state = ITEM_FORK;
            item->fork = c->fork[m->sensor];
            return 0;
        }
        if (m->kind == MESSAGE_LOSS && m->first < s->receiver.next_seq)
            look_for_fork(w, c, item);
        if (item->state == ITEM_FORK)
            return 0;
        item->state = ITEM_GROUPED;
        return group_add(w, c, item);
    case RECEIVER_DUPLICATE:
        item->state = ITEM_DUPLICATE;
        w->tally->duplicates++;
        if (m->last < s->receiver.next_seq)
            look_for_fork(w, c, item);
        return 0;
    case RECEIVER_GAP:
        receiver_told(&s->receiver, w->now);
        item->state = ITEM_GAP;
        return 0;
    case RECEIVER_GAP_TOLD:
        break;
    case RECEIVER_ABSURD:
        world_fail(w, "sensor %u: absurd number %llu", m->sensor, (unsigned long long)m->first);
        break;
    }
    settle(c, item);
    return 0;
}

// ---- transactions

static int add_moves(struct collector_node *c)
{
    for (uint32_t sensor = 0; sensor < SENSORS_MAX; sensor++) {
        // In key order: a sensor's spools by id.
        for (uint32_t least = 0;;) {
            const struct sim_stream *next = NULL;
            for (uint32_t i = 0; i < c->n_streams; i++) {
                const struct sim_stream *s = &c->streams[i];
                if (s->from != 0 && s->sensor == sensor && s->spool > least &&
                    (!next || s->spool < next->spool))
                    next = s;
            }
            if (!next)
                break;
            least = next->spool;
            int r =
                tx_add_move(c->tx, (struct ledger_move){.sensor = sensor,
                                                        .spool = next->spool,
                                                        .from = next->from,
                                                        .next = next->through + 1,
                                                        .last_window = next->last->last_window});
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static void begin(struct world *w, struct collector_node *c)
{
    if (!c->tx)
        c->tx = calloc(1, sizeof *c->tx);
    if (!c->tx || add_moves(c) < 0) {
        world_fail(w, "out of memory");
        return;
    }
    c->tx->id = ++w->db.tx_made;
    c->lock_since = w->now;
    later(w, c, WRITER_UPSERT, rng_between(&w->rng, 0, 20));
}

static void end_tx(struct world *w, struct collector_node *c)
{
    if (c->tx)
        tx_rollback(c->tx, w->db.ledger);
}

static void drop_db(struct world *w, struct collector_node *c)
{
    TRACE(w, "collector %u: the database does not answer", c->number);
    // The server may notice late that its client is gone; until then it holds the rows.
    if (c->tx && c->tx->n_locked > 0 && w->db.up && c->db_session == w->db.session) {
        world_post(w, w->now + rng_between(&w->rng, 0, 10000), EVENT_TX_ORPHAN, c->number, 0,
                   c->tx);
        c->tx = NULL;
    }
    end_tx(w, c);
    group_clear(c);
    c->n_streams = 0;
    c->connection = c->db_ok = false;
    for (uint32_t i = 0; i < c->n_items; i++) {
        if (c->items[i].state != ITEM_DONE)
            c->items[i].state = ITEM_OPEN;
    }
    c->n_ranges = 0;
    later(w, c, WRITER_BACKOFF, c->backoff);
    c->backoff = MIN(2 * c->backoff, BACKOFF_MAX_MS);
}

void writer_tx_orphan(struct world *w, struct tx *tx)
{
    tx_rollback(tx, w->db.ledger);
    tx_release(tx);
    free(tx);
}

// ---- commit_range and commit_halving

static uint32_t count_open(const struct collector_node *c, const struct range *r)
{
    uint32_t n = 0;
    for (uint32_t i = r->from; i < r->to; i++)
        n += c->items[i].state == ITEM_OPEN;
    return n;
}

static void refused(struct world *w, struct collector_node *c)
{
    end_tx(w, c);
    roll_back(w, c);
    struct range *r = &c->ranges[c->n_ranges - 1];
    if (count_open(c, r) <= 1) {
        for (uint32_t i = r->from; i < r->to; i++) {
            if (c->items[i].state == ITEM_OPEN)
                settle(c, &c->items[i]); // waits for the sensor
        }
    } else {
        uint32_t middle = r->from + (r->to - r->from) / 2;
        struct range first = {.from = r->from, .to = middle};
        r->from = middle;
        c->ranges[c->n_ranges++] = first;
    }
    c->cursor = c->ranges[c->n_ranges - 1].from;
    go_on(w, c);
}

static void stale(struct world *w, struct collector_node *c)
{
    w->tally->stale++;
    for (size_t i = 0; i < c->tx->n_moves; i++) {
        for (uint32_t k = 0; k < c->n_streams; k++) {
            struct sim_stream *s = &c->streams[k];
            if (s->sensor == c->tx->moves[i].sensor && s->spool == c->tx->moves[i].spool &&
                !c->tx->moves[i].advanced)
                s->stale = true;
        }
    }
    end_tx(w, c);
    roll_back(w, c);
    struct range *r = &c->ranges[c->n_ranges - 1];
    c->cursor = r->from;
    if (r->stale++ < STALE_MAX)
        go_on(w, c);
    else
        drop_db(w, c);
}

// `Since the last window delivered`: what the ledger says before this transaction moves it.
static void begin_intervals(struct world *w, struct tx *tx)
{
    for (size_t i = 0; i < tx->n_rows; i++) {
        struct row *row = &tx->rows[i].row;
        if (row->kind != ROW_UNKNOWN)
            continue;
        if (row->lo == 0)
            row->lo = ledger_last_window(w->db.ledger, tx->rows[i].sensor, row->hi);
        row->lo = MIN(row->lo, row->hi);
    }
}

static void upsert(struct world *w, struct collector_node *c)
{
    begin_intervals(w, c->tx);
    int r = tx_upsert(c->tx, w->db.ledger);
    if (r == TX_WAIT && w->now < c->lock_since + LOCK_TIMEOUT_MS) {
        w->tally->lock_waits++;
        later(w, c, WRITER_UPSERT, LOCK_AGAIN_MS);
    } else if (r == TX_WAIT || c->refuse) {
        c->refuse = false;
        refused(w, c);
    } else if (r == TX_STALE) {
        stale(w, c);
    } else if (r < 0) {
        world_fail(w, "out of memory");
    } else {
        later(w, c, WRITER_COMMIT, rng_between(&w->rng, 0, rng_one_in(&w->rng, 10) ? 3000 : 30));
    }
}

static void commit(struct world *w, struct collector_node *c)
{
    if (tx_commit(c->tx, w->db.ledger) < 0)
        world_fail(w, "out of memory");
    truth_committed(w, c->tx);
    w->tally->commits++;
    if (rng_one_in(&w->rng, 5000)) { // but the answer does not come back
        drop_db(w, c);
        return;
    }
    acknowledge(w, c);
    go_on(w, c);
}

static bool wants_own_group(const struct item *item)
{
    return item->m->kind == MESSAGE_LOSS;
}

// Takes the next open items of the range into the group. True: a transaction has begun.
static bool fill_group(struct world *w, struct collector_node *c, const struct range *r)
{
    while (c->cursor < r->to && !w->failed) {
        struct item *item = &c->items[c->cursor];
        if (item->state == ITEM_OPEN && wants_own_group(item) && c->grouped > 0) {
            begin(w, c);
            return true;
        }
        c->cursor++;
        if (item->state != ITEM_OPEN)
            continue;
        if (judge_item(w, c, item) < 0)
            world_fail(w, "out of memory");
        if (item->state == ITEM_GROUPED && (c->grouped >= c->group_max || wants_own_group(item))) {
            begin(w, c);
            return true;
        }
    }
    if (c->grouped == 0)
        return false;
    begin(w, c);
    return true;
}

static void go_on(struct world *w, struct collector_node *c)
{
    while (c->n_ranges > 0 && !w->failed) {
        if (!database_answers(w, c)) {
            drop_db(w, c);
            return;
        }
        if (fill_group(w, c, &c->ranges[c->n_ranges - 1]))
            return;
        if (--c->n_ranges > 0)
            c->cursor = c->ranges[c->n_ranges - 1].from;
    }
    settle_rest(w, c);
    c->n_items = 0;
    c->backoff = BACKOFF_FIRST_MS;
    c->state = WRITER_IDLE;
    writer_wake(w, c);
}

static void start_over(struct world *w, struct collector_node *c)
{
    c->ranges[0] = (struct range){.from = 0, .to = c->n_items};
    c->n_ranges = 1;
    c->cursor = 0;
    go_on(w, c);
}

static void fetch_items(struct world *w, struct collector_node *c)
{
    c->n_items = 0;
    while (c->n_items < ITEMS_MAX) {
        struct sim_message *m = collector_pop(c);
        if (!m)
            break;
        uint8_t id[WIRE_SPOOL_ID_SIZE] = {0};
        memcpy(id, &m->spool, sizeof m->spool);
        w->tally->clones += receiver_spool_seen(&c->spools[m->sensor], id);
        c->items[c->n_items++] = (struct item){.m = m};
    }
    c->backoff = BACKOFF_FIRST_MS;
    start_over(w, c);
}

static void reconnect(struct world *w, struct collector_node *c)
{
    if (!w->db.up || c->db_cut) {
        later(w, c, WRITER_BACKOFF, c->backoff);
        c->backoff = MIN(2 * c->backoff, BACKOFF_MAX_MS);
        return;
    }
    c->connection = c->db_ok = true;
    c->db_session = w->db.session;
    start_over(w, c);
}

// The client or its connection goes while the commit is on its way: it may have succeeded.
static void commit_unheard(struct world *w, struct collector_node *c)
{
    if (c->state != WRITER_COMMIT || !w->db.up || c->db_session != w->db.session ||
        rng_one_in(&w->rng, 2))
        return;
    if (tx_commit(c->tx, w->db.ledger) < 0)
        world_fail(w, "out of memory");
    truth_committed(w, c->tx);
    w->tally->commits++;
}

void writer_step(struct world *w, struct collector_node *c)
{
    switch (c->state) {
    case WRITER_IDLE:
        break;
    case WRITER_FETCH:
        fetch_items(w, c);
        break;
    case WRITER_BACKOFF:
        reconnect(w, c);
        break;
    case WRITER_UPSERT:
    case WRITER_COMMIT:
        if (!database_answers(w, c)) {
            commit_unheard(w, c);
            drop_db(w, c);
        } else if (c->state == WRITER_UPSERT) {
            upsert(w, c);
        } else {
            commit(w, c);
        }
        break;
    }
}

void writer_wake(struct world *w, struct collector_node *c)
{
    if (c->state == WRITER_IDLE && c->queue_n > 0)
        later(w, c, WRITER_FETCH, rng_between(&w->rng, 0, 50));
}

void writer_crash(struct world *w, struct collector_node *c)
{
    commit_unheard(w, c);
    c->backoff = BACKOFF_FIRST_MS;
    drop_db(w, c);
    writer_release(c);
    memset(c->spools, 0, sizeof c->spools);
    memset(c->forked_route, 0, sizeof c->forked_route);
}

void writer_release(struct collector_node *c)
{
    for (uint32_t i = 0; i < c->n_items; i++)
        free(c->items[i].m);
    c->n_items = c->n_ranges = c->n_streams = c->room_streams = c->grouped = 0;
    free(c->streams);
    c->streams = NULL;
    if (c->tx)
        tx_release(c->tx);
    free(c->tx);
    c->tx = NULL;
    c->state = WRITER_IDLE;
}
