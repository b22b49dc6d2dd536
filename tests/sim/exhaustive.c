// hirundo-sim-exhaustive: every order of events up to a depth, for windows of 1, 2 and 3 messages.
//
// One sensor and one or two collectors with the real sender and receiver, one ledger, a few
// batches, and at most so many faults on the way. From each state that is met for the first time
// the world is then left alone: everything must come to be committed, once, and acknowledged.
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "collector/receiver.h"
#include "common/util.h"
#include "sensor/sender.h"

#define BATCHES      3
#define COPIES       2                  // old ones that come back
#define NUMBERS      (BATCHES + 2)      // 1.. ; one more after an old copy, one spare
#define CONTENTS     (BATCHES + COPIES) // behind the batches what is made after an old copy
#define SPOOLS       3                  // forks
#define COLLECTORS   2
#define PIPE         12
#define BATCH_BYTES  100
#define QUIET_STEPS  400
#define VISITED_SIZE (1u << 24)

enum reply_kind { R_PONG, R_ACK, R_GAP, R_FORK };

struct up {
    uint8_t ping, spool, content;
    uint8_t seq;
};

struct down {
    uint8_t kind, spool, seq, number;
    uint8_t epoch;
};

struct collector {
    struct receiver receiver[SPOOLS];
    uint8_t loaded[SPOOLS];
    uint8_t n_hand, n_group;
    struct up hand[PIPE]; // judged, not answered
    uint8_t verdict[PIPE];
};

// Everything but the sender: plain data, so that states can be copied and compared.
struct model {
    int64_t now;
    uint8_t window, collectors;
    uint8_t faults_left, made;
    // the spool
    uint8_t content[NUMBERS + 1]; // by number
    uint8_t next, acked, acked_disk, spool;
    uint8_t set_back; // so often an old copy came back
    uint8_t gone[CONTENTS + 1];
    // between
    uint8_t connected, at; // at: which collector
    uint8_t stale_answer;
    uint8_t n_up, n_down;
    struct up up[PIPE];
    struct down down[PIPE];
    struct collector collector[COLLECTORS];
    // the database
    uint8_t ledger_next[SPOOLS];
    uint8_t ledger[SPOOLS][NUMBERS + 1];
    uint8_t epoch;
};

struct state {
    struct model m;
    struct sender *sender;
};

struct search {
    uint64_t *visited; // hash, its low bits replaced by the depth that was left
    uint64_t states, steps, quiet_steps;
    uint8_t path[64];
    unsigned n_path;
    char failure[256];
};

