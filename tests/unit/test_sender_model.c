// The sender against a model of the receiver, and of the wire between, under random schedules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sensor/sender.h"

#define MODEL_BATCHES 60
#define PIPE_MAX      256

struct model_message {
    bool is_ping;
    uint64_t first, last;
    uint32_t digest;
};

struct model_reply {
    enum { R_PONG, R_ACK, R_GAP, R_FORK } kind;
    uint64_t number;
    uint64_t seq; // of what is answered
};

struct model {
    uint64_t random;
    struct sender *sender;
    int64_t now;
    // the spool
    uint32_t digests[MODEL_BATCHES * 2 + 2]; // of number i
    uint64_t next;
    uint64_t acked;
    unsigned spool; // generation
    // the ledger of the present spool: digest of number i < ledger_next
    uint32_t ledger[MODEL_BATCHES * 2 + 2];
    uint64_t ledger_next;
    unsigned commits[1 << 16]; // by digest: times committed and still there
    // the connection
    bool up;
    struct model_message there[PIPE_MAX];
    size_t n_there;
    struct model_reply back[PIPE_MAX];
    size_t n_back;
    bool faults;
    // an old copy of the spool
    bool has_copy;
    uint32_t copy_digests[MODEL_BATCHES * 2 + 2];
    uint64_t copy_next, copy_acked;
    unsigned copy_spool;
    bool lost[MODEL_BATCHES * 2 + 2]; // batches that went with what an old copy replaced
};

static uint64_t draw(struct model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % below;
}

static void cut(struct model *m)
{
    m->n_there = m->n_back = 0;
    m->up = false;
}

static void answer(struct model *m, struct model_reply reply)
{
    assert_true(m->n_back < PIPE_MAX);
    m->back[m->n_back++] = reply;
}

static void receive_one(struct model *m)
{
    struct model_message msg = m->there[0];
    memmove(m->there, m->there + 1, --m->n_there * sizeof *m->there);
    if (msg.is_ping) {
        answer(m, (struct model_reply){.kind = R_PONG});
    } else if (msg.first > m->ledger_next) {
        answer(m, (struct model_reply){.kind = R_GAP, .number = m->ledger_next});
    } else if (msg.first < m->ledger_next) {
        bool fork = m->ledger[msg.first] != msg.digest;
        answer(m, (struct model_reply){.kind = fork ? R_FORK : R_ACK,
                                       .number = fork ? msg.first : m->ledger_next - 1,
                                       .seq = msg.first});
    } else if (m->faults && draw(m, 20) == 0) {
        cut(m); // the collector dies before its commit
    } else {
        m->ledger[m->ledger_next++] = msg.digest;
        m->commits[msg.digest]++;
        answer(m,
               (struct model_reply){.kind = R_ACK, .number = m->ledger_next - 1, .seq = msg.first});
    }
}

static void hear_one(struct model *m)
{
    struct model_reply r = m->back[0];
    memmove(m->back, m->back + 1, --m->n_back * sizeof *m->back);
    uint64_t credit = draw(m, 4) == 0 && m->faults ? 0 : 50 + draw(m, 300);
    if (r.kind == R_PONG)
        sender_pong(m->sender, m->now, credit);
    else if (r.kind == R_ACK)
        sender_ack(m->sender, m->now, r.seq, r.number, credit);
    else if (r.kind == R_GAP)
        sender_nack_gap(m->sender, m->now, r.number, credit);
    else
        sender_nack_fork(m->sender, m->now, r.number, credit);
}

static void fork_spool(struct model *m, uint64_t from)
{
    for (uint64_t i = from; i < m->next; i++)
        m->digests[i - from + 1] = m->digests[i];
    m->next -= from - 1;
    m->acked = 0;
    m->ledger_next = 1; // the collector has not seen this spool
    m->spool++;
    sender_restart(m->sender, m->now, 0, m->next);
}

static void note(struct model *m, const struct sender_action *a)
{
    // Acknowledged is only what the ledger holds, with this digest.
    if (a->what == SENDER_ACKED) {
        for (uint64_t i = m->acked + 1; i <= a->seq_last; i++) {
            assert_true(i < m->ledger_next);
            assert_int_equal(m->ledger[i], m->digests[i]);
        }
    }
    m->acked = a->seq_last;
}

static int64_t act(struct model *m)
{
    struct sender_action a;
    for (sender_next(m->sender, m->now, &a); a.what != SENDER_WAIT;
         sender_next(m->sender, m->now, &a)) {
        if (a.what == SENDER_CONNECT && m->faults && draw(m, 3) == 0) {
            sender_disconnected(m->sender, m->now, SENDER_LINK_LOST);
        } else if (a.what == SENDER_CONNECT) {
            m->up = true;
            sender_connected(m->sender, m->now);
        } else if (a.what == SENDER_DISCONNECT) {
            cut(m);
        } else if (a.what == SENDER_LOOK) {
            sender_found(m->sender, a.seq_first, a.seq_first, 1 + m->digests[a.seq_first] % 90);
        } else if (a.what == SENDER_SEND || a.what == SENDER_PING) {
            assert_true(m->up && m->n_there < PIPE_MAX);
            m->there[m->n_there++] = (struct model_message){.is_ping = a.what == SENDER_PING,
                                                            .first = a.seq_first,
                                                            .last = a.seq_last,
                                                            .digest = m->digests[a.seq_first]};
        } else if (a.what == SENDER_FORK) {
            fork_spool(m, a.seq_first);
        } else {
            note(m, &a);
        }
    }
    return a.until_ms;
}

