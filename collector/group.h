// One commit: what many messages become in the database, in one transaction.
//
// A group is filled message by message and committed, or cleared and filled again with fewer. It
// belongs to one writer.
#pragma once

#include "collector/dims.h"
#include "collector/message.h"
#include "collector/receiver.h"

// A group is full with so many
#define GROUP_ROWS     20000 // rows of few messages: a commit of that size reaches the best rate,
#define GROUP_FEW      1024  // and sensors that have all on the way that they may wait for its ack
#define GROUP_ROWS_MAX 65536 // rows in any case
#define GROUP_MESSAGES 16384 // messages; each commit has costs of its own for each of their sensors
#define GROUP_SLOTS    50000 // accounting slots

// A spool in the ledger, as this writer knows it.
struct stream {
    int16_t sensor_id;
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    struct receiver receiver;
    bool revoked;  // the database lets nothing more in from this sensor
    bool stale;    // the ledger was not what we thought, or was never read: read it
    bool listed;   // scratch of streams_prefetch
    uint64_t from; // scratch of the open group: ledger move from..next, 0: none
    uint64_t through;
    const struct message *last; // the group's last message of this spool
    int64_t received_ms;        // of a message out of quarantine: when it came; else 0
    bool siblings;              // the sensor has other spools in the ledger (known.h)
};

struct group;
int group_new(struct group **ret);
void group_free(struct group *g);
DEFINE_CLEANUP(struct group *, group_free)
// The database's clock as of now, by which rows say when they were committed, until it is set anew;
// this host's until then. Retention goes by it: a collector's wrong clock must not.
void group_set_clock(struct group *g, int64_t now_ms);
void group_clear(struct group *g);
// Frees what large groups made its buffers grow to. The group is empty.
void group_shrink(struct group *g);
bool group_is_empty(const struct group *g);
bool group_is_full(const struct group *g);
size_t group_rows(const struct group *g);

// Outcomes of group_add and group_commit beside 0, DB_REFUSED (of the database, *e), -errno.
#define GROUP_POISON 2 // the message cannot be taken: *e says why; the group is as before
#define GROUP_STALE  3 // some stream's ledger row is not what we thought; nothing was committed

// Adds the message, next in line of its stream (receiver_judge said TAKE), and receiver_take()s it.
// May look up and make dimensions in the database.
int group_add(struct group *g, struct db *db, struct dims *dims, struct stream *stream,
              const struct message *m, const struct validate_limits *limits, struct errmsg *e);
// Adds it as poison: raw into quarantine, its frames booked, its numbers up to `last` taken.
int group_add_poison(struct group *g, struct stream *stream, const struct message *m, uint64_t last,
                     const char *reason, struct errmsg *e);
// After GROUP_STALE the streams at fault are marked stale. The group is not cleared.
int group_commit(struct group *g, struct db *db, struct errmsg *e);

// For a message out of quarantine, which was added as above: it is not in the slot of `at_ms` as
// quarantined any more.
int group_take_back(struct group *g, int16_t sensor_id, int64_t at_ms, int64_t frames);
// Writes what was added, all but the ledger's moves, in the caller's transaction.
int group_write_rows(struct group *g, struct db *db, struct errmsg *e);
