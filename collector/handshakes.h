// Connections from the moment they are accepted: libzmq tells of them by the monitor of its socket.
// Those that end before their key is known (no CURVE, another server key, silence, bytes that were
// recorded) are counted, a few are logged, and the gate is told; so are those of sensors that
// libzmq itself ended.
#pragma once

#include "collector/guests.h"
#include "collector/unfinished.h"
#include "common/util.h"

struct handshakes;

// Watches a socket that is not bound yet. `guests` and `unfinished` must outlive it. limit: with a
// gate. 0; -errno.
int handshakes_new(void *zmq, void *router, struct guests *guests, struct unfinished *unfinished,
                   bool limit, struct handshakes **ret);
void handshakes_free(struct handshakes *h);
DEFINE_CLEANUP(struct handshakes *, handshakes_free)

// For zmq_poll: readable when there is something to take.
void *handshakes_socket(const struct handshakes *h);
// A message came from this connection, of this sensor (NULL: of none any more); fd may be -1.
void handshakes_heard(struct handshakes *h, int fd, const char *name);
// Takes in what there is.
void handshakes_take(struct handshakes *h);
// To be called now and then: who has become quiet may come again.
void handshakes_check(struct handshakes *h);
uint64_t handshakes_failed(const struct handshakes *h);
