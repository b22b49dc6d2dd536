// A sensor: the real sender, driven as sensor/uplink.c and uplink_link.c drive it.
#include <string.h>

#include "tests/sim/world.h"

#define ACTIONS_MAX 1000 // of one turn; more would be a livelock

static void act(struct world *w, struct sensor_node *s);

static int new_sender(struct world *w, struct sensor_node *s)
{
    struct sender_config config;
    sender_config_defaults(&config);
    config.endpoints = w->n_collectors;
    config.random_seed = rng_next(&w->rng);
    sender_free(s->sender);
    s->sender = NULL;
    return sender_new(&config, s->spool.acked, s->spool.next, &s->sender);
}

static void append(struct world *w, struct sensor_node *s, struct entry entry)
{
    if (spool_model_append(&s->spool, entry) < 0)
        world_fail(w, "out of memory");
}

static void append_unknown(struct world *w, struct sensor_node *s, int64_t lo)
{
    TRACE(w, "sensor %u: number %llu declares (%lld, %lld] unknown", s->number,
          (unsigned long long)s->spool.next, (long long)lo, (long long)w->now);
    append(w, s,
           (struct entry){.kind = ENTRY_UNKNOWN, .lo = lo, .hi = MAX(w->now, lo), .bytes = 100});
}

int sensor_init(struct world *w, struct sensor_node *s)
{
    static const int64_t least_cap = 4;
    uint32_t cap = (uint32_t)rng_spread(&w->rng, least_cap, 4000);
    uint32_t loss_cap = (uint32_t)rng_spread(&w->rng, 4, 400);
    spool_model_init(&s->spool, ++w->spools, cap, loss_cap);
    s->spool.live_since = w->now;
    s->timer_at = INT64_MAX;
    s->running = true;
    int r = new_sender(w, s);
    if (r == 0)
        world_post(w, w->now + rng_between(&w->rng, 1, MINUTE), EVENT_WINDOW, s->number, 0, NULL);
    act(w, s);
    return r;
}

void sensor_release(struct sensor_node *s)
{
    sender_free(s->sender);
    spool_model_release(&s->spool);
    spool_model_release(&s->snapshot);
    truth_release(s);
}

// ---- the socket

static void close_socket(struct world *w, struct sensor_node *s)
{
    if (s->route == 0)
        return;
    // What is under way may still arrive, all, a part or nothing, beside what the next connection
    // brings: that is how messages are lost and reordered around reconnects.
    struct old_route *old = &s->old[s->n_old++ % OLD_ROUTES];
    old->route = s->route;
    old->lost_after = w->now + (rng_one_in(&w->rng, 2) ? 0 : rng_spread(&w->rng, 1, 100000));
    s->route = 0;
    s->last_arrival_up = s->last_arrival_down = 0;
    TRACE(w, "sensor %u: closed", s->number);
}

static void do_connect(struct world *w, struct sensor_node *s, uint32_t endpoint)
{
    const struct collector_node *c = &w->collectors[endpoint];
    s->route = ++w->routes;
    if (s->endpoint != endpoint)
        w->tally->failovers++;
    s->endpoint = endpoint;
    s->last_arrival_up = s->last_arrival_down = 0;
    w->tally->connections++;
    TRACE(w, "sensor %u: connects to collector %u, route %u", s->number, endpoint, s->route);
    int64_t at = MAX(w->now, s->stalled_until[endpoint]) + world_delay(w);
    // A machine that is off does not even refuse.
    if (c->running)
        world_post(w, at, EVENT_CONNECTED, s->number, s->route, NULL);
    else if (!rng_one_in(&w->rng, 3))
        world_post(w, at, EVENT_LINK_LOST, s->number, s->route, NULL);
}

static void transmit(struct world *w, struct sensor_node *s, struct sim_message *m)
{
    m->sensor = s->number;
    m->route = s->route;
    m->spool = s->spool.id;
    int64_t at = MAX(w->now, s->stalled_until[s->endpoint]) + world_delay(w);
    s->last_arrival_up = MAX(at, s->last_arrival_up);
    w->tally->messages++;
    world_post(w, s->last_arrival_up, EVENT_TO_COLLECTOR, s->endpoint, s->peer_epoch, m);
}