// The database restored to an earlier state: what was committed since is gone from it.
static void restore_ledger(struct model *m)
{
    (void)act(m); // what the sender knows by now was true until now
    uint64_t to = 1 + draw(m, m->ledger_next);
    for (uint64_t i = to; i < m->ledger_next; i++)
        m->commits[m->ledger[i]]--;
    m->ledger_next = MIN(to, m->ledger_next);
    cut(m);
    sender_disconnected(m->sender, m->now, SENDER_LINK_LOST);
    m->acked = MIN(m->acked, m->ledger_next - 1); // for the assertion only: the sender learns it
}

static void restart_sender(struct model *m)
{
    cut(m);
    sender_free(m->sender);
    struct sender_config config;
    sender_config_defaults(&config);
    config.endpoints = 1;
    config.random_seed = m->random;
    assert_int_equal(sender_new(&config, m->acked, m->next, &m->sender), 0);
}

static void copy_spool(struct model *m)
{
    memcpy(m->copy_digests, m->digests, sizeof m->digests);
    m->copy_next = m->next;
    m->copy_acked = m->acked;
    m->copy_spool = m->spool;
    m->has_copy = true;
}

// The sensor's machine is set back to an old copy; what was spooled since is gone with it.
static void restore_copy(struct model *m)
{
    (void)act(m);
    if (!m->has_copy || m->copy_spool != m->spool)
        return; // a copy from before a fork has the old spool_id, which the model does not keep
    for (uint64_t i = m->copy_next; i < m->next; i++)
        m->lost[m->digests[i]] = true;
    memcpy(m->digests, m->copy_digests, sizeof m->digests);
    m->next = m->copy_next;
    m->acked = MIN(m->copy_acked, m->ledger_next - 1);
    m->has_copy = false;
    restart_sender(m);
}

static void one_fault(struct model *m)
{
    uint64_t which = draw(m, 100);
    if (which == 0 && m->up) {
        cut(m);
        sender_disconnected(m->sender, m->now, SENDER_LINK_LOST);
    } else if (which == 1 && m->n_there > 0 && m->up) {
        m->n_there -= 1 + draw(m, m->n_there); // in-flight messages lost without a word
    } else if (which == 2 && m->n_back > 0) {
        m->n_back--;
    } else if (which == 3) {
        restore_ledger(m);
    } else if (which == 4) {
        (void)act(m);
        restart_sender(m);
    } else if (which == 5 && !m->has_copy) {
        copy_spool(m);
    } else if (which == 6) {
        restore_copy(m);
    }
}

static void one_step(struct model *m, uint32_t *made, uint32_t most)
{
    uint64_t what = draw(m, 10);
    if (what < 3 && *made < most) {
        m->digests[m->next++] = ++*made;
        sender_spooled(m->sender, m->next);
    } else if (what < 6 && m->n_there > 0) {
        receive_one(m);
        if (!m->up)
            sender_disconnected(m->sender, m->now, SENDER_LINK_LOST);
    } else if (what < 9 && m->n_back > 0) {
        hear_one(m);
    }
    if (m->faults)
        one_fault(m);
    int64_t until = act(m);
    bool idle = m->n_there == 0 && m->n_back == 0;
    m->now = idle ? MAX(m->now + 1, until) : m->now + 1;
}

static void run_model(uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    m->next = m->ledger_next = 1;
    m->faults = true;
    struct sender_config config;
    sender_config_defaults(&config);
    config.endpoints = 1 + (uint32_t)(seed % 3);
    config.random_seed = seed;
    assert_int_equal(sender_new(&config, 0, 1, &m->sender), 0);
    uint32_t made = 0;
    for (int i = 0; i < 2000; i++)
        one_step(m, &made, MODEL_BATCHES);
    m->faults = false;
    struct sender_state state = {0};
    for (int i = 0; i < 20000 && (made < MODEL_BATCHES || state.acked + 1 < state.next ||
                                  m->ledger_next < m->next);
         i++) {
        one_step(m, &made, MODEL_BATCHES);
        // A restored database is noticed with the next message only: there always is one.
        if (state.acked + 1 == state.next && m->ledger_next < m->next && made == MODEL_BATCHES) {
            m->digests[m->next++] = MODEL_BATCHES + 1 + (uint32_t)i;
            sender_spooled(m->sender, m->next);
        }
        sender_state(m->sender, &state);
    }
    if (m->ledger_next < m->next || state.acked + 1 < state.next)
        fail_msg("seed %llu: %llu of %llu committed, %llu acknowledged", (unsigned long long)seed,
                 (unsigned long long)m->ledger_next - 1, (unsigned long long)m->next - 1,
                 (unsigned long long)state.acked);
    for (uint32_t i = 1; i <= MODEL_BATCHES; i++) {
        if (m->commits[i] > 1 || (m->commits[i] == 0 && !m->lost[i]))
            fail_msg("seed %llu: batch %u is %u times in the database", (unsigned long long)seed, i,
                     m->commits[i]);
    }
    sender_free(m->sender);
    free(m);
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++)
        run_model(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
