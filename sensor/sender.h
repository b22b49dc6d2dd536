// Delivery, the sensor's half: a state machine without I/O and without a clock of its own.
//
// The driver (sensor/uplink, a simulation, a test) tells it what happened (events) and asks what to
// do (sender_next) until the answer is SENDER_WAIT. Times are milliseconds of a monotonic clock,
// given with each event. One thread. No allocation after sender_new.
//
// What it holds to (DESIGN.md "Delivery"):
// - Numbers go out in order. At most SENDER_WINDOW messages are in flight, or as many as have
//   SENDER_WINDOW_BYTES together, up to SENDER_WINDOW_MAX; and no more payload bytes than the
//   collector's credit; after connecting, one message until the first answer to it.
// - Credit 0: nothing but pings, every 5 s. Credit that is smaller than the next message lets one
//   message through when nothing is in flight.
// - An ack counts only up to the message that it answers, so that each was compared (by digest)
//   with what the ledger holds. An ack beyond that means that an earlier answer was lost, or that
//   this spool is an old copy: up to that number messages go one at a time, so that a fork shows
//   before anything behind it is taken for delivered.
// - Nack gap: go on from the number the collector expects, backwards (a restored database); what
//   it has and was not acknowledged yet goes again, one at a time. Further nacks with the same
//   number belong to messages that were already on their way and are ignored until the ack timeout.
// - Nack fork: the connection ends, the driver moves everything from that number on into a new
//   spool (SENDER_FORK, then sender_restart).
// - No answer for ack_timeout though there is credit: send again from the oldest unacknowledged
//   number, and wait twice as long the next time. Where messages go one at a time, on a new
//   connection to the same collector, so that no late answer is taken for another's. Duplicates and
//   late answers do no harm.
// - Pings go out at a fixed pace; when nothing at all came back for pong_timeout, the connection
//   ends and the next collector of the list is tried. Missing acks never cause that. From a later
//   collector of the list it returns to the first after return_after, at a moment when nothing is
//   in flight.
// - Bandwidth (max_kbit) is a token bucket: a message goes when it is paid for. Pings go at once,
//   and are paid for by what comes after.
// - Failed attempts are repeated with exponential backoff and jitter, for ever.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/util.h"

#define SENDER_WINDOW       8
#define SENDER_WINDOW_MAX   64
#define SENDER_WINDOW_BYTES (1u << 20)

// Beside a message's payload and a sixteenth of it (TCP/IP headers): its header, CURVE, framing.
#define SENDER_OVERHEAD 512u
#define SENDER_BUCKET   (256u << 10) // bytes that idle time saves up at most

struct sender_config {
    uint32_t endpoints;         // collectors in the list, at least 1
    int64_t connect_timeout_ms; // from SENDER_CONNECT to sender_connected
    int64_t backoff_min_ms;
    int64_t backoff_max_ms;
    int64_t ping_ms;      // between pings, with credit
    int64_t ping_poor_ms; // between pings at credit 0
    int64_t pong_timeout_ms;
    int64_t ack_timeout_ms;
    int64_t ack_timeout_max_ms;
    int64_t return_after_ms;
    int64_t look_again_ms; // after sender_look_failed
    uint32_t window_max;   // at most SENDER_WINDOW_MAX
    uint32_t max_kbit;     // bandwidth, kbit/s, of all that goes out; 0: no limit
    uint64_t random_seed;  // for jitter
};

// Everything but endpoints and random_seed.
void sender_config_defaults(struct sender_config *ret);

enum sender_do {
    SENDER_WAIT,       // until until_ms, or until something happens
    SENDER_CONNECT,    // to endpoint number `endpoint`; answer: connected or disconnected
    SENDER_DISCONNECT, // close the socket; answer: none
    SENDER_LOOK,       // what is at seq_first? answer at once: sender_found or sender_look_failed
    SENDER_SEND,       // the message for seq_first..seq_last; could not: sender_unsent, or
                       // sender_disconnected
    SENDER_PING,
    SENDER_ACKED,  // note that everything up to seq_last is committed
    SENDER_REWIND, // note that only what is up to seq_last is committed
    SENDER_FORK,   // move everything from seq_first on into a new spool; answer: sender_restart, or
                   // sender_look_failed and it is asked again
};

struct sender_action {
    enum sender_do what;
    int64_t until_ms;
    uint32_t endpoint;
    uint64_t seq_first;
    uint64_t seq_last;
};

enum sender_link { SENDER_DOWN, SENDER_CONNECTING, SENDER_UP };

enum sender_loss_of_link {
    SENDER_LINK_LOST,    // was up, or could not be reached
    SENDER_LINK_REFUSED, // the handshake failed: keys
};

struct sender;

// acked: everything up to this number is committed; next: the first number not spooled yet.
int sender_new(const struct sender_config *config, uint64_t acked, uint64_t next,
               struct sender **ret);
void sender_free(struct sender *s);
DEFINE_CLEANUP(struct sender *, sender_free);
// For a search through all schedules: a sender that goes on from here by itself, and a number that
// tells states apart.
int sender_copy(const struct sender *s, struct sender **ret);
uint64_t sender_fingerprint(const struct sender *s);

void sender_next(struct sender *s, int64_t now, struct sender_action *ret);

void sender_connected(struct sender *s, int64_t now);
void sender_disconnected(struct sender *s, int64_t now, enum sender_loss_of_link why);
// The spool has grown: next is the first number not spooled yet.
void sender_spooled(struct sender *s, uint64_t next);
// Answer to SENDER_LOOK: the message for that number covers first..last (a batch: itself) and has
// that many bytes of payload. first may be smaller than what was asked for.
void sender_found(struct sender *s, uint64_t first, uint64_t last, uint64_t bytes);
void sender_look_failed(struct sender *s, int64_t now);
// The message just asked for did not go out: the spool has changed, or (later: true) cannot be
// read.
void sender_unsent(struct sender *s, int64_t now, bool later);
// The spool was replaced (fork, damage): numbers begin anew. Ends the connection, if there is one.
void sender_restart(struct sender *s, int64_t now, uint64_t acked, uint64_t next);

// seq: of the message that is answered, from the reply's header.
void sender_ack(struct sender *s, int64_t now, uint64_t seq, uint64_t committed_through,
                uint64_t credit);
void sender_nack_gap(struct sender *s, int64_t now, uint64_t expected, uint64_t credit);
void sender_nack_fork(struct sender *s, int64_t now, uint64_t seq, uint64_t credit);
void sender_pong(struct sender *s, int64_t now, uint64_t credit);
// A message went out beside what the sender asked for, with that many bytes of payload: it waits
// for no bandwidth, but uses it up.
void sender_spent(struct sender *s, int64_t now, uint64_t bytes);

// For status and tests.
struct sender_state {
    enum sender_link link;
    uint32_t endpoint;
    uint64_t acked;
    uint64_t next;    // first number not spooled
    uint64_t to_send; // next number to go out
    uint32_t in_flight;
    uint64_t in_flight_bytes;
    bool credit_known;
    uint64_t credit;
    uint32_t failures;     // attempts to connect since the last answer
    int64_t round_trip_ms; // of the last ping; -1: none yet
    uint64_t sent;         // messages, resent ones included
};
void sender_state(const struct sender *s, struct sender_state *ret);