static void do_ping(struct world *w, struct sensor_node *s)
{
    struct sim_message *m = calloc(1, sizeof *m);
    if (!m) {
        world_fail(w, "out of memory");
        return;
    }
    m->kind = MESSAGE_PING;
    transmit(w, s, m);
}

// How many entries the rows first..last take up; 0: a batch is among them.
static uint32_t count_losses(const struct spool_model *spool, uint64_t first, uint64_t last)
{
    uint32_t n = 0;
    for (uint64_t seq = first; seq <= last; n++) {
        const struct entry *e = spool_model_at(spool, seq);
        if (e->kind == ENTRY_BATCH)
            return 0;
        seq = e->last - spool->base + 1;
    }
    return n;
}

static void fill_loss(struct sim_message *m, const struct spool_model *spool, uint64_t first,
                      uint64_t last)
{
    m->kind = MESSAGE_LOSS;
    for (uint64_t seq = first; seq <= last; seq = m->parts[m->parts_n++].last + 1) {
        const struct entry *e = spool_model_at(spool, seq);
        m->parts[m->parts_n] = (struct loss_part){
            .first = e->first - spool->base,
            .last = e->last - spool->base,
            .unknown = e->kind == ENTRY_UNKNOWN,
            .content = e->content,
            .lo = e->lo,
            .hi = e->hi,
        };
        m->last_window = MAX(m->last_window, e->hi);
    }
    // The spool may have merged losses since it was looked at.
    m->first = m->parts[0].first;
    m->last = m->parts[m->parts_n - 1].last;
}

static void do_send(struct world *w, struct sensor_node *s, uint64_t first, uint64_t last)
{
    const struct entry *e = spool_model_at(&s->spool, first);
    bool batch = e->kind == ENTRY_BATCH;
    uint32_t losses = batch ? 0 : count_losses(&s->spool, first, last);
    if (batch ? first != last : losses == 0) { // it has changed since it was looked at
        sender_unsent(s->sender, w->now, false);
        return;
    }
    struct sim_message *m = calloc(1, sizeof *m + losses * sizeof m->parts[0]);
    if (!m) {
        world_fail(w, "out of memory");
        return;
    }
    if (batch) {
        m->kind = MESSAGE_BATCH;
        m->first = m->last = first;
        m->content = e->content;
        m->first_window = e->lo;
        m->last_window = e->hi;
    } else {
        fill_loss(m, &s->spool, first, last);
    }
    m->bytes = batch ? e->bytes : 100 * losses;
    TRACE(w, "sensor %u: sends %s %llu..%llu", s->number, batch ? "batch" : "loss",
          (unsigned long long)m->first, (unsigned long long)m->last);
    transmit(w, s, m);
}

// ---- what the sender asks for

// Everything up to `through` is said to be committed: it must be.
static void check_acked(struct world *w, struct sensor_node *s, uint64_t through)
{
    const struct spool_model *spool = &s->spool;
    for (uint64_t seq = spool->acked + 1; seq <= through && !w->failed; seq++) {
        const struct entry *e = spool_model_at(spool, seq);
        if (e->last - spool->base > through)
            continue; // a range merged since: the rest of it goes out yet, and tells of all
        uint32_t missing = truth_missing(s, e);
        if (missing != 0)
            world_fail(w,
                       "sensor %u: number %llu (batch %u) is taken for acknowledged, but it is not "
                       "in the database",
                       s->number, (unsigned long long)seq, missing);
    }
}

static void note_position(struct world *w, struct sensor_node *s, const struct sender_action *a)
{
    if (a->what == SENDER_REWIND) {
        TRACE(w, "sensor %u: rewinds to %llu", s->number, (unsigned long long)a->seq_last);
        spool_model_rewind(&s->spool, a->seq_last);
        return;
    }
    TRACE(w, "sensor %u: acknowledged through %llu", s->number, (unsigned long long)a->seq_last);
    if (!s->stale_answer)
        check_acked(w, s, a->seq_last);
    spool_model_acked(&s->spool, a->seq_last, w->now);
    s->unsettled &= a->seq_last + 1 < s->spool.next;
}

