#include "collector/writer.h"

#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "collector/alarms.h"
#include "collector/group.h"
#include "collector/map.h"
#include "collector/streams.h"
#include "common/log.h"

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS   10000
#define IDLE_MS          200
#define CLONE_AGAIN_MS   600000
#define SLOW_MS          10000 // a database that needs longer for one step takes nothing for now
#define BURST_ITEMS      1024  // messages at once after which memory is given back

// What the writer remembers of a sensor for the clone alarm.
struct sensor_spools {
    struct receiver_spools spools;
    int64_t alarmed_ms;
    // The connection that was last found to send other data than the ledger holds, and from which
    // number on: nothing more is taken from it, the sensor begins a new spool and connects anew.
    uint8_t forked_route[ROUTE_MAX];
    size_t forked_size;
    uint64_t fork;
};

// A message in hand and what became of it.
enum item_state { ITEM_OPEN, ITEM_GROUPED, ITEM_DUPLICATE, ITEM_GAP, ITEM_FORK, ITEM_DONE };

struct item {
    struct message *m;
    struct stream *stream;
    enum item_state state;
    uint64_t fork; // ITEM_FORK: the number
    uint64_t last; // the last number it covers
    bool poison;
    char reason[WIRE_TEXT_MAX + 1];
};

struct writer {
    struct writer_options options;
    pthread_t thread;
    struct queue *queue;
    void *replies; // PUSH, made and used by the thread
    atomic_bool db_ok;
    atomic_llong waiting_since; // monotonic ms of the last step while there is work; 0: none
    struct db *db;
    struct dims *dims;
    struct group *group;
    struct streams *streams;
    struct map *spool_index;
    struct sensor_spools *spools;
    size_t n_spools;
    struct item *items; // GROUP_MESSAGES
    size_t n_items;
    struct message **ahead; // GROUP_MESSAGES, scratch of prefetch
    int16_t *sensors_ahead; // likewise
};

static int64_t clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int64_t monotonic_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

// ---- streams

static void forget_streams(struct writer *w)
{
    group_clear(w->group);
    streams_clear(w->streams);
    for (size_t i = 0; i < w->n_items; i++)
        w->items[i].stream = NULL;
}

// NULL: no memory.
static struct sensor_spools *sensor_of(struct writer *w, const struct message *m)
{
    const uint32_t *at = map_get(w->spool_index, &m->sensor_id);
    if (at)
        return &w->spools[*at];
    struct sensor_spools *spools = realloc(w->spools, (w->n_spools + 1) * sizeof *spools);
    if (!spools)
        return NULL;
    w->spools = spools;
    if (map_put(w->spool_index, &m->sensor_id, (uint32_t)w->n_spools) < 0)
        return NULL;
    spools[w->n_spools] = (struct sensor_spools){.alarmed_ms = INT64_MIN / 2};
    return &spools[w->n_spools++];
}

static void watch_clones(struct writer *w, const struct message *m)
{
    struct sensor_spools *s = sensor_of(w, m);
    if (!s)
        return; // no alarm then
    int64_t now = clock_ms(CLOCK_MONOTONIC);
    if (receiver_spool_seen(&s->spools, m->header.spool_id) &&
        now - s->alarmed_ms > CLONE_AGAIN_MS) {
        s->alarmed_ms = now;
        metrics_add(&w->options.metrics->clones, 1);
        alarms_raise(w->options.alarms, "alarm clone", m->name,
                     "two spools send in turn: two machines have its key");
        log_error(
            "alarm clone: sensor %s sends from two spools in turn (%s): two machines have its key; "
            "revoke it with hirundo-collector sensor revoke %s",
            m->name, m->peer, m->name);
    }
}

// ---- replies

static void send_reply(struct writer *w, const struct message *m, uint64_t seq, enum wire_kind kind,
                       struct wire_reply *body)
{
    struct reply reply = {.kind = kind, .spool_id = m->header.spool_id, .seq = seq};
    reply.body = *body;
    reply.body.db_ok = true;
    reply.body.credit = budget_credit(w->options.budget, m->sensor_id);
    int r = reply_send(w->replies, m->route, m->route_size, &reply);
    if (r < 0)
        log_debug("reply to %s dropped: %s", m->name, strerror(-r));
}

static void send_ack(struct writer *w, const struct item *item)
{
    struct wire_reply body = {.committed_through = item->stream->receiver.next_seq - 1};
    send_reply(w, item->m, item->m->header.seq, WIRE_ACK, &body);
}

