// Many sensors in one process: a CURVE DEALER each, one thread, epoll over their descriptors.
#pragma once

#include "common/keys.h"
#include "tests/load/payload.h"

struct players;

// One for each line "public secret" of the file. Each connects at once; *e says what went wrong.
int players_open(const char *endpoint, const char *server_key, const char *keys_path,
                 struct players **ret, struct errmsg *e);
void players_free(struct players *p);
DEFINE_CLEANUP(struct players *, players_free)
size_t players_count(const struct players *p);

// Pings from all until each has had a pong; -ETIMEDOUT. *ret_last_ms: until the last had it.
int players_greet(struct players *p, int timeout_ms, int64_t *ret_last_ms);
// Pings from all every interval_ms until the time is over; *ret_worst_ms: the longest wait for a
// pong, the open ones at the end included.
int players_idle(struct players *p, int interval_ms, int duration_ms, int64_t *ret_worst_ms);

// Each sends one batch every interval_ms, shifted against the others, for the time that there are
// payloads: payloads[i] is number i + 1 of all. Told of each, when its ack comes: when it was due
// (wall clock, ms) and how long after that (us).
typedef void (*players_acked_fn)(void *context, int64_t due_ms, int64_t delay_us);
int players_pace(struct players *p, const struct payload *payloads, size_t n, int interval_ms,
                 players_acked_fn acked, void *context);

struct drained {
    double seconds;     // from the first send to the last ack
    double cpu_seconds; // of this process meanwhile, its libzmq threads included
    uint64_t resent;
};
// Each sends payloads[0..n-1] as the next n numbers of its spool, and waits for all acks. One
// spool, as quiet sensors have: of a sensor with several the collector looks up each batch by its
// digest. libzmq may hold payloads, which are not copied, until players_free.
int players_drain(struct players *p, const struct payload *payloads, size_t n, int timeout_ms,
                  struct drained *ret);
