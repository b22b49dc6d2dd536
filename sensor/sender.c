#include "sensor/sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct in_flight {
    uint64_t first;
    uint64_t last;
    uint64_t bytes;
};

struct sender {
    struct sender_config config;
    uint64_t random;

    enum sender_link link;
    uint32_t endpoint;
    uint32_t failures;
    bool close_socket; // SENDER_DISCONNECT is due
    int64_t retry_at;  // SENDER_DOWN
    int64_t deadline;  // SENDER_CONNECTING
    int64_t up_since;  // SENDER_UP
    int64_t next_ping; // SENDER_UP
    int64_t ping_at;   // the oldest ping without any answer since; -1: none
    int64_t last_ping; // for the round trip
    int64_t round_trip;

    uint64_t acked;
    uint64_t next;
    uint64_t to_send;
    uint64_t sent_max; // highest number sent on this connection since its last step back
    uint64_t one_by_one_through;
    bool answered; // an ack or nack came on this connection
    uint64_t rewound_to;
    int64_t rewound_until;

    uint32_t n_flying; // of `flying`, at the end
    uint64_t flying_bytes;
    int64_t ack_timer;
    int64_t ack_timeout;

    bool credit_known;
    uint64_t credit;
    int64_t paid_us; // bandwidth: the bucket was empty at this time; INT64_MIN: not begun
    int64_t send_us; // when what was found is paid for; 0: not reckoned

    struct in_flight found; // answer to SENDER_LOOK; last == 0: none
    int64_t look_at;

    bool note_acked;
    bool note_rewind;
    uint64_t fork_from; // 0: none
    uint64_t sent;

    struct in_flight flying[SENDER_WINDOW_MAX];
};

void sender_config_defaults(struct sender_config *ret)
{
    ret->connect_timeout_ms = 10000;
    ret->backoff_min_ms = 500;
    ret->backoff_max_ms = 60000;
    ret->ping_ms = 15000;
    ret->ping_poor_ms = 5000;
    ret->pong_timeout_ms = 30000;
    ret->ack_timeout_ms = 30000;
    ret->ack_timeout_max_ms = 300000;
    ret->return_after_ms = 900000;
    ret->look_again_ms = 5000;
    ret->window_max = SENDER_WINDOW_MAX;
    ret->max_kbit = 0;
}

int sender_new(const struct sender_config *config, uint64_t acked, uint64_t next,
               struct sender **ret)
{
    if (config->endpoints == 0 || next <= acked || config->window_max == 0 ||
        config->window_max > SENDER_WINDOW_MAX)
        return -EINVAL;
    struct sender *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->config = *config;
    s->random = config->random_seed | 1;
    s->round_trip = -1;
    s->ping_at = -1;
    s->acked = acked;
    s->next = next;
    s->to_send = acked + 1;
    s->retry_at = INT64_MIN;
    s->look_at = INT64_MIN;
    s->ack_timeout = config->ack_timeout_ms;
    s->paid_us = INT64_MIN;
    *ret = s;
    return 0;
}

void sender_free(struct sender *s)
{
    free(s);
}

int sender_copy(const struct sender *s, struct sender **ret)
{
    struct sender *copy = malloc(sizeof *copy);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, s, sizeof *copy);
    *ret = copy;
    return 0;
}

// FNV-1a over all of it that counts: it was zeroed when it was made, so that gaps between fields
// are alike.
uint64_t sender_fingerprint(const struct sender *s)
{
    uint64_t h = 14695981039346656037ULL;
    const unsigned char *p = (const unsigned char *)s;
    size_t size = offsetof(struct sender, flying) + s->n_flying * sizeof *s->flying;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 1099511628211ULL;
    return h;
}

// xorshift64*: jitter, nothing more.
static uint64_t random_next(struct sender *s)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return s->random * 2685821657736338717ULL;
}

// Between a half and the whole of ms.
static int64_t jitter(struct sender *s, int64_t ms)
{
    int64_t half = ms / 2;
    return ms - half + (int64_t)(random_next(s) % (uint64_t)(half + 1));
}

static void flying_clear(struct sender *s)
{
    s->n_flying = 0;
    s->flying_bytes = 0;
}

static void flying_drop_through(struct sender *s, uint64_t through)
{
    uint32_t n = 0;
    while (n < s->n_flying && s->flying[n].last <= through)
        s->flying_bytes -= s->flying[n++].bytes;
    s->n_flying -= n;
    memmove(s->flying, s->flying + n, s->n_flying * sizeof *s->flying);
}

static void send_again_from(struct sender *s, uint64_t seq)
{
    flying_clear(s);
    s->to_send = seq;
    s->found.last = 0;
    s->send_us = 0;
}

