// Sensors that were let in and have not sent anything yet: authentication knows names but no
// connections, the listener knows of connections without a message no names. Thread safe.
#pragma once

#include <stdbool.h>

#include "collector/keyring.h"

#define GUESTS_MAX 256 // of more, the oldest is forgotten

struct guests;
int guests_new(struct guests **ret);
void guests_free(struct guests *g);
DEFINE_CLEANUP(struct guests *, guests_free)

// A sensor was let in, from this address.
void guests_let_in(struct guests *g, const char *address, const char *name);
// Its connection sent a message.
void guests_heard(struct guests *g, const char *address, const char *name);
// A connection from there ended without one. True: it was a sensor, by all that is known.
bool guests_left(struct guests *g, const char *address, char ret_name[KEYRING_NAME_MAX]);
