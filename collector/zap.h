// Authentication: ZeroMQ's ZAP (RFC 27), asked at each CURVE handshake. Known keys pass with
// User-Id = sensor id and metadata ZAP_KEY = the key in Z85; a revoked key gets 400, of which
// the client is told (libzmq 4.3.4 clients never try again; hirundo-sensor makes a new socket);
// a key that comes too often gets 500, for a minute or less; everything else gets 300, at which the
// client is disconnected without a word.
#pragma once

#include "collector/guests.h"
#include "collector/keyring.h"
#include "collector/strangers.h"
#include "common/pulse.h"

#define ZAP_DOMAIN "hirundo"
#define ZAP_KEY    "Hirundo-Key"

struct zap;
// Binds inproc://zeromq.zap.01 and starts the thread: before any ROUTER of the context binds.
int zap_start(void *zmq, struct keyring *keyring, struct strangers *strangers,
              struct guests *guests, struct zap **ret, struct errmsg *e);
// From now on keys that are refused are noted as strangers: the self-test is over.
void zap_open(struct zap *z);
// Beaten a few times a second.
const struct pulse *zap_pulse(const struct zap *z);
// Ends the thread, frees.
void zap_stop(struct zap *z);
// Handshakes refused so far.
uint64_t zap_refused(const struct zap *z);