static void link_down(struct sender *s, int64_t retry_at)
{
    s->link = SENDER_DOWN;
    s->retry_at = retry_at;
    s->ping_at = -1;
    send_again_from(s, s->acked + 1);
}

// The delay grows each time the whole list has been tried.
static int64_t backoff(struct sender *s)
{
    uint32_t rounds = s->failures / s->config.endpoints;
    int64_t ms = s->config.backoff_min_ms;
    for (uint32_t i = 1; i < rounds && ms < s->config.backoff_max_ms; i++)
        ms *= 2;
    return jitter(s, MIN(ms, s->config.backoff_max_ms));
}

static void next_endpoint(struct sender *s)
{
    s->endpoint = (s->endpoint + 1) % s->config.endpoints;
}

void sender_disconnected(struct sender *s, int64_t now, enum sender_loss_of_link why)
{
    if (s->link == SENDER_DOWN)
        return;
    bool was_up = s->link == SENDER_UP;
    s->close_socket = true;
    s->failures++;
    // A connection that broke is tried again where it was; one that could not be made, elsewhere.
    if (!was_up || why == SENDER_LINK_REFUSED)
        next_endpoint(s);
    link_down(s, now + backoff(s));
}

void sender_connected(struct sender *s, int64_t now)
{
    if (s->link != SENDER_CONNECTING)
        return;
    s->link = SENDER_UP;
    s->up_since = now;
    if (s->paid_us == INT64_MIN)
        s->paid_us = now * 1000;
    s->next_ping = now;
    s->ping_at = -1;
    s->credit_known = false;
    s->answered = false;
    s->one_by_one_through = 0;
    s->rewound_to = 0;
    s->ack_timer = now;
    s->sent_max = s->acked;
    send_again_from(s, s->acked + 1);
}

void sender_spooled(struct sender *s, uint64_t next)
{
    s->next = MAX(s->next, next);
}

void sender_found(struct sender *s, uint64_t first, uint64_t last, uint64_t bytes)
{
    if (first > s->to_send || last < s->to_send)
        return; // answers another question
    s->send_us = 0;
    s->found = (struct in_flight){.first = first, .last = last, .bytes = bytes};
}

void sender_look_failed(struct sender *s, int64_t now)
{
    s->look_at = now + s->config.look_again_ms;
}

void sender_unsent(struct sender *s, int64_t now, bool later)
{
    if (later)
        sender_look_failed(s, now);
    send_again_from(s, s->acked + 1);
}

void sender_restart(struct sender *s, int64_t now, uint64_t acked, uint64_t next)
{
    s->acked = acked;
    s->next = next;
    s->note_acked = s->note_rewind = false;
    s->fork_from = 0;
    if (s->link != SENDER_DOWN)
        s->close_socket = true;
    link_down(s, now);
}

static void heard(struct sender *s, uint64_t credit, int64_t now)
{
    if (s->credit_known && s->credit == 0 && credit > 0)
        s->ack_timer = now; // the collector takes up work again
    s->credit_known = true;
    s->credit = credit;
    s->ping_at = -1;
    s->failures = 0;
    // At credit 0 the next ping comes sooner than planned before.
    if (credit == 0)
        s->next_ping = MIN(s->next_ping, now + s->config.ping_poor_ms);
}

// The last number of what flies for the message that began with seq.
static uint64_t answered_through(const struct sender *s, uint64_t seq)
{
    for (uint32_t i = 0; i < s->n_flying; i++) {
        if (s->flying[i].first <= seq && seq <= s->flying[i].last)
            return s->flying[i].last;
    }
    return MIN(seq, s->sent_max);
}

static void committed(struct sender *s, int64_t now, uint64_t through)
{
    if (through <= s->acked)
        return;
    s->acked = through;
    s->note_acked = true;
    s->ack_timer = now;
    s->ack_timeout = s->config.ack_timeout_ms;
    flying_drop_through(s, through);
    if (s->to_send <= through) {
        s->to_send = through + 1;
        s->found.last = 0;
    }
}

void sender_ack(struct sender *s, int64_t now, uint64_t seq, uint64_t committed_through,
                uint64_t credit)
{
    if (s->link != SENDER_UP)
        return;
    heard(s, credit, now);
    s->answered = true;
    uint64_t compared = answered_through(s, seq);
    if (committed_through > compared)
        s->one_by_one_through = MAX(s->one_by_one_through, committed_through);
    committed(s, now, MIN(committed_through, compared));
}