// The number asked for says that all before it is committed.
static void send_gap(struct writer *w, const struct item *item)
{
    const struct message *m = item->m;
    uint64_t next_seq = item->stream->receiver.next_seq;
    struct wire_reply body = {.expected_seq = next_seq, .reason = WIRE_NACK_GAP};
    log_info("sensor %s: batch %" PRIu64 " came, %" PRIu64 " is missing: asked for it", m->name,
             m->header.seq, next_seq);
    send_reply(w, m, m->header.seq, WIRE_NACK, &body);
}

static void send_fork(struct writer *w, const struct message *m, uint64_t seq)
{
    struct wire_reply body = {.expected_seq = seq, .reason = WIRE_NACK_FORK};
    snprintf(body.detail, sizeof body.detail, "number %" PRIu64 " was taken with another content",
             seq);
    alarms_raise(w->options.alarms, "alarm fork", m->name, body.detail);
    log_error("alarm fork: sensor %s (%s) sends batch %" PRIu64
              " with another content than before: its spool was "
              "restored from a copy; it will begin a new one",
              m->name, m->peer, seq);
    send_reply(w, m, seq, WIRE_NACK, &body);
}

static void settle(struct item *item)
{
    message_free(item->m);
    item->m = NULL;
    item->state = ITEM_DONE;
}

// ---- taking messages

// Numbers that a message covers. A loss message that does not decode covers its first, which goes
// with it into quarantine.
static void message_range(const struct message *m, uint64_t *ret_first, uint64_t *ret_last)
{
    *ret_first = *ret_last = m->header.seq;
    _cleanup_(freep) struct loss_item *items = NULL;
    size_t n = 0;
    if (m->header.kind == WIRE_LOSS &&
        wire_loss_decode(zmq_msg_data((zmq_msg_t *)&m->payload),
                         zmq_msg_size((zmq_msg_t *)&m->payload), &items, &n, NULL) == 0 &&
        n > 0 && items[0].seq_first == m->header.seq)
        *ret_last = items[n - 1].seq_last;
}

// Somebody else holds a ledger row; it passes.
static bool is_lock_error(const char *state)
{
    return strcmp(state, "55P03") == 0 || strncmp(state, "40", 2) == 0;
}

static int add_to_group(struct writer *w, struct item *item, struct errmsg *e)
{
    struct validate_limits limits;
    keyring_limits(w->options.keyring, clock_ms(CLOCK_REALTIME), &limits);
    int r = item->poison ? GROUP_POISON
                         : group_add(w->group, w->db, w->dims, item->stream, item->m, &limits, e);
    if (r == DB_REFUSED && db_is_data_error(w->db))
        r = GROUP_POISON; // a day that gets no partition
    if (r != GROUP_POISON)
        return r;
    if (!item->poison) {
        item->poison = true;
        snprintf(item->reason, sizeof item->reason, "%s", e->text);
        log_warning("sensor %s (%s): batch %" PRIu64 " goes to quarantine: %s", item->m->name,
                    item->m->peer, item->m->header.seq, item->reason);
    }
    return group_add_poison(w->group, item->stream, item->m, item->last, item->reason, e);
}

// Compares what the ledger has of a message's numbers with what it brings. Does so before anything
// behind it is taken: that belongs to the same other data.
static int look_for_fork(struct writer *w, struct item *item, struct errmsg *e)
{
    const struct message *m = item->m;
    struct sensor_spools *s = sensor_of(w, m);
    if (!s)
        return -ENOMEM;
    uint64_t fork;
    int r = stream_find_fork(w->db, item->stream, m, &fork, e);
    if (r != 0 || fork == 0)
        return r;
    item->state = ITEM_FORK;
    item->fork = s->fork = fork;
    memcpy(s->forked_route, m->route, m->route_size);
    s->forked_size = m->route_size;
    return 0;
}

static bool is_from_fork(struct writer *w, struct item *item)
{
    const struct message *m = item->m;
    const struct sensor_spools *s = sensor_of(w, m);
    if (!s || s->forked_size == 0 || s->forked_size != m->route_size ||
        memcmp(s->forked_route, m->route, m->route_size) != 0)
        return false;
    item->state = ITEM_FORK;
    item->fork = s->fork;
    return true;
}

static int take_item(struct writer *w, struct item *item, struct errmsg *e)
{
    int r = 0;
    if (is_from_fork(w, item))
        return 0;
    // A loss message may begin with numbers that the ledger has.
    if (item->m->header.kind == WIRE_LOSS && item->m->header.seq < item->stream->receiver.next_seq)
        r = look_for_fork(w, item, e);
    if (r != 0 || item->state == ITEM_FORK)
        return r;
    r = add_to_group(w, item, e);
    if (r == 0)
        item->state = ITEM_GROUPED;
    return r;
}

