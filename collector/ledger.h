// hirundo.ledger as a group moves it: one conditional upsert for all streams.
#pragma once

#include "collector/group.h"

struct ledger;
int ledger_new(struct ledger **ret);
void ledger_free(struct ledger *l);
DEFINE_CLEANUP(struct ledger *, ledger_free)

// Advances from..through of each stream, in key order (the array is sorted), where the row still
// says `from` and the sensor is not revoked. 0; GROUP_STALE: not all, those at fault are marked
// stale; DB_REFUSED, -EPIPE, -ENOMEM.
int ledger_advance(struct ledger *l, struct stream **moves, size_t n, struct db *db,
                   struct errmsg *e);
