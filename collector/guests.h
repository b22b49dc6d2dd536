// Sensors that were let in and have not sent anything yet: authentication knows names but no
// connections, the listener knows of connections without a message no names. Thread safe. Times are
// monotonic milliseconds.
#pragma once

#include <stdbool.h>

#include "collector/keyring.h"

#define GUESTS_MAX  256  // of more, the oldest is forgotten
#define GUESTS_LATE 1000 // ms: so late may a connection be heard of

struct guests;
int guests_new(struct guests **ret);
void guests_free(struct guests *g);
DEFINE_CLEANUP(struct guests *, guests_free)

// A sensor was let in, from this address.
void guests_let_in(struct guests *g, const char *address, const char *name, int64_t now_ms);
// Its connection sent a message.
void guests_heard(struct guests *g, const char *address, const char *name);
// A connection from there, which came at since_ms, ended without one. True: it was a sensor, by all
// that is known. Who was let in long before it came is another one.
bool guests_left(struct guests *g, const char *address, int64_t since_ms,
                 char ret_name[KEYRING_NAME_MAX]);
