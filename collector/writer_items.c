// What becomes of each message: taken into the group, a duplicate, a gap, a fork; and the answers.
#include <inttypes.h>
#include <string.h>

#include "collector/alarms.h"
#include "collector/known.h"
#include "collector/writer_internal.h"
#include "common/log.h"

#define CLONE_AGAIN_MS 600000

// NULL: no memory.
static struct sensor_spools *sensor_of(struct writer *w, const struct message *m)
{
    struct sensor_spools **s = &w->spools[m->sensor_id];
    if (!*s && (*s = malloc(sizeof **s)))
        **s = (struct sensor_spools){.alarmed_ms = INT64_MIN / 2};
    return *s;
}

void writer_watch_clones(struct writer *w, const struct message *m)
{
    struct sensor_spools *s = sensor_of(w, m);
    if (!s)
        return; // no alarm then
    if (receiver_spool_seen(&s->spools, m->header.spool_id) &&
        w->now_ms - s->alarmed_ms > CLONE_AGAIN_MS) {
        s->alarmed_ms = w->now_ms;
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

static const char *reason_of(const struct item *item)
{
    return item->reason ? item->reason : "out of memory when it was to be said why";
}

void item_acknowledge(struct writer *w, const struct item *item)
{
    struct wire_reply body = {.committed_through = item->stream->receiver.next_seq - 1};
    if (item->aside) // without a word it would be taken for committed
        snprintf(body.detail, sizeof body.detail, "%s", reason_of(item));
    send_reply(w, item->m, item->m->header.seq, WIRE_ACK, &body);
}

// The number asked for says that all before it is committed.
static void send_gap(struct writer *w, const struct item *item)
{
    const struct message *m = item->m;
    uint64_t next_seq = item->stream->receiver.next_seq;
    struct wire_reply body = {.expected_seq = next_seq, .reason = WIRE_NACK_GAP};
    log_info("sensor %s: batch %" PRIu64 " %s, %" PRIu64 " is missing: asked for it", m->name,
             m->header.seq, m->missed ? "was dropped" : "came", next_seq);
    send_reply(w, m, m->header.seq, WIRE_NACK, &body);
}

static void send_fork(struct writer *w, const struct item *item)
{
    const struct message *m = item->m;
    struct wire_reply body = {.expected_seq = item->fork, .reason = WIRE_NACK_FORK};
    if (item->foreign)
        snprintf(body.detail, sizeof body.detail, "the spool is another sensor's");
    else
        snprintf(body.detail, sizeof body.detail,
                 "number %" PRIu64 " was taken with another content", item->fork);
    alarms_raise(w->options.alarms, "alarm fork", m->name, body.detail);
    char more[QUIET_MORE_MAX];
    if (quiet_allows(&w->forks, m->name, mono_ms(), more))
        log_error("alarm fork: sensor %s (%s) sends batch %" PRIu64
                  " %s; it will begin a new one%s",
                  m->name, m->peer, item->fork,
                  item->foreign ? "from a spool of another sensor: it was copied from that machine"
                                : "with another content than before: its spool was restored from "
                                  "a copy",
                  more);
    send_reply(w, m, item->fork, WIRE_NACK, &body);
}

void item_explain(struct item *item, const char *why)
{
    free(item->reason);
    item->reason = strndup(why, WIRE_TEXT_MAX);
    item->aside = true;
}

void item_poison(struct writer *w, struct item *item)
{
    char more[QUIET_MORE_MAX];
    const struct message *m = item->m;
    item->poison = true;
    if (quiet_allows(&w->poison, m->name, mono_ms(), more))
        log_warning("sensor %s (%s): batch %" PRIu64 " goes to quarantine: %s; see "
                    "hirundo-collector quarantine list --sensor %s%s",
                    m->name, m->peer, m->header.seq, reason_of(item), m->name, more);
}

void item_settle(struct item *item)
{
    message_free(item->m);
    free(item->reason);
    item->m = NULL;
    item->reason = NULL;
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

static int add_to_group(struct writer *w, struct item *item, struct errmsg *e)
{
    int r = item->poison
                ? GROUP_POISON
                : group_add(w->group, w->db, w->dims, item->stream, item->m, &w->limits, e);
    if (r == DB_REFUSED && db_is_data_error(w->db))
        r = GROUP_POISON; // a day that gets no partition
    if (r != GROUP_POISON)
        return r;
    if (!item->poison) {
        item_explain(item, e->text);
        item_poison(w, item);
    }
    return group_add_poison(w->group, item->stream, item->m, item->last, reason_of(item), e);
}

static void note_fork(struct sensor_spools *s, const struct message *m, uint64_t fork, bool foreign)
{
    s->fork = fork;
    s->foreign = foreign;
    memcpy(s->forked_route, m->route, m->route_size);
    s->forked_size = m->route_size;
}

// Compares what the ledger has of a message's numbers with what it brings. Does so before anything
// behind it is taken: that belongs to the same other data.
static int look_for_fork(struct writer *w, struct item *item, struct errmsg *e)
{
    const struct message *m = item->m;
    struct sensor_spools *s = sensor_of(w, m);
    if (!s)
        return -ENOMEM;
    uint64_t fork = item->other ? m->header.seq : 0;
    int r = item->compared ? 0 : stream_find_fork(w->db, item->stream, m, &fork, e);
    if (r != 0 || fork == 0)
        return r;
    item->state = ITEM_FORK;
    item->fork = fork;
    note_fork(s, m, fork, false);
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
    item->foreign = s->foreign;
    return true;
}

static bool is_foreign(struct writer *w, struct item *item)
{
    const struct sensor_spools *s = sensor_of(w, item->m);
    return s && s->foreign && is_from_fork(w, item);
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

// A life of the machine makes a connection of its own, and a fork a spool: asked then, and no more
// once there are several.
//
// A spool that is new here, and another sensor's there, came with a copy of that machine: what that
// one has delivered must not come in again under this name. Asked for as if it were a fork: what
// this machine has not delivered follows in a spool of its own.
static int look_for_siblings(struct writer *w, struct item *item, struct errmsg *e)
{
    const struct message *m = item->m;
    struct sensor_spools *s = sensor_of(w, m);
    if (!s)
        return -ENOMEM;
    bool same_spool = memcmp(s->asked_spool, m->header.spool_id, sizeof s->asked_spool) == 0;
    bool asked = same_spool && s->asked_size == m->route_size &&
                 memcmp(s->asked_route, m->route, m->route_size) == 0;
    // Another one asked for before, which the ledger need not know yet.
    if ((s->asked_size > 0 && !same_spool) || item->stream->siblings)
        s->siblings = true;
    bool foreign = false;
    int r = s->siblings || asked ? 0 : known_has_siblings(w->db, item->stream, &s->siblings, e);
    if (r == 0 && !asked && item->stream->receiver.next_seq == 1)
        r = known_is_foreign(w->db, item->stream, &foreign, e);
    if (r != 0)
        return r;
    if (foreign)
        note_fork(s, m, m->header.seq, true);
    memcpy(s->asked_route, m->route, m->route_size);
    s->asked_size = m->route_size;
    memcpy(s->asked_spool, m->header.spool_id, sizeof s->asked_spool);
    item->stream->siblings = s->siblings;
    return 0;
}

// The number that the sensor is asked for is found when all that came with it is committed.
static int ask_for_missed(struct writer *w, struct item *item, struct errmsg *e)
{
    struct receiver *receiver = &item->stream->receiver;
    // Another collector may have taken it, and more.
    int r = receiver->pending_seq == receiver->next_seq ? stream_load(w->db, item->stream, e) : 0;
    if (r != 0)
        return r;
    if (item->m->header.seq < receiver->pending_seq) { // it came again by itself
        item_settle(item);
        return 0;
    }
    receiver_told(receiver, w->now_ms);
    item->state = ITEM_GAP;
    return 0;
}

int item_judge(struct writer *w, struct item *item, struct errmsg *e)
{
    struct message *m = item->m;
    if (!keyring_has_sensor(w->options.keyring, m->sensor_id)) {
        log_info("sensor %s is revoked: batch %" PRIu64 " dropped", m->name, m->header.seq);
        item_settle(item);
        return 0;
    }
    int r = stream_is_read(item->stream) ? 0 : streams_get(w->streams, w->db, m, &item->stream, e);
    if (r != 0)
        return r;
    if (item->stream->revoked) {
        item_settle(item);
        return 0;
    }
    r = look_for_siblings(w, item, e);
    if (r != 0 || is_foreign(w, item))
        return r;
    if (m->missed)
        return ask_for_missed(w, item, e);
    uint64_t first, last;
    message_range(m, &first, &last);
    item->last = last;
    struct receiver *receiver = &item->stream->receiver;
    enum receiver_verdict verdict = receiver_judge(receiver, first, last, w->now_ms);
    if (verdict == RECEIVER_GAP && receiver->pending_seq == receiver->next_seq) {
        // Another collector may have taken what seems to be missing.
        r = stream_load(w->db, item->stream, e);
        if (r != 0)
            return r;
        verdict = receiver_judge(receiver, first, last, w->now_ms);
    }
    switch (verdict) {
    case RECEIVER_TAKE:
        return take_item(w, item, e);
    case RECEIVER_DUPLICATE:
        item->state = ITEM_DUPLICATE;
        return last < receiver->next_seq ? look_for_fork(w, item, e) : 0;
    case RECEIVER_GAP:
        if (message_is_missed(w->options.budget, m->sensor_id))
            break; // dropped for want of memory: it is asked for when there is room
        receiver_told(receiver, w->now_ms);
        item->state = ITEM_GAP;
        return 0;
    case RECEIVER_GAP_TOLD:
        break;
    case RECEIVER_ABSURD:
        log_warning("sensor %s (%s): a message with the number %" PRIu64 ": dropped", m->name,
                    m->peer, m->header.seq);
        break;
    }
    item_settle(item);
    return 0;
}

// ---- many at once

// Compares n items, whose streams are known, with what the ledger has of their numbers.
static int compare_many(struct writer *w, size_t n, struct errmsg *e)
{
    struct ahead *a = &w->ahead;
    if (n < 2)
        return 0; // look_for_fork does as well
    for (size_t i = 0; i < n; i++)
        a->messages[i] = a->items[i]->m;
    int r = streams_compare(w->db, a->streams, a->messages, n, a->compared, a->other, e);
    for (size_t i = 0; r == 0 && i < n; i++) {
        a->items[i]->compared = a->compared[i];
        a->items[i]->other = a->other[i];
    }
    return r;
}

// The items of batches that the ledger has, judged as duplicates or not judged yet.
static int compare_known(struct writer *w, struct errmsg *e)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];
        if ((item->state != ITEM_OPEN && item->state != ITEM_DUPLICATE) || item->compared ||
            item->m->header.kind != WIRE_BATCH || !stream_is_read(item->stream) ||
            item->m->header.seq >= item->stream->receiver.next_seq)
            continue;
        w->ahead.streams[n] = item->stream;
        w->ahead.items[n++] = item;
    }
    return compare_many(w, n, e);
}

void writer_forget_elsewhere(struct writer *w)
{
    for (size_t i = 0; w->asked_elsewhere && i < w->n_items; i++)
        if (w->items[i].m)
            w->items[i].m->elsewhere = ELSEWHERE_NOT_ASKED;
    w->asked_elsewhere = false;
}

// Of a sensor with several spools, next in line for all that is known, and not asked for yet.
static bool may_be_elsewhere(const struct writer *w, const struct item *item)
{
    const struct message *m = item->m;
    if (item->state != ITEM_OPEN || m->header.kind != WIRE_BATCH || !message_has_windows(m) ||
        m->elsewhere != ELSEWHERE_NOT_ASKED || !stream_is_read(item->stream) ||
        m->header.seq < item->stream->receiver.next_seq)
        return false;
    const struct sensor_spools *s = w->spools[m->sensor_id];
    return item->stream->siblings || (s && s->siblings);
}

int writer_look_elsewhere(struct writer *w, size_t from, size_t to, struct errmsg *e)
{
    struct ahead *a = &w->ahead;
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        const struct item *item = &w->items[i];
        if (!may_be_elsewhere(w, item))
            continue;
        a->streams[n] = item->stream;
        a->messages[n++] = item->m;
    }
    if (n < 2)
        return 0; // find_known does as well
    w->asked_elsewhere = true;
    return known_elsewhere_many(w->db, a->streams, a->messages, n, e);
}