// Judges one open item; takes it into the group where it is next in line.
static int judge_item(struct writer *w, struct item *item, struct errmsg *e)
{
    struct message *m = item->m;
    if (!keyring_has_sensor(w->options.keyring, m->sensor_id)) {
        log_info("sensor %s is revoked: batch %" PRIu64 " dropped", m->name, m->header.seq);
        settle(item);
        return 0;
    }
    int r = streams_get(w->streams, w->db, m, &item->stream, e);
    if (r != 0)
        return r;
    if (item->stream->revoked) {
        settle(item);
        return 0;
    }
    uint64_t first, last;
    message_range(m, &first, &last);
    item->last = last;
    struct receiver *receiver = &item->stream->receiver;
    enum receiver_verdict verdict =
        receiver_judge(receiver, first, last, clock_ms(CLOCK_MONOTONIC));
    if (verdict == RECEIVER_GAP && receiver->pending_seq == receiver->next_seq) {
        // Another collector may have taken what seems to be missing.
        r = stream_load(w->db, item->stream, e);
        if (r != 0)
            return r;
        verdict = receiver_judge(receiver, first, last, clock_ms(CLOCK_MONOTONIC));
    }
    switch (verdict) {
    case RECEIVER_TAKE:
        return take_item(w, item, e);
    case RECEIVER_DUPLICATE:
        item->state = ITEM_DUPLICATE;
        return last < receiver->next_seq ? look_for_fork(w, item, e) : 0;
    case RECEIVER_GAP:
        receiver_told(receiver, clock_ms(CLOCK_MONOTONIC));
        item->state = ITEM_GAP;
        return 0;
    case RECEIVER_GAP_TOLD:
        break;
    case RECEIVER_ABSURD:
        log_warning("sensor %s (%s): a message with the number %" PRIu64 ": dropped", m->name,
                    m->peer, m->header.seq);
        break;
    }
    settle(item);
    return 0;
}

// ---- committing

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
        if (item->state == ITEM_GROUPED && !covered_by_later(w, i))
            send_ack(w, item);
    }
    group_clear(w->group);
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].state == ITEM_GROUPED) {
            count_committed(w->options.metrics, &w->items[i]);
            settle(&w->items[i]);
        }
}

// The database answered, or is asked for the first time.
static void note_step(struct writer *w)
{
    atomic_store(&w->waiting_since, clock_ms(CLOCK_MONOTONIC));
}

