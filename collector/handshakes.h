// Connections that end before their key is known: no CURVE, another server key, silence, bytes that
// were recorded. libzmq tells of them by the monitor of its socket; a few are logged, all are
// counted.
#pragma once

#include "common/util.h"

struct handshakes;

// Watches a socket that is not bound yet. 0; -errno.
int handshakes_new(void *zmq, void *router, struct handshakes **ret);
void handshakes_free(struct handshakes *h);
DEFINE_CLEANUP(struct handshakes *, handshakes_free)

// For zmq_poll: readable when there is something to take.
void *handshakes_socket(const struct handshakes *h);
// A message came from this connection.
void handshakes_heard(struct handshakes *h, int fd);
// Takes in what there is.
void handshakes_take(struct handshakes *h);
uint64_t handshakes_failed(const struct handshakes *h);
