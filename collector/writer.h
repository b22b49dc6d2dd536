// A writer: one thread, one database connection, the messages of its sensors.
//
// It takes what has queued up, commits it as one group and only then acknowledges. When the
// database is away it holds what it has, acknowledges nothing and tries again; what it held is then
// compared with the ledger like anything else.
#pragma once

#include "collector/message.h"
#include "collector/metrics.h"
#include "common/pulse.h"

#define WRITER_REPLIES "inproc://hirundo.replies" // the listener's PULL socket

struct writer_options {
    const char *conninfo;
    struct keyring *keyring;
    struct budget *budget;
    void *zmq;
    struct metrics *metrics;
    struct alarms *alarms;
    unsigned number; // for the log
};

struct writer;
// Starts the thread; *options' pointers must outlive the writer. The replies' PULL socket must be
// bound.
int writer_start(const struct writer_options *options, struct writer **ret, struct errmsg *e);
void writer_push(struct writer *w, struct message *m);
// Whether the database takes rows; false as well while it has not answered for 10 s.
bool writer_db_ok(struct writer *w);
// Beaten a few times a second.
const struct pulse *writer_pulse(const struct writer *w);
// Commits what is queued if the database lets it, ends the thread, frees.
void writer_stop(struct writer *w);

// A reply on its way: three frames (route, header, payload) to WRITER_REPLIES or to a ROUTER.
struct reply {
    enum wire_kind kind;
    const uint8_t *spool_id;
    uint64_t seq;
    struct wire_reply body;
};
// 0; -EAGAIN: the peer is gone or does not read, the reply is dropped; -errno.
int reply_send(void *socket, const uint8_t *route, size_t route_size, const struct reply *reply);