static int commit_group(struct writer *w, struct errmsg *e)
{
    note_step(w);
    if (group_is_empty(w->group))
        return 0;
    size_t rows = group_rows(w->group);
    int64_t begun_us = monotonic_us();
    int r = group_commit(w->group, w->db, e);
    if (r == 0) {
        metrics_committed(w->options.metrics, monotonic_us() - begun_us, rows);
        log_debug("writer %u: committed %zu rows", w->options.number, rows);
        acknowledge(w);
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
    for (size_t i = from; i < to; i++) {
        struct item *item = &w->items[i];
        if (item->state != ITEM_OPEN)
            continue;
        note_step(w);
        int r = wants_own_group(item) ? commit_group(w, e) : 0;
        if (r == 0)
            r = judge_item(w, item, e);
        if (r == 0 && item->state == ITEM_GROUPED &&
            (group_is_full(w->group) || wants_own_group(item)))
            r = commit_group(w, e);
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
        if (item->poison) { // not even quarantine takes it
            log_error("sensor %s (%s): batch %" PRIu64 " cannot be kept: %s", item->m->name,
                      item->m->peer, item->m->header.seq, e->text);
            settle(item);
        } else if (is_lock_error(state)) {
            log_info("sensor %s: another collector holds its ledger row: batch %" PRIu64
                     " waits for the sensor",
                     item->m->name, item->m->header.seq);
            settle(item);
        } else {
            item->poison = true;
            snprintf(item->reason, sizeof item->reason, "the database refused it: %s", e->text);
            log_warning("sensor %s (%s): batch %" PRIu64 " goes to quarantine: %s", item->m->name,
                        item->m->peer, item->m->header.seq, item->reason);
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
        if (!db_is_data_error(w->db) && !is_lock_error(state))
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

// ---- duplicates and gaps

// What must wait until all that came with it is committed.
static int settle_rest(struct writer *w, struct errmsg *e)
{
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];
        // What was the same as something in the open group is compared now.
        int r = item->state == ITEM_DUPLICATE ? look_for_fork(w, item, e) : 0;
        if (r != 0)
            return r;
        if (item->state == ITEM_DUPLICATE) {
            log_debug("sensor %s: batch %" PRIu64 " came again", item->m->name,
                      item->m->header.seq);
            send_ack(w, item);
            metrics_add(&w->options.metrics->duplicates, 1);
        } else if (item->state == ITEM_FORK) {
            metrics_add(&w->options.metrics->forks, 1);
            send_fork(w, item->m, item->fork);
        } else if (item->state == ITEM_GAP) {
            metrics_add(&w->options.metrics->gaps, 1);
            send_gap(w, item);
        } else {
            continue;
        }
        settle(item);
    }
    return 0;
}

// ---- the database

static int check_durability(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select current_setting('fsync')", 0, NULL, &result, e);
    if (r == 0 && strcmp(PQgetvalue(result, 0, 0), "on") != 0)
        log_error("alarm: the database runs with fsync = off: a crash of its host loses "
                  "acknowledged data");
    return r;
}

static int read_clock(struct writer *w, struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select (extract(epoch from clock_timestamp()) * 1000)::bigint", 0, NULL,
                     &result, e);
    if (r == 0)
        group_set_clock(w->group, strtoll(PQgetvalue(result, 0, 0), NULL, 10));
    return r;
}

static int connect_db(struct writer *w, struct errmsg *e)
{
    static const char *const settings[] = {
        "set synchronous_commit = on",   "set lock_timeout = '2s'",
        "set statement_timeout = '60s'", "set idle_in_transaction_session_timeout = '10s'",
        "set tcp_user_timeout = '10s'",
    };
    _cleanup_(db_freep) struct db *db = NULL;
    int r = db_open(w->options.conninfo, "hirundo_collector", &db, e);
    for (size_t i = 0; i < ARRAY_SIZE(settings) && r == 0; i++)
        r = db_exec(db, settings[i], e);
    if (r == 0)
        r = check_durability(db, e);
    if (r == 0)
        r = read_clock(w, db, e);
    if (r != 0)
        return r;
    metrics_add(&w->options.metrics->connects, 1);
    w->db = db;
    db = NULL;
    return 0;
}

static void drop_db(struct writer *w)
{
    db_free(w->db);
    w->db = NULL;
    forget_streams(w);
    dims_clear(w->dims);
    for (size_t i = 0; i < w->n_items; i++)
        if (w->items[i].state != ITEM_DONE)
            w->items[i].state = ITEM_OPEN;
}

// Looks up in two queries what the messages in hand refer to, where a thousand sensors come at
// once.
static int prefetch(struct writer *w, struct errmsg *e)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        struct message *m = w->items[i].m;
        if (w->items[i].state != ITEM_OPEN || !keyring_has_sensor(w->options.keyring, m->sensor_id))
            continue;
        w->sensors_ahead[n] = m->sensor_id;
        w->ahead[n++] = m;
    }
    if (n < 2)
        return 0;
    int r = streams_prefetch(w->streams, w->db, w->ahead, n, e);
    return r == 0 ? dims_prefetch(w->dims, w->db, w->sensors_ahead, n, e) : r;
}

// Settles all items in hand, as often as it takes; false when the writer was told to stop first.
static bool work_off(struct writer *w)
{
    int backoff_ms = BACKOFF_FIRST_MS;
    for (;;) {
        note_step(w);
        struct errmsg e = {"out of memory, or the ledger keeps changing"};
        int r = w->db ? 0 : connect_db(w, &e);
        bool was_ok = atomic_load(&w->db_ok);
        if (r == 0)
            r = prefetch(w, &e);
        if (r == 0)
            r = commit_halving(w, 0, w->n_items, &e);
        if (r == 0)
            r = settle_rest(w, &e);
        if (r == 0) { // that it lets us connect is not enough: its disk may be full
            atomic_store(&w->db_ok, true);
            if (!was_ok)
                log_notice("writer %u: the database works again", w->options.number);
            return true;
        }
        atomic_store(&w->db_ok, false);
        if (was_ok || backoff_ms >= BACKOFF_MAX_MS)
            log_error("writer %u: %s; nothing is acknowledged until it works again",
                      w->options.number, e.text);
        drop_db(w);
        if (queue_is_closed(w->queue))
            return false;
        queue_pause(w->queue, backoff_ms);
        backoff_ms = MIN(backoff_ms * 2, BACKOFF_MAX_MS);
    }
}

