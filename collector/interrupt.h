// Ctrl-C and its like during long work: the statement that runs is cancelled, so that the work ends
// with an error, cleans up after itself and says why. A thread waits for the signals; they are
// blocked for all others meanwhile.
#pragma once

#include "collector/db.h"

struct interrupt;

// SIGINT, SIGTERM, SIGHUP. The connection must outlive it.
int interrupt_new(const struct db *db, struct interrupt **ret, struct errmsg *e);
// Ends the thread; the signals do again what they did.
void interrupt_free(struct interrupt *i);
DEFINE_CLEANUP(struct interrupt *, interrupt_free)

// -EINTR with *e once one came.
int interrupt_check(const struct interrupt *i, struct errmsg *e);
