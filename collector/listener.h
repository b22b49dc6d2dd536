// The listener: one thread, one CURVE ROUTER on all endpoints.
//
// It never stops reading: pings are answered at once, batches and losses go to the writer of their
// sensor or, when the memory budget is spent, are dropped unacknowledged. Whatever breaks the rules
// loses its connection.
#pragma once

#include "collector/guard.h"
#include "collector/guests.h"
#include "collector/heartbeats.h"
#include "collector/metrics.h"
#include "collector/writer.h"
#include "collector/zap.h"
#include "common/conf.h"
#include "common/keys.h"

struct listener_options {
    void *zmq;
    struct keyring *keyring;
    struct budget *budget;
    struct zap *zap;
    struct guests *guests;
    bool limit_connections;
    struct heartbeats *heartbeats;
    struct metrics *metrics;
    struct guard *guard;
    const struct key_pair *key;
    const struct conf_list *endpoints;
    const struct key_pair *next_key; // NULL: none
    const struct conf_list *next_endpoints;
};

struct listener;
// Makes the ROUTER, proves on a loopback port that an unknown key is refused, then binds the
// endpoints. No thread yet: writers are started after this (their replies have a place to go) and
// handed to listener_run.
int listener_new(const struct listener_options *options, struct listener **ret, struct errmsg *e);
// As bound: the port where 0 was asked for. Those of the next key come last.
const char *listener_endpoint(const struct listener *l, size_t i);
// Connections that ended before a message came of them, other than for their key.
uint64_t listener_failed_handshakes(const struct listener *l);
int listener_run(struct listener *l, struct writer **writers, size_t n, struct errmsg *e);
// Beaten a few times a second while it reads.
const struct pulse *listener_pulse(const struct listener *l);
// Stops reading, and waits until it has: no writer is asked for anything then. Replies still go out
// until listener_free.
void listener_pause(struct listener *l);
void listener_free(struct listener *l);
