// What the parts of a writer share; for writer*.c alone.
//
// writer.c is the thread and its database connection, writer_items.c what becomes of each message,
// writer_commit.c the groups they are committed in.
#pragma once

#include <pthread.h>

#include "collector/group.h"
#include "collector/quiet.h"
#include "collector/streams.h"
#include "collector/validate.h"
#include "collector/writer.h"
#include "common/clock.h"

// What the writer remembers of a sensor for the clone alarm.
struct sensor_spools {
    struct receiver_spools spools;
    int64_t alarmed_ms;
    // The connection that was last found to send other data than the ledger holds, and from which
    // number on: nothing more is taken from it, the sensor begins a new spool and connects anew.
    uint8_t forked_route[ROUTE_MAX];
    size_t forked_size;
    uint64_t fork;
    bool foreign;  // not for other data, but because the spool is another sensor's
    bool siblings; // it has several spools in the ledger; asked for this connection and spool
    uint8_t asked_route[ROUTE_MAX];
    size_t asked_size;
    uint8_t asked_spool[WIRE_SPOOL_ID_SIZE];
};

// A message in hand and what became of it.
enum item_state { ITEM_OPEN, ITEM_GROUPED, ITEM_DUPLICATE, ITEM_GAP, ITEM_FORK, ITEM_DONE };

struct item {
    struct message *m;
    struct stream *stream; // NULL: not looked up
    enum item_state state;
    uint64_t fork; // ITEM_FORK: the number
    uint64_t last; // the last number it covers
    bool compared; // with what the ledger has of it, which does not change any more:
    bool other;    // it is something else
    bool foreign;  // ITEM_FORK, because the spool is another sensor's
    bool poison;   // it goes to quarantine
    bool aside;    // so it does, or it stands there; why:
    char *reason;  // NULL: no memory to say
};

// What is looked up for many items at once, as many of each as there is room for items.
struct ahead {
    void *block; // where they are
    struct message **messages;
    struct stream **streams;
    struct item **items;
    int16_t *sensors;
    bool *compared, *other;
};

struct writer {
    struct writer_options options;
    pthread_t thread;
    struct pulse pulse;
    struct queue *queue;
    struct message *waiting; // taken from the queue, not yet in hand
    void *replies;           // PUSH, made and used by the thread
    atomic_bool db_ok;
    atomic_llong waiting_since; // monotonic ms of the last step while there is work; 0: none
    struct db *db;
    struct dims *dims;
    struct group *group;
    struct streams *streams;
    struct sensor_spools *spools[INT16_MAX + 1]; // by sensor, made when it is met
    int64_t now_ms;                              // monotonic, of the last step
    int64_t burst_ms;                            // of the last burst; 0: its memory is given back
    struct validate_limits limits;               // of this attempt
    struct quiet forks, poison;
    struct item *items; // as many as came at once, GROUP_MESSAGES at most
    size_t n_items, items_size;
    struct ahead ahead;   // scratch of writer_prefetch
    bool asked_elsewhere; // some items have it
};

#define BURST_ROWS 4096 // in one commit, after which memory is given back, too

// The database answered, or is asked for the first time.
static inline void note_step(struct writer *w)
{
    w->now_ms = mono_ms();
    atomic_store(&w->waiting_since, w->now_ms);
    pulse_beat_at(&w->pulse, w->now_ms);
}

// ---- writer_items.c

// Alarms where one key sends from two spools in turn.
void writer_watch_clones(struct writer *w, const struct message *m);
// Looks up in a few queries what the messages in hand refer to, where a thousand sensors come at
// once.
int writer_prefetch(struct writer *w, struct errmsg *e);
// Asks whether open items from..to-1 are in the database under another spool of their sensor.
// Nothing depends on it but speed: what was not asked for here is asked for one by one.
int writer_look_elsewhere(struct writer *w, size_t from, size_t to, struct errmsg *e);
// Something was committed: what was known of the open items' batches under other spools is old.
void writer_forget_elsewhere(struct writer *w);
// Judges one open item; takes it into the group where it is next in line.
int item_judge(struct writer *w, struct item *item, struct errmsg *e);
// Notes why an item goes, or went, to quarantine.
void item_explain(struct item *item, const char *why);
// The item goes to quarantine: why was noted.
void item_poison(struct writer *w, struct item *item);
// The item is done with: its message is freed.
void item_settle(struct item *item);
// Acknowledges what is committed through its stream.
void item_acknowledge(struct writer *w, const struct item *item);
// Answers duplicates, forks and gaps: what must wait until all that came with it is committed.
int writer_settle_rest(struct writer *w, struct errmsg *e);

// ---- writer_commit.c

// Commits all open items; where the database refuses a group, halves it until the one at fault
// stands alone. 0: all settled but what is left to writer_settle_rest; else the connection or the
// database is at fault.
int writer_commit(struct writer *w, struct errmsg *e);