__attribute__((format(printf, 2, 3))) static void fail(struct search *x, const char *format, ...)
{
    if (x->failure[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(x->failure, sizeof x->failure, format, args);
    va_end(args);
}

// ---- between

static void answer(struct search *x, struct model *m, unsigned from, enum reply_kind kind,
                   const struct up *to, uint64_t number)
{
    if (!m->connected || m->at != from)
        return;
    if (m->n_down == PIPE) {
        fail(x, "more answers than messages");
        return;
    }
    m->down[m->n_down++] = (struct down){.kind = (uint8_t)kind,
                                         .spool = to->spool,
                                         .seq = to->seq,
                                         .number = (uint8_t)number,
                                         .epoch = m->epoch};
}

static void pop_up(struct model *m)
{
    memmove(m->up, m->up + 1, --m->n_up * sizeof m->up[0]);
    m->up[m->n_up] = (struct up){0};
}

static void pop_down(struct model *m)
{
    memmove(m->down, m->down + 1, --m->n_down * sizeof m->down[0]);
    m->down[m->n_down] = (struct down){0};
}

static void clear_connection(struct model *m)
{
    m->connected = 0;
    m->n_up = m->n_down = 0;
    memset(m->up, 0, sizeof m->up);
    memset(m->down, 0, sizeof m->down);
}

// ---- the collector

static void clear_hand(struct collector *c)
{
    c->n_hand = c->n_group = 0;
    memset(c->hand, 0, sizeof c->hand);
    memset(c->verdict, 0, sizeof c->verdict);
}

static void forget(struct collector *c)
{
    memset(c, 0, sizeof *c);
}

static void forget_all(struct model *m)
{
    for (unsigned i = 0; i < COLLECTORS; i++)
        forget(&m->collector[i]);
}

// As the writer does: what seems to be missing may have been taken by another collector.
static enum receiver_verdict judge(struct model *m, struct collector *c, const struct up *u)
{
    struct receiver *r = &c->receiver[u->spool];
    if (!c->loaded[u->spool])
        receiver_start(r, m->ledger_next[u->spool]);
    c->loaded[u->spool] = 1;
    enum receiver_verdict verdict = receiver_judge(r, u->seq, u->seq, m->now);
    if (verdict == RECEIVER_GAP && r->pending_seq == r->next_seq) {
        receiver_reload(r, m->ledger_next[u->spool]);
        verdict = receiver_judge(r, u->seq, u->seq, m->now);
    }
    if (verdict == RECEIVER_TAKE) {
        receiver_take(r, u->seq);
        c->n_group++;
    } else if (verdict == RECEIVER_GAP) {
        receiver_told(r, m->now);
    }
    return verdict;
}

static void hold(struct model *m, struct collector *c, const struct up *u)
{
    enum receiver_verdict verdict = judge(m, c, u);
    if (verdict != RECEIVER_TAKE && verdict != RECEIVER_GAP && verdict != RECEIVER_DUPLICATE)
        return;
    c->hand[c->n_hand] = *u;
    c->verdict[c->n_hand++] = (uint8_t)verdict;
}

static void receive(struct search *x, struct model *m)
{
    struct up u = m->up[0];
    pop_up(m);
    if (u.ping)
        answer(x, m, m->at, R_PONG, &u, 0);
    else
        hold(m, &m->collector[m->at], &u);
}

static void check_new(struct search *x, const struct model *m, uint8_t content)
{
    for (unsigned s = 0; s < SPOOLS; s++) {
        for (unsigned n = 1; n < m->ledger_next[s]; n++) {
            if (m->ledger[s][n] == content)
                fail(x, "batch %u is in the database twice", content);
        }
    }
}

// The ledger is not what this collector thought: nothing is committed, all is judged again.
static bool is_stale(const struct model *m, const struct collector *c)
{
    bool stale = false;
    for (uint8_t i = 0; i < c->n_hand; i++)
        stale |= c->verdict[i] == RECEIVER_TAKE &&
                 c->receiver[c->hand[i].spool].next_seq != m->ledger_next[c->hand[i].spool];
    return stale;
}

static void judge_again(struct model *m, struct collector *c)
{
    const struct collector before = *c;
    clear_hand(c);
    for (unsigned spool = 0; spool < SPOOLS; spool++) {
        if (c->loaded[spool])
            receiver_reload(&c->receiver[spool], m->ledger_next[spool]);
    }
    for (uint8_t i = 0; i < before.n_hand; i++)
        hold(m, c, &before.hand[i]);
}

static void commit(struct search *x, struct model *m, struct collector *c)
{
    if (is_stale(m, c))
        judge_again(m, c);
    for (uint8_t i = 0; i < c->n_hand; i++) {
        const struct up *u = &c->hand[i];
        if (c->verdict[i] != RECEIVER_TAKE)
            continue;
        if (u->seq != m->ledger_next[u->spool])
            fail(x, "number %u is committed out of order", u->seq);
        check_new(x, m, u->content);
        m->ledger[u->spool][m->ledger_next[u->spool]++] = u->content;
        receiver_committed(&c->receiver[u->spool], m->ledger_next[u->spool]);
    }
}

static void settle(struct search *x, struct model *m, unsigned at)
{
    struct collector *c = &m->collector[at];
    const struct up *last = NULL;
    for (uint8_t i = 0; i < c->n_hand; i++)
        last = c->verdict[i] == RECEIVER_TAKE ? &c->hand[i] : last;
    if (last)
        answer(x, m, at, R_ACK, last, c->receiver[last->spool].next_seq - 1);
    for (uint8_t i = 0; i < c->n_hand; i++) {
        const struct up *u = &c->hand[i];
        uint64_t next = c->receiver[u->spool].next_seq;
        if (c->verdict[i] == RECEIVER_GAP) {
            answer(x, m, at, R_GAP, u, next);
        } else if (c->verdict[i] == RECEIVER_DUPLICATE) {
            bool kept = u->seq < m->ledger_next[u->spool];
            uint8_t stored[WIRE_SHA256_SIZE] = {m->ledger[u->spool][u->seq]};
            uint8_t digest[WIRE_SHA256_SIZE] = {u->content};
            if (receiver_is_fork(kept ? stored : NULL, digest))
                answer(x, m, at, R_FORK, u, u->seq);
            else
                answer(x, m, at, R_ACK, u, next - 1);
        }
    }
    clear_hand(c);
}

// ---- the sensor

static void check_acked(struct search *x, const struct model *m, uint64_t through)
{
    for (uint64_t n = m->acked + 1; n <= through && !m->stale_answer; n++) {
        if (n >= m->ledger_next[m->spool] || m->ledger[m->spool][n] != m->content[n])
            fail(x, "number %u is taken for acknowledged, but it is not in the database",
                 (unsigned)n);
    }
}

static void do_fork(struct search *x, struct state *s, uint64_t from)
{
    struct model *m = &s->m;
    if (m->spool + 1 == SPOOLS) {
        fail(x, "more forks than old copies");
        return;
    }
    m->spool++;
    memmove(m->content + 1, m->content + from, m->next - from);
    m->next = (uint8_t)(m->next - (from - 1));
    memset(m->content + m->next, 0, sizeof m->content - m->next);
    m->acked = m->acked_disk = 0;
    sender_restart(s->sender, m->now, 0, m->next);
}

static void put_up(struct search *x, struct model *m, const struct sender_action *a)
{
    if (m->n_up == PIPE) {
        fail(x, "more messages than the window");
        return;
    }
    bool ping = a->what == SENDER_PING;
    m->up[m->n_up++] = (struct up){.ping = ping,
                                   .spool = m->spool,
                                   .content = ping ? 0 : m->content[a->seq_first],
                                   .seq = (uint8_t)a->seq_first};
}

static int64_t act(struct search *x, struct state *s)
{
    struct model *m = &s->m;
    struct sender_action a;
    int n = 0;
    for (sender_next(s->sender, m->now, &a); a.what != SENDER_WAIT && !x->failure[0];
         sender_next(s->sender, m->now, &a)) {
        if (++n > 100)
            fail(x, "the sender never waits");
        if (a.what == SENDER_CONNECT) {
            m->connected = 1;
            m->at = (uint8_t)a.endpoint;
            sender_connected(s->sender, m->now);
        } else if (a.what == SENDER_DISCONNECT) {
            clear_connection(m);
        } else if (a.what == SENDER_LOOK) {
            sender_found(s->sender, a.seq_first, a.seq_first, BATCH_BYTES);
        } else if (a.what == SENDER_SEND || a.what == SENDER_PING) {
            put_up(x, m, &a);
        } else if (a.what == SENDER_FORK) {
            do_fork(x, s, a.seq_first);
        } else {
            if (a.what == SENDER_ACKED)
                check_acked(x, m, a.seq_last);
            else
                m->acked_disk = (uint8_t)a.seq_last;
            m->acked = (uint8_t)a.seq_last;
        }
    }
    m->stale_answer = 0;
    return a.until_ms;
}

static void hear(struct state *s)
{
    struct model *m = &s->m;
    struct down d = m->down[0];
    uint64_t credit = (uint64_t)m->window * BATCH_BYTES;
    pop_down(m);
    m->stale_answer = d.epoch != m->epoch;
    if (d.kind == R_PONG)
        sender_pong(s->sender, m->now, credit);
    else if (d.spool != m->spool)
        return;
    else if (d.kind == R_ACK)
        sender_ack(s->sender, m->now, d.seq, d.number, credit);
    else if (d.kind == R_GAP)
        sender_nack_gap(s->sender, m->now, d.number, credit);
    else
        sender_nack_fork(s->sender, m->now, d.number, credit);
}

static void spool_batch(struct state *s)
{
    struct model *m = &s->m;
    m->content[m->next++] = ++m->made;
    m->acked_disk = m->acked;
    sender_spooled(s->sender, m->next);
}

static void cut(struct state *s, enum sender_loss_of_link why)
{
    clear_connection(&s->m);
    sender_disconnected(s->sender, s->m.now, why);
}

static void new_sender(struct search *x, struct state *s)
{
    struct sender_config config;
    memset(&config, 0, sizeof config); // what lies between fields is part of the fingerprint
    sender_config_defaults(&config);
    config.endpoints = s->m.collectors;
    config.random_seed = 1;
    clear_connection(&s->m);
    s->m.acked = s->m.acked_disk;
    sender_free(s->sender);
    s->sender = NULL;
    if (sender_new(&config, s->m.acked, s->m.next, &s->sender) < 0)
        fail(x, "no sender");
}

// The machine comes back from a copy made before its last batch, and goes on with another one.
static void old_copy(struct search *x, struct state *s)
{
    struct model *m = &s->m;
    m->set_back++;
    m->gone[m->content[--m->next]] = 1;
    m->acked_disk = MIN(m->acked_disk, (uint8_t)(m->next - 1));
    m->content[m->next++] = (uint8_t)(BATCHES + m->set_back);
    // What the former life sent is settled before the machine is back.
    clear_connection(m);
    forget_all(m);
    new_sender(x, s);
}

// ---- the steps

enum step {
    STEP_RECEIVE,
    STEP_COMMIT,
    STEP_COMMIT_OTHER, // by the collector that the sensor is not connected to
    STEP_HEAR,
    STEP_SPOOL,
    STEP_TIME,
    STEP_CUT, // faults from here on
    STEP_FAILOVER,
    STEP_LOSE_UP,
    STEP_LOSE_DOWN,
    STEP_CRASH,
    STEP_COMMIT_CRASH,
    STEP_ROLL_BACK,
    STEP_SENSOR_CRASH,
    STEP_DATABASE_BACK,
    STEP_DATABASE_EMPTY,
    STEP_OLD_COPY,
    STEPS,
};

static const char *const step_names[STEPS] = {"receive",
                                              "commit",
                                              "hear",
                                              "spool",
                                              "time",
                                              "cut",
                                              "failover",
                                              "lose message",
                                              "lose answer",
                                              "collector crash",
                                              "commit and crash",
                                              "roll back",
                                              "sensor crash",
                                              "database back by one",
                                              "database empty",
                                              "old copy"};

static unsigned other(const struct model *m)
{
    return 1u - m->at;
}

static bool possible(const struct model *m, enum step step)
{
    const struct collector *c = &m->collector[m->at];
    if (step >= STEP_CUT && m->faults_left == 0)
        return false;
    switch (step) {
    case STEP_RECEIVE:
    case STEP_LOSE_UP:
        return m->n_up > 0 && c->n_hand < PIPE;
    case STEP_COMMIT:
        return c->n_hand > 0;
    case STEP_COMMIT_OTHER:
        return m->collector[other(m)].n_hand > 0;
    case STEP_FAILOVER:
        return m->connected && m->collectors > 1;
    case STEP_COMMIT_CRASH:
    case STEP_ROLL_BACK:
        return c->n_group > 0;
    case STEP_HEAR:
    case STEP_LOSE_DOWN:
        return m->n_down > 0;
    case STEP_SPOOL:
        return m->made < BATCHES;
    case STEP_TIME: // nothing else is under way
        return m->n_up == 0 && m->n_down == 0 && c->n_hand == 0;
    case STEP_CUT:
        return m->connected;
    case STEP_DATABASE_BACK:
        return m->ledger_next[m->spool] > 1;
    case STEP_DATABASE_EMPTY:
        return m->ledger_next[m->spool] > 2;
    case STEP_OLD_COPY:
        return m->set_back < COPIES && m->next > 1;
    default:
        return true;
    }
}

static void set_back(struct state *s, uint8_t to)
{
    struct model *m = &s->m;
    for (unsigned spool = 0; spool < SPOOLS; spool++) {
        uint8_t next = spool == m->spool ? to : MIN(m->ledger_next[spool], to);
        memset(m->ledger[spool] + next, 0, sizeof m->ledger[spool] - next);
        m->ledger_next[spool] = next;
    }
    m->epoch++;
    forget_all(m);
    cut(s, SENDER_LINK_LOST);
}

static void fault(struct search *x, struct state *s, enum step step)
{
    struct model *m = &s->m;
    struct collector *c = &m->collector[m->at];
    m->faults_left--;
    if (step == STEP_LOSE_UP) {
        pop_up(m);
    } else if (step == STEP_LOSE_DOWN) {
        pop_down(m);
    } else if (step == STEP_CUT) {
        cut(s, SENDER_LINK_LOST);
    } else if (step == STEP_FAILOVER) { // what the one has in hand stays there
        cut(s, SENDER_LINK_REFUSED);
    } else if (step == STEP_CRASH || step == STEP_COMMIT_CRASH) {
        if (step == STEP_COMMIT_CRASH)
            commit(x, m, c);
        forget(c);
        cut(s, SENDER_LINK_LOST);
    } else if (step == STEP_ROLL_BACK) { // refused: the messages wait for the sensor
        for (unsigned spool = 0; spool < SPOOLS; spool++)
            receiver_rolled_back(&c->receiver[spool]);
        clear_hand(c);
    } else if (step == STEP_SENSOR_CRASH) {
        new_sender(x, s);
    } else if (step == STEP_OLD_COPY) {
        old_copy(x, s);
    } else {
        set_back(s, step == STEP_DATABASE_EMPTY ? 1 : (uint8_t)(m->ledger_next[m->spool] - 1));
    }
}

static void take(struct search *x, struct state *s, enum step step, int64_t *until)
{
    struct model *m = &s->m;
    if (step == STEP_RECEIVE) {
        receive(x, m);
    } else if (step == STEP_COMMIT) {
        commit(x, m, &m->collector[m->at]);
        settle(x, m, m->at);
    } else if (step == STEP_COMMIT_OTHER) {
        unsigned at = other(m);
        commit(x, m, &m->collector[at]);
        settle(x, m, at);
    } else if (step == STEP_HEAR) {
        hear(s);
    } else if (step == STEP_SPOOL) {
        spool_batch(s);
    } else if (step == STEP_TIME) {
        m->now = MAX(m->now + 1, *until);
    } else {
        fault(x, s, step);
    }
    *until = act(x, s);
}

// ---- left alone

static bool all_in(const struct state *s)
{
    const struct model *m = &s->m;
    struct sender_state state;
    sender_state(s->sender, &state);
    return m->made == BATCHES && state.acked + 1 == m->next && m->ledger_next[m->spool] == m->next;
}

static void check_contents(struct search *x, const struct model *m)
{
    for (unsigned content = 1; content <= BATCHES + (unsigned)m->set_back; content++) {
        unsigned n = 0;
        if (content > m->made && content <= BATCHES)
            continue;
        for (unsigned spool = 0; spool < SPOOLS; spool++) {
            for (unsigned i = 1; i < m->ledger_next[spool]; i++)
                n += m->ledger[spool][i] == content;
        }
        // What went with an old copy, or (forked away) with an earlier state of the database.
        bool excused = m->gone[content] || (m->epoch > 0 && m->spool > 0);
        if (n > 1 || (n == 0 && !excused))
            fail(x, "in the end batch %u is %u times in the database", content, n);
    }
}

static void run_quiet(struct search *x, struct state *s, int64_t until)
{
    s->m.faults_left = 0;
    for (int i = 0; i < QUIET_STEPS && !x->failure[0]; i++) {
        static const enum step order[] = {STEP_HEAR,    STEP_COMMIT, STEP_COMMIT_OTHER,
                                          STEP_RECEIVE, STEP_SPOOL,  STEP_TIME};
        for (size_t k = 0; k < ARRAY_SIZE(order); k++) {
            if (order[k] == STEP_COMMIT && s->m.n_up > 0)
                continue; // all that is there goes into one group
            if (!possible(&s->m, order[k]))
                continue;
            take(x, s, order[k], &until);
            break;
        }
        x->quiet_steps++;
        if (all_in(s)) {
            check_contents(x, &s->m);
            return;
        }
        struct sender_state state;
        sender_state(s->sender, &state);
        // Nothing left to send and the database behind: only a new message would tell the sensor.
        if (s->m.made == BATCHES && state.acked + 1 == s->m.next && s->m.epoch > 0)
            return;
    }
    fail(x, "no progress without faults");
}

// ---- the search

static uint64_t hash_of(const struct state *s)
{
    uint64_t h = sender_fingerprint(s->sender);
    const uint8_t *p = (const uint8_t *)&s->m;
    for (size_t i = 0; i < sizeof s->m; i++)
        h = (h ^ p[i]) * 1099511628211ULL;
    return h ^ (h >> 29);
}

// Has this state been met with as much depth left?
static bool is_known(struct search *x, const struct state *s, unsigned left, bool *ret_first)
{
    uint64_t key = (hash_of(s) & ~63ULL) | 1;
    for (uint64_t i = key >> 20;; i++) {
        uint64_t *slot = &x->visited[i % VISITED_SIZE];
        *ret_first = *slot == 0;
        if (*slot == 0 || (*slot & ~63ULL) == (key & ~63ULL)) {
            if (*slot != 0 && (*slot & 63) > left)
                return true;
            if (*slot == 0 && ++x->states > VISITED_SIZE / 4 * 3)
                fail(x, "the table of states is full");
            *slot = (key & ~63ULL) | (left + 1);
            return false;
        }
    }
}

static int copy_state(const struct state *s, struct state *ret)
{
    ret->m = s->m;
    return sender_copy(s->sender, &ret->sender);
}

static void explore(struct search *x, const struct state *s, int64_t until, unsigned left)
{
    bool first;
    if (is_known(x, s, left, &first))
        return;
    if (first) {
        struct state quiet = {.sender = NULL};
        if (copy_state(s, &quiet) < 0)
            fail(x, "out of memory");
        else
            run_quiet(x, &quiet, until);
        sender_free(quiet.sender);
    }
    for (enum step step = 0; step < STEPS && left > 0 && !x->failure[0]; step++) {
        if (!possible(&s->m, step))
            continue;
        struct state next;
        int64_t next_until = until;
        if (copy_state(s, &next) < 0) {
            fail(x, "out of memory");
            return;
        }
        x->path[x->n_path++] = (uint8_t)step;
        x->steps++;
        take(x, &next, step, &next_until);
        if (!x->failure[0])
            explore(x, &next, next_until, left - 1);
        sender_free(next.sender);
        if (!x->failure[0])
            x->n_path--;
    }
}

static int search_window(uint8_t collectors, uint8_t window, unsigned depth, uint8_t faults)
{
    struct search x = {0};
    struct state s = {
        .m = {.collectors = collectors, .window = window, .faults_left = faults, .next = 1}};
    for (unsigned i = 0; i < SPOOLS; i++)
        s.m.ledger_next[i] = 1;
    x.visited = calloc(VISITED_SIZE, sizeof *x.visited);
    if (!x.visited)
        return 1;
    new_sender(&x, &s);
    int64_t until = act(&x, &s);
    explore(&x, &s, until, depth);
    sender_free(s.sender);
    free(x.visited);
    printf("%u collectors, window %u, %u steps, %u faults: %" PRIu64 " states, %" PRIu64
           " steps, %" PRIu64 " steps left alone\n",
           collectors, window, depth, faults, x.states, x.steps, x.quiet_steps);
    if (!x.failure[0])
        return 0;
    printf("violated: %s, after:", x.failure);
    for (unsigned i = 0; i < x.n_path; i++)
        printf("%s %s", i > 0 ? "," : "", step_names[x.path[i]]);
    putchar('\n');
    return 1;
}

int main(int argc, char **argv)
{
    unsigned depth = argc > 1 ? (unsigned)atoi(argv[1]) : 12;
    unsigned faults = argc > 2 ? (unsigned)atoi(argv[2]) : 2;
    unsigned collectors = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
    if (depth < 1 || depth > 60 || faults > 9 || collectors < 1 || collectors > COLLECTORS) {
        fputs("usage: hirundo-sim-exhaustive [DEPTH [FAULTS [COLLECTORS]]]\n", stderr);
        return 2;
    }
    for (uint8_t window = 1; window <= 3; window++) {
        if (search_window((uint8_t)collectors, window, depth, (uint8_t)faults) != 0)
            return 1;
    }
    return 0;
}
