// From where connections are taken. Each costs the threads that read from the sensors, too: whoever
// comes again and again without a message, from one address or from everywhere, is let through by
// the kernel seldom (syn_filter.h) until it has become quiet. Connections that are there stay, and
// where a sensor came in stays open to it when everybody comes.
//
// Every origin has a purse. A connection costs one, which its first message gives back: what counts
// is what is silent, or has failed. A purse holds more where a sensor came in: many may start there
// at once.
//
// One thread's. Times are monotonic milliseconds.
#pragma once

#include "collector/syn_filter.h"

#define GATE_PURSE     16  // connections that come to nothing, at once, of one origin
#define GATE_KNOWN     128 // likewise, where a sensor came in
#define GATE_PER_S     8   // and every second
#define GATE_ALL_PURSE 256 // likewise, of all together
#define GATE_ALL_PER_S 64

struct gate;
int gate_new(struct gate **ret);
void gate_free(struct gate *g);
DEFINE_CLEANUP(struct gate *, gate_free)

// A listening socket to guard; its owner closes it.
void gate_guard(struct gate *g, int fd);
// A connection from there; text: the address, for the log.
void gate_came(struct gate *g, const struct origin *from, const char *text, int64_t now_ms);
// Its first message came, and it was a sensor's.
void gate_heard(struct gate *g, const struct origin *from, int64_t now_ms);
// So many connections without a message are open that descriptors become scarce.
void gate_crowded(struct gate *g, unsigned connections, int64_t now_ms);
// Opens again what has become quiet.
void gate_check(struct gate *g, int64_t now_ms);
// The rules of this moment.
const struct syn_rules *gate_rules(const struct gate *g);