// The old spool goes: should the database be set back from here on, nobody has it any more.
static void forget(struct world *w, struct sensor_node *s, uint64_t from)
{
    int64_t through = from > 1 ? spool_model_at(&s->spool, from - 1)->hi : 0;
    for (uint32_t n = s->truth.n; n > 0; n--) {
        if (s->truth.made[n - 1] <= through && s->truth.forgotten[n - 1] == 0)
            s->truth.forgotten[n - 1] = w->db.epoch + 1;
    }
}

// The name of the spool that a fork makes, as spool_id_forked has it: the same where the same data
// is moved out of the same spool at the same number. Nothing moved: a new one.
static uint32_t forked_id(struct world *w, const struct sensor_node *s, uint64_t from)
{
    struct sim_fork fork = {.old = s->spool.id, .from = from, .id = w->spools + 1};
    if (from < s->spool.next)
        fork.what = *spool_model_at(&s->spool, from);
    for (size_t i = 0; i < w->n_forks && from < s->spool.next; i++) {
        const struct sim_fork *f = &w->forks[i];
        if (f->old == fork.old && f->from == from && f->what.kind == fork.what.kind &&
            f->what.content == fork.what.content && f->what.lo == fork.what.lo &&
            f->what.hi == fork.what.hi &&
            f->what.last - f->what.first == fork.what.last - fork.what.first)
            return f->id;
    }
    w->spools++;
    struct sim_fork *forks = realloc(w->forks, (w->n_forks + 1) * sizeof *forks);
    if (!forks) {
        world_fail(w, "out of memory");
        return fork.id;
    }
    w->forks = forks;
    forks[w->n_forks++] = fork;
    return fork.id;
}

static void do_fork(struct world *w, struct sensor_node *s, uint64_t from)
{
    if (s->disk_full) {
        sender_look_failed(s->sender, w->now);
        return;
    }
    forget(w, s, from);
    spool_model_fork(&s->spool, from, forked_id(w, s, from));
    TRACE(w, "sensor %u: fork at %llu, now spool %u", s->number, (unsigned long long)from,
          s->spool.id);
    w->tally->forks++;
    sender_restart(s->sender, w->now, 0, s->spool.next);
}

static void do_look(struct sensor_node *s, uint64_t seq)
{
    uint64_t first;
    uint64_t last;
    uint32_t bytes;
    spool_model_look(&s->spool, seq, &first, &last, &bytes);
    sender_found(s->sender, first, last, bytes);
}

static void do_action(struct world *w, struct sensor_node *s, const struct sender_action *a)
{
    switch (a->what) {
    case SENDER_CONNECT:
        do_connect(w, s, a->endpoint);
        break;
    case SENDER_DISCONNECT:
        close_socket(w, s);
        break;
    case SENDER_LOOK:
        do_look(s, a->seq_first);
        break;
    case SENDER_SEND:
        do_send(w, s, a->seq_first, a->seq_last);
        break;
    case SENDER_PING:
        do_ping(w, s);
        break;
    case SENDER_ACKED:
    case SENDER_REWIND:
        note_position(w, s, a);
        break;
    case SENDER_FORK:
        do_fork(w, s, a->seq_first);
        break;
    case SENDER_WAIT:
        break;
    }
}

static void act(struct world *w, struct sensor_node *s)
{
    struct sender_action a;
    int n = 0;
    for (sender_next(s->sender, w->now, &a); a.what != SENDER_WAIT && !w->failed;
         sender_next(s->sender, w->now, &a)) {
        do_action(w, s, &a);
        if (++n == ACTIONS_MAX)
            world_fail(w, "sensor %u: the sender never waits", s->number);
    }
    s->stale_answer = false;
    int64_t at = MAX(a.until_ms, w->now + 1);
    if (at < s->timer_at) {
        s->timer_at = at;
        world_post(w, at, EVENT_SENSOR_TIMER, s->number, s->epoch, NULL);
    }
}

