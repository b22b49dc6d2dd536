// Who ended a connection: libzmq does not say.
//
// A second descriptor of each connection stays open after libzmq has closed its own, and the kernel
// still knows whether the peer had closed before, and whether anything was left unread. Where
// neither the peer nor shutdown() ended it, libzmq did: by a frame beyond ZMQ_MAXMSGSIZE, bytes
// that were changed on their way, or a handshake that came to nothing.
#pragma once

#include <stdbool.h>

#include "common/util.h"

#define WITNESS_STRANGERS 64 // connections without a message that are watched at a time

struct witness;
int witness_new(struct witness **ret);
void witness_free(struct witness *w);
DEFINE_CLEANUP(struct witness *, witness_free)

// fd: of libzmq, from 0 to less than DESCRIPTORS_MAX. A connection is there. Where descriptors are
// scarce it is not watched.
void witness_opened(struct witness *w, int fd);
// A message came from it: no stranger.
void witness_heard(struct witness *w, int fd);
// libzmq has closed it. True: by itself.
bool witness_closed(struct witness *w, int fd);