void sender_nack_gap(struct sender *s, int64_t now, uint64_t expected, uint64_t credit)
{
    if (s->link != SENDER_UP)
        return;
    heard(s, credit, now);
    s->answered = true;
    if (expected == 0 || expected > s->sent_max)
        return; // not a gap in what was sent
    if (s->rewound_to == expected && now < s->rewound_until)
        return;
    if (expected - 1 < s->acked) {
        s->acked = expected - 1;
        s->note_rewind = true;
        s->note_acked = false;
    }
    s->one_by_one_through = MAX(s->one_by_one_through, expected - 1);
    s->rewound_to = expected;
    s->rewound_until = now + s->config.ack_timeout_ms;
    s->sent_max = s->acked;
    s->ack_timer = now;
    send_again_from(s, s->acked + 1);
}

void sender_nack_fork(struct sender *s, int64_t now, uint64_t seq, uint64_t credit)
{
    if (s->link != SENDER_UP)
        return;
    heard(s, credit, now);
    if (seq == 0 || seq > s->sent_max)
        return;
    s->fork_from = seq;
    s->close_socket = true;
    link_down(s, now);
}

void sender_pong(struct sender *s, int64_t now, uint64_t credit)
{
    if (s->link != SENDER_UP)
        return;
    heard(s, credit, now);
    s->round_trip = now - s->last_ping;
}

// Is what flies (something does) to be compared by digest before anything else goes out?
static bool one_by_one(const struct sender *s)
{
    return s->to_send <= s->one_by_one_through || s->flying[0].first <= s->one_by_one_through;
}

static bool may_send(const struct sender *s)
{
    if (s->to_send >= s->next)
        return false;
    if (s->credit_known && s->credit == 0)
        return false;
    if (s->n_flying == 0)
        return true;
    if (!s->answered || one_by_one(s)) // what was answered has told the credit, too
        return false;
    return s->n_flying < s->config.window_max;
}

// Whether the message that was found may fly beside the others.
static bool fits(const struct sender *s)
{
    uint64_t bytes = s->flying_bytes + s->found.bytes;
    return s->n_flying == 0 ||
           (bytes <= s->credit && (s->n_flying < SENDER_WINDOW || bytes <= SENDER_WINDOW_BYTES));
}

// Time that a message takes of the bandwidth, with what goes around it on the wire.
static int64_t cost_us(const struct sender *s, uint64_t bytes)
{
    return (int64_t)((bytes + bytes / 16 + SENDER_OVERHEAD) * 8000 / s->config.max_kbit) + 1;
}

// What was saved up while nothing went out is at most one large message.
static void fill_bucket(struct sender *s, int64_t now)
{
    s->paid_us = MAX(s->paid_us, now * 1000 - cost_us(s, SENDER_BUCKET));
}

void sender_spent(struct sender *s, int64_t now, uint64_t bytes)
{
    if (s->config.max_kbit == 0 || s->link != SENDER_UP)
        return;
    fill_bucket(s, now);
    s->paid_us += cost_us(s, bytes);
    if (s->send_us != 0)
        s->send_us += cost_us(s, bytes);
}

// Whether the message that was found is paid for; else *until is lowered to when it will be. It is
// paid before it goes, so that the average keeps within the limit from the first message on.
static bool is_paid(struct sender *s, int64_t now, int64_t *until)
{
    if (s->config.max_kbit == 0)
        return true;
    if (s->send_us == 0) {
        fill_bucket(s, now);
        s->send_us = s->paid_us + cost_us(s, s->found.bytes);
    }
    if (now * 1000 >= s->send_us)
        return true;
    *until = MIN(*until, (s->send_us + 999) / 1000);
    return false;
}

static void act_send(struct sender *s, int64_t now, struct sender_action *ret)
{
    if (s->n_flying == 0)
        s->ack_timer = now;
    s->flying[s->n_flying++] = s->found;
    s->flying_bytes += s->found.bytes;
    if (s->config.max_kbit != 0)
        s->paid_us = s->send_us;
    s->send_us = 0;
    *ret = (struct sender_action){
        .what = SENDER_SEND, .seq_first = s->found.first, .seq_last = s->found.last};
    s->to_send = s->found.last + 1;
    s->sent_max = MAX(s->sent_max, s->found.last);
    s->found.last = 0;
    s->sent++;
}

// Sends or looks; false: neither, and *until is lowered to when it may be otherwise.
static bool act_data(struct sender *s, int64_t now, int64_t *until, struct sender_action *ret)
{
    if (!may_send(s))
        return false;
    if (now < s->look_at) {
        *until = MIN(*until, s->look_at);
        return false;
    }
    if (s->found.last == 0) {
        *ret = (struct sender_action){.what = SENDER_LOOK, .seq_first = s->to_send};
        return true;
    }
    if (!fits(s) || !is_paid(s, now, until))
        return false;
    act_send(s, now, ret);
    return true;
}