// ---- events

static void spool_queue(struct world *w, struct sensor_node *s)
{
    if (s->disk_full || !s->running)
        return;
    while (s->spooled < s->truth.n) {
        int64_t t = s->truth.made[s->spooled++];
        append(w, s,
               (struct entry){.kind = ENTRY_BATCH,
                              .content = s->spooled,
                              .bytes = (uint32_t)rng_spread(&w->rng, 300, 300000),
                              .lo = t - 1,
                              .hi = t});
    }
    sender_spooled(s->sender, s->spool.next);
}

void sensor_window(struct world *w, struct sensor_node *s)
{
    // The last ones come after the last fault: the first message after it is what tells a sensor
    // that the database was set back.
    if (w->quiet && w->now > w->quiet_at + LAST_WINDOWS * MINUTE)
        return;
    world_post(w, w->now + MINUTE, EVENT_WINDOW, s->number, 0, NULL);
    if (!s->running)
        return;
    if (truth_add(s, w->now) < 0)
        world_fail(w, "out of memory");
    spool_queue(w, s);
    act(w, s);
}

void sensor_timer(struct world *w, struct sensor_node *s)
{
    if (w->now != s->timer_at)
        return; // an earlier one was asked for since
    s->timer_at = INT64_MAX;
    act(w, s);
}

void sensor_connected(struct world *w, struct sensor_node *s)
{
    if (!w->collectors[s->endpoint].running) {
        sensor_link_lost(w, s);
        return;
    }
    s->peer_epoch = w->collectors[s->endpoint].epoch;
    TRACE(w, "sensor %u: connected", s->number);
    sender_connected(s->sender, w->now);
    act(w, s);
}

void sensor_link_lost(struct world *w, struct sensor_node *s)
{
    TRACE(w, "sensor %u: connection lost", s->number);
    close_socket(w, s);
    sender_disconnected(s->sender, w->now, SENDER_LINK_LOST);
    act(w, s);
}

bool sensor_still_sends(const struct world *w, const struct sensor_node *s, uint32_t route)
{
    if (route == s->route)
        return true;
    for (size_t i = 0; i < OLD_ROUTES; i++) {
        if (s->old[i].route == route)
            return w->now < s->old[i].lost_after;
    }
    return false;
}

void sensor_hear(struct world *w, struct sensor_node *s, const struct sim_reply *reply)
{
    s->stale_answer = reply->db_epoch != w->db.epoch;
    static const char *const names[] = {"pong", "ack", "gap", "fork"};
    if (reply->kind != REPLY_PONG)
        TRACE(w, "sensor %u: hears %s %llu, credit %llu", s->number, names[reply->kind],
              (unsigned long long)reply->number, (unsigned long long)reply->credit);
    if (reply->kind == REPLY_PONG)
        sender_pong(s->sender, w->now, reply->credit);
    else if (reply->spool != s->spool.id)
        TRACE(w, "sensor %u: of another spool", s->number);
    else if (reply->kind == REPLY_ACK)
        sender_ack(s->sender, w->now, reply->seq, reply->number, reply->credit);
    else if (reply->kind == REPLY_GAP)
        sender_nack_gap(s->sender, w->now, reply->number, reply->credit);
    else
        sender_nack_fork(s->sender, w->now, reply->number, reply->credit);
    act(w, s);
}

void sensor_disk_works(struct world *w, struct sensor_node *s)
{
    s->disk_full = false;
    if (!s->running)
        return;
    spool_queue(w, s);
    act(w, s);
}

// ---- life and death

static void off(struct world *w, struct sensor_node *s, int64_t down_ms)
{
    close_socket(w, s);
    s->running = false;
    s->epoch++;
    s->timer_at = INT64_MAX;
    world_post(w, w->now + down_ms, EVENT_SENSOR_START, s->number, s->epoch, NULL);
}