int writer_prefetch(struct writer *w, struct errmsg *e)
{
    struct ahead *a = &w->ahead;
    size_t n = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        struct message *m = w->items[i].m;
        if (w->items[i].state != ITEM_OPEN || !keyring_has_sensor(w->options.keyring, m->sensor_id))
            continue;
        a->items[n] = &w->items[i];
        a->sensors[n] = m->sensor_id;
        a->messages[n++] = m;
    }
    if (n < 2)
        return 0;
    int r = streams_prefetch(w->streams, w->db, a->messages, n, a->streams, e);
    for (size_t i = 0; r == 0 && i < n; i++)
        a->items[i]->stream = a->streams[i];
    if (r == 0)
        r = dims_prefetch(w->dims, w->db, a->sensors, n, e);
    return r == 0 ? compare_known(w, e) : r;
}

// ---- duplicates and gaps

static void note_aside(void *context, size_t i, const char *reason)
{
    item_explain(((struct ahead *)context)->items[i], reason);
}

// The first ack of a batch that went to quarantine may have been lost: what comes again is told the
// same.
static int look_aside(struct writer *w, struct errmsg *e)
{
    struct ahead *a = &w->ahead;
    size_t n = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        struct item *item = &w->items[i];
        if (item->state != ITEM_DUPLICATE)
            continue;
        a->items[n] = item;
        a->streams[n] = item->stream;
        a->messages[n++] = item->m;
    }
    return n == 0 ? 0 : streams_aside(w->db, a->streams, a->messages, n, note_aside, a, e);
}

int writer_settle_rest(struct writer *w, struct errmsg *e)
{
    // What was the same as something in the open group is compared now.
    int r = compare_known(w, e);
    if (r == 0)
        r = look_aside(w, e);
    for (size_t i = 0; r == 0 && i < w->n_items; i++) {
        struct item *item = &w->items[i];
        r = item->state == ITEM_DUPLICATE ? look_for_fork(w, item, e) : 0;
        if (r != 0)
            return r;
        if (item->state == ITEM_DUPLICATE) {
            log_debug("sensor %s: batch %" PRIu64 " came again", item->m->name,
                      item->m->header.seq);
            item_acknowledge(w, item);
            metrics_add(&w->options.metrics->duplicates, 1);
        } else if (item->state == ITEM_FORK) {
            metrics_add(&w->options.metrics->forks, 1);
            send_fork(w, item);
        } else if (item->state == ITEM_GAP) {
            metrics_add(&w->options.metrics->gaps, 1);
            send_gap(w, item);
        } else {
            continue;
        }
        item_settle(item);
    }
    return r;
}