// Takes the first message that comes and all that wait behind it.
static void fetch_items(struct writer *w)
{
    size_t bytes = 0;
    w->n_items = 0;
    struct message *m = queue_pop(w->queue, IDLE_MS);
    while (m) {
        watch_clones(w, m);
        w->items[w->n_items++] = (struct item){.m = m};
        bytes += zmq_msg_size(&m->payload);
        if (w->n_items == GROUP_MESSAGES || bytes > 8 * 1024 * 1024)
            return;
        m = queue_pop(w->queue, 0);
    }
}

static void discard_items(struct writer *w)
{
    group_clear(w->group);
    for (size_t i = 0; i < w->n_items; i++)
        message_free(w->items[i].m);
    w->n_items = 0;
}

// While the database's disk is nearly full nothing is committed, at a stop neither: what was not
// acknowledged is with its sensors. False: told to stop.
static bool wait_for_room(struct writer *w)
{
    while (atomic_load(&w->options.budget->paused)) {
        if (queue_is_closed(w->queue))
            return false;
        queue_pause(w->queue, IDLE_MS);
    }
    return true;
}

static void *writer_run(void *data)
{
    struct writer *w = data;
    char name[16];
    snprintf(name, sizeof name, "writer %u", w->options.number);
    pthread_setname_np(pthread_self(), name); // for top -H
    w->replies = zmq_socket(w->options.zmq, ZMQ_PUSH);
    int none = 0, forever = -1;
    if (!w->replies || zmq_setsockopt(w->replies, ZMQ_SNDHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(w->replies, ZMQ_LINGER, &forever, sizeof forever) < 0 ||
        zmq_connect(w->replies, WRITER_REPLIES) < 0)
        log_error("writer %u: %s", w->options.number, zmq_strerror(errno));
    bool burst = false;
    for (;;) {
        fetch_items(w);
        if (w->n_items == 0 && queue_is_closed(w->queue))
            break;
        if (!wait_for_room(w))
            break;
        burst |= w->n_items >= BURST_ITEMS;
        if (burst && w->n_items == 0) { // at rest again: what the backlog took is free, but ours
            malloc_trim(0);
            burst = false;
        }
        if (streams_count(w->streams) > STREAMS_MAX)
            forget_streams(w);
        bool done = work_off(w);
        atomic_store(&w->waiting_since, 0);
        if (!done)
            break;
    }
    discard_items(w);
    if (w->replies)
        zmq_close(w->replies);
    return NULL;
}

// ---- life

static void writer_free(struct writer *w)
{
    if (!w)
        return;
    group_free(w->group);
    streams_free(w->streams);
    map_free(w->spool_index);
    free(w->spools);
    free(w->items);
    free(w->ahead);
    free(w->sensors_ahead);
    dims_free(w->dims);
    db_free(w->db);
    queue_free(w->queue);
    free(w);
}
DEFINE_CLEANUP(struct writer *, writer_free)

int writer_start(const struct writer_options *options, struct writer **ret, struct errmsg *e)
{
    _cleanup_(writer_freep) struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->options = *options;
    w->items = calloc(GROUP_MESSAGES, sizeof *w->items);
    w->ahead = calloc(GROUP_MESSAGES, sizeof *w->ahead);
    w->sensors_ahead = calloc(GROUP_MESSAGES, sizeof *w->sensors_ahead);
    if (!w->items || !w->ahead || !w->sensors_ahead || queue_new(&w->queue) < 0 ||
        dims_new(&w->dims) < 0 || group_new(&w->group) < 0 || streams_new(&w->streams) < 0 ||
        map_new(sizeof(int16_t), &w->spool_index) < 0)
        return -ENOMEM;
    int r = connect_db(w, e);
    if (r != 0)
        return r < 0 ? r : -EINVAL;
    atomic_store(&w->db_ok, true);
    r = -pthread_create(&w->thread, NULL, writer_run, w);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    *ret = w;
    w = NULL;
    return 0;
}

void writer_push(struct writer *w, struct message *m)
{
    queue_push(w->queue, m);
}

bool writer_db_ok(struct writer *w)
{
    // It is given up after DB_TIMEOUT_MS; that it hangs is told sooner.
    int64_t since = atomic_load(&w->waiting_since);
    return atomic_load(&w->db_ok) && (since == 0 || clock_ms(CLOCK_MONOTONIC) - since < SLOW_MS);
}

void writer_stop(struct writer *w)
{
    if (!w)
        return;
    queue_close(w->queue);
    pthread_join(w->thread, NULL);
    writer_free(w);
}