void sensor_crash(struct world *w, struct sensor_node *s, int64_t down_ms)
{
    TRACE(w, "sensor %u: crashes", s->number);
    off(w, s, down_ms);
    spool_model_crash(&s->spool, w->now);
    s->spooled = s->truth.n; // what waited in memory is gone
}

void sensor_stop(struct world *w, struct sensor_node *s, int64_t down_ms)
{
    if (s->disk_full) { // what cannot be written at the end is lost: not a clean end
        sensor_crash(w, s, down_ms);
        return;
    }
    TRACE(w, "sensor %u: stops", s->number);
    off(w, s, down_ms);
    spool_model_sync(&s->spool);
    s->spool.live_since = 0;
}

// Does a collector still hold what this sensor sent before it was set back?
static bool past_is_under_way(const struct world *w, const struct sensor_node *s)
{
    if (!s->set_back || w->leftovers)
        return false;
    for (uint32_t i = 0; i < w->n_collectors; i++) {
        if (collector_holds(&w->collectors[i], s->number))
            return true;
    }
    return false;
}

void sensor_start(struct world *w, struct sensor_node *s)
{
    if (s->disk_full || past_is_under_way(w, s)) {
        world_post(w, w->now + MINUTE, EVENT_SENSOR_START, s->number, s->epoch, NULL);
        return;
    }
    s->set_back = false;
    s->running = true;
    if (s->spool.live_since != 0)
        append_unknown(w, s, s->spool.live_since);
    s->spool.live_since = w->now;
    TRACE(w, "sensor %u: starts, spool %u, acked %llu, next %llu", s->number, s->spool.id,
          (unsigned long long)s->spool.acked, (unsigned long long)s->spool.next);
    if (new_sender(w, s) < 0)
        world_fail(w, "sensor %u: no sender", s->number);
    else
        act(w, s);
}

// The spool file is damaged: set aside, a new one begun (spool_renew).
void sensor_damage(struct world *w, struct sensor_node *s)
{
    TRACE(w, "sensor %u: spool damaged", s->number);
    uint32_t cap = s->spool.cap;
    uint32_t loss_cap = s->spool.loss_cap;
    spool_model_release(&s->spool);
    spool_model_init(&s->spool, ++w->spools, cap, loss_cap);
    append_unknown(w, s, 0);
    s->spool.live_since = w->now;
    sender_restart(s->sender, w->now, 0, s->spool.next);
    act(w, s);
}

void sensor_snapshot(struct world *w, struct sensor_node *s)
{
    spool_model_release(&s->snapshot);
    s->has_snapshot = spool_model_copy(&s->spool, &s->snapshot) == 0;
    TRACE(w, "sensor %u: snapshot of spool %u: acked %llu, next %llu", s->number, s->spool.id,
          (unsigned long long)s->snapshot.acked, (unsigned long long)s->snapshot.next);
}

// The machine comes back from its snapshot: what was spooled since is gone.
void sensor_old_copy(struct world *w, struct sensor_node *s, int64_t down_ms)
{
    struct spool_model copy;
    if (spool_model_copy(&s->snapshot, &copy) < 0) {
        world_fail(w, "sensor %u: no memory for a copy", s->number);
        return;
    }
    TRACE(w, "sensor %u: set back to the copy of spool %u", s->number, s->snapshot.id);
    off(w, s, down_ms);
    s->spooled = s->truth.n;
    spool_model_release(&s->spool);
    s->spool = copy;
    s->has_snapshot = w->again;
    s->set_back = s->unsettled = true;
}

bool sensor_is_done(const struct world *w, const struct sensor_node *s)
{
    struct sender_state state;
    if (!s->running || s->spooled < s->truth.n || s->truth.n == 0)
        return false;
    sender_state(s->sender, &state);
    return state.acked + 1 == state.next && state.next == s->spool.next &&
           ledger_next_seq(w->db.ledger, s->number, s->spool.id) == s->spool.next;
}