static bool act_ping(struct sender *s, int64_t now, struct sender_action *ret)
{
    if (now < s->next_ping)
        return false;
    bool poor = s->credit_known && s->credit == 0;
    s->next_ping = now + (poor ? s->config.ping_poor_ms : s->config.ping_ms);
    s->last_ping = now;
    if (s->ping_at < 0)
        s->ping_at = now;
    sender_spent(s, now, 0);
    *ret = (struct sender_action){.what = SENDER_PING};
    return true;
}

static bool awaits_ack(const struct sender *s)
{
    return s->n_flying > 0 && !(s->credit_known && s->credit == 0);
}

// Ends the connection where it must end; true: it did.
static bool check_link(struct sender *s, int64_t now)
{
    if (s->ping_at >= 0 && now >= s->ping_at + s->config.pong_timeout_ms) {
        s->failures++;
        next_endpoint(s);
        s->close_socket = true;
        link_down(s, now + (s->config.endpoints > 1 ? 0 : backoff(s)));
        return true;
    }
    if (s->endpoint != 0 && s->n_flying == 0 && now >= s->up_since + s->config.return_after_ms) {
        s->endpoint = 0;
        s->close_socket = true;
        link_down(s, now);
        return true;
    }
    return false;
}

static void check_ack_timeout(struct sender *s, int64_t now)
{
    if (!awaits_ack(s) || now < s->ack_timer + s->ack_timeout)
        return;
    s->ack_timer = now;
    s->ack_timeout = MIN(s->ack_timeout * 2, s->config.ack_timeout_max_ms);
    s->rewound_to = 0;
    if (s->answered && !one_by_one(s)) {
        send_again_from(s, s->acked + 1);
        return;
    }
    // A late answer to the first copy would pass for the answer to what follows it: only a new
    // connection has none.
    s->close_socket = true;
    link_down(s, now);
}

static void next_up(struct sender *s, int64_t now, struct sender_action *ret)
{
    if (act_ping(s, now, ret))
        return;
    int64_t until = s->next_ping;
    if (act_data(s, now, &until, ret))
        return;
    if (s->ping_at >= 0)
        until = MIN(until, s->ping_at + s->config.pong_timeout_ms);
    if (awaits_ack(s))
        until = MIN(until, s->ack_timer + s->ack_timeout);
    if (s->endpoint != 0 && s->n_flying == 0)
        until = MIN(until, s->up_since + s->config.return_after_ms);
    *ret = (struct sender_action){.what = SENDER_WAIT, .until_ms = until};
}

// What must be done whatever the state of the link.
static bool act_pending(struct sender *s, int64_t now, struct sender_action *ret)
{
    if (s->close_socket) {
        s->close_socket = false;
        *ret = (struct sender_action){.what = SENDER_DISCONNECT};
    } else if (s->fork_from != 0 && now < s->look_at) {
        *ret = (struct sender_action){.what = SENDER_WAIT, .until_ms = s->look_at};
    } else if (s->fork_from != 0) {
        *ret = (struct sender_action){.what = SENDER_FORK, .seq_first = s->fork_from};
    } else if (s->note_rewind) {
        s->note_rewind = false;
        *ret = (struct sender_action){.what = SENDER_REWIND, .seq_last = s->acked};
    } else if (s->note_acked) {
        s->note_acked = false;
        *ret = (struct sender_action){.what = SENDER_ACKED, .seq_last = s->acked};
    } else {
        return false;
    }
    return true;
}

void sender_next(struct sender *s, int64_t now, struct sender_action *ret)
{
    if (s->link == SENDER_CONNECTING && now >= s->deadline)
        sender_disconnected(s, now, SENDER_LINK_LOST);
    else if (s->link == SENDER_UP && !check_link(s, now))
        check_ack_timeout(s, now);
    if (act_pending(s, now, ret))
        return;
    if (s->link == SENDER_UP) {
        next_up(s, now, ret);
    } else if (s->link == SENDER_CONNECTING) {
        *ret = (struct sender_action){.what = SENDER_WAIT, .until_ms = s->deadline};
    } else if (now < s->retry_at) {
        *ret = (struct sender_action){.what = SENDER_WAIT, .until_ms = s->retry_at};
    } else {
        s->link = SENDER_CONNECTING;
        s->deadline = now + s->config.connect_timeout_ms;
        *ret = (struct sender_action){.what = SENDER_CONNECT, .endpoint = s->endpoint};
    }
}

void sender_state(const struct sender *s, struct sender_state *ret)
{
    *ret = (struct sender_state){
        .link = s->link,
        .endpoint = s->endpoint,
        .acked = s->acked,
        .next = s->next,
        .to_send = s->to_send,
        .in_flight = s->n_flying,
        .in_flight_bytes = s->flying_bytes,
        .credit_known = s->credit_known,
        .credit = s->credit,
        .failures = s->failures,
        .round_trip_ms = s->round_trip,
        .sent = s->sent,
    };
}
