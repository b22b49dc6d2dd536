// Proof at start that the door is shut: without a working ZAP handler libzmq lets every key in,
// even with a domain set.
#pragma once

#include "collector/zap.h"

// Binds the router to a free loopback port, knocks with a key made for this, and unbinds. 0 if the
// key was refused and the handler was asked; -EACCES if it was let in or nothing was heard.
int selftest_refusal(void *zmq, void *router, const uint8_t server_key[KEY_SIZE],
                     const struct zap *zap, struct errmsg *e);
