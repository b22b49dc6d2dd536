// What lies in quarantine, taken in again or given up, message by message.
//
// Each message is one transaction that first locks its row: done twice, by two at once, or cut
// short at any point, it is taken in once. The ledger does not move: it moved when the message was
// put aside.
#pragma once

#include "collector/db.h"

// Which messages; NULL, 0: any. All that is given must fit.
struct quarantine_choice {
    const char *sensor;
    const char *reason; // a part of it, in any case
    const char *ids;    // an array as PostgreSQL writes it: {3,7}
    bool resolved;      // those too that were retried or dropped
};

#define QUARANTINE_LIST                                                                            \
    "select q.quarantine_id as id, s.name as sensor, q.seq, q.received_at::timestamptz(0) as "     \
    "received_at, q.peer, q.frames, length(q.payload) as bytes, "                                  \
    "coalesce(q.resolution, 'open') as state, q.reason"

// columns: such as QUARANTINE_LIST, of hirundo.quarantine q and hirundo.sensor s; oldest first.
int quarantine_select(struct db *db, const struct quarantine_choice *choice, const char *columns,
                      PGresult **ret, struct errmsg *e);

// Outcomes beside 0 and -errno.
#define QUARANTINE_RESOLVED 20 // it was retried or dropped already: nothing was done
#define QUARANTINE_REFUSED  21 // it still cannot be taken, *e says why; so does its row now

struct retrier; // decoder, caches: for many messages of one connection
int retrier_new(struct retrier **ret);
void retrier_free(struct retrier *r);
DEFINE_CLEANUP(struct retrier *, retrier_free)

// Decodes, checks and inserts a message with this program and the settings of now: its rows, its
// accounting where it belongs instead of as quarantined, its outcome in hirundo.batch. -ENOENT: no
// such message. DB_REFUSED: the database does not work as it should; nothing was changed.
int quarantine_retry(struct retrier *r, struct db *db, const char *id, struct errmsg *e);
// Gives a message up: its frames stay booked as quarantined; what was raw goes.
int quarantine_drop(struct db *db, const char *id, struct errmsg *e);
