// Whether a batch is in the database already, under another spool of its sensor.
//
// A machine that was set back to a copy of itself, or a spool that was moved on after a fork,
// brings what another life of the machine has delivered under another spool_id. Its digest tells: a
// batch holds its windows with their times, so that two batches of one sensor are the same when
// their digests are. A sensor with one spool is not asked about.
#pragma once

#include "collector/group.h"

// Whether the sensor of this stream has other spools in the ledger.
int known_has_siblings(struct db *db, const struct stream *stream, bool *ret, struct errmsg *e);
// Whether another sensor's ledger has this spool: it was copied from that machine.
int known_is_foreign(struct db *db, const struct stream *stream, bool *ret, struct errmsg *e);
// Delivered, quarantined or declared lost with that digest, ending at last_ms, under another spool.
int known_elsewhere(struct db *db, const struct stream *stream,
                    const uint8_t digest[WIRE_SHA256_SIZE], int64_t last_ms, bool *ret,
                    struct errmsg *e);
// The same of n batches, streams[i]'s messages[i], in one query: into their `elsewhere`.
int known_elsewhere_many(struct db *db, struct stream *const *streams,
                         struct message *const *messages, size_t n, struct errmsg *e);
