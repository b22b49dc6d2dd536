// The socket to a collector: a ZeroMQ DEALER over CURVE and its monitor, made anew for each
// attempt.
//
// Owns one ZeroMQ context with one I/O thread. LINGER 0 (the spool is the truth), no routing id, no
// ZMTP heartbeats (they abort the process when the receive queue is full, libzmq issue 4767), no
// reconnection by libzmq: after a refused handshake it would never come. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/keys.h"
#include "common/util.h"
#include "common/wire.h"

// Messages that may wait for the peer to read them. libzmq counts until the peer's side has told
// that it read half of them.
#define LINK_MESSAGES_MAX 256

enum {
    LINK_NOTHING = 1, // link_receive, link_event: nothing there
    LINK_FOREIGN = 2, // link_receive: something that is not a reply of this protocol, *e says what
};

enum link_event {
    LINK_CONNECTED,    // TCP only
    LINK_READY,        // CURVE handshake done
    LINK_LOST,         // could not be reached, or broke
    LINK_NO_HANDSHAKE, // closed or failed while shaking hands: the keys, in all likelihood
    LINK_REVOKED,      // the collector says that it has revoked this key
    LINK_TOO_OFTEN     // likewise, that it has let this key in too often
};

struct link;

int link_new(struct link **ret);
void link_free(struct link *l);
DEFINE_CLEANUP(struct link *, link_free);

// The keys go into libzmq's socket options.
int link_open(struct link *l, const char *endpoint, const uint8_t server_key[KEY_SIZE],
              const struct key_pair *keys, struct errmsg *e);
void link_close(struct link *l);

// Two frames. Takes the payload (malloc'ed, may be NULL) over in any case. -EAGAIN: no room: give
// the connection up.
int link_send(struct link *l, const uint8_t *header, size_t header_size, uint8_t *payload,
              size_t size);
int link_receive(struct link *l, struct wire_header *ret_header, struct wire_reply *ret_reply,
                 struct errmsg *e);
int link_next_event(struct link *l, enum link_event *ret);
// Waits for either socket or for fd, at most timeout_ms.
int link_wait(struct link *l, int fd, int timeout_ms);
