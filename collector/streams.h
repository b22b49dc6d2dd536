// The ledger rows that a writer has met: one stream for each (sensor, spool), read from the
// database when it is first asked for. Belongs to one writer.
#pragma once

#include "collector/group.h"

#define STREAMS_MAX 65536 // spools; then the owner clears the cache

struct streams;
int streams_new(struct streams **ret);
void streams_free(struct streams *s);
DEFINE_CLEANUP(struct streams *, streams_free)
// Forgets and frees all: no stream may be in use.
void streams_clear(struct streams *s);
size_t streams_count(const struct streams *s);

// The stream of a message; its row is read from the database when it is new or stale. *ret stays
// valid until streams_clear. 0; DB_REFUSED, -EPIPE, -ENOMEM.
int streams_get(struct streams *s, struct db *db, const struct message *m, struct stream **ret,
                struct errmsg *e);
// The streams of n messages; the rows of those that are new or stale are read in one query, unless
// it is a single one.
int streams_prefetch(struct streams *s, struct db *db, struct message *const *messages, size_t n,
                     struct stream **ret, struct errmsg *e);
// Whether a stream was looked up (else NULL) and its row has been read and not been found old.
static inline bool stream_is_read(const struct stream *stream)
{
    return stream && !stream->stale;
}
// How SQL names a stream: sensor_id, and spool_id in hex.
struct stream_words {
    char sensor[16], spool[2 * WIRE_SPOOL_ID_SIZE + 1];
};
struct stream_words stream_words(const struct stream *stream);
// Reads the row again.
int stream_load(struct db *db, struct stream *stream, struct errmsg *e);

// Reads what the database keeps of these batches, streams[i]'s number messages[i]->header.seq, in
// one query. ret_compared[i]: it keeps that number as a batch, and ret_other[i] says whether with
// other data; else stream_find_fork must look.
int streams_compare(struct db *db, struct stream *const *streams, struct message *const *messages,
                    size_t n, bool *ret_compared, bool *ret_other, struct errmsg *e);
// Which of these numbers stand in quarantine, and why: found is called for each that does.
typedef void (*streams_aside_fn)(void *context, size_t i, const char *reason);
int streams_aside(struct db *db, struct stream *const *streams, struct message *const *messages,
                  size_t n, streams_aside_fn found, void *context, struct errmsg *e);
// The first number of a message that the ledger holds with other data; 0: none. A loss message that
// does not decode is none.
int stream_find_fork(struct db *db, const struct stream *stream, const struct message *m,
                     uint64_t *ret_seq, struct errmsg *e);
