// Connections that send a message without an end.
//
// libzmq gathers all frames of a message before it shows the first, whatever the limits on frames
// and queues: an enrolled but hostile peer could fill the memory with one message. So connections
// whose kernel counter of bytes received has run far ahead of the last whole message are cut.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/util.h"

#define UNFINISHED_MAX (16u << 20) // bytes; a sensor that heeds its credit has 2 MiB under way

struct unfinished;
int unfinished_new(struct unfinished **ret);
void unfinished_free(struct unfinished *u);
DEFINE_CLEANUP(struct unfinished *, unfinished_free)

// A connection is there, or is no more, under this descriptor of libzmq's.
void unfinished_opened(struct unfinished *u, int fd);
void unfinished_closed(struct unfinished *u, int fd);
// A whole message of this connection was read; fd may be -1, or closed since. What it has received
// so far is looked up at the next unfinished_cut, not with every message: a system call less.
void unfinished_completed(struct unfinished *u, int fd);
// Shuts connections down that are beyond UNFINISHED_MAX and were accepted on one of these n local
// ports (host order). Logs each. Value: how many.
int unfinished_cut(struct unfinished *u, const uint16_t *ports, size_t n);
// How many connections there are, handshake done or not.
unsigned unfinished_connections(const struct unfinished *u);
