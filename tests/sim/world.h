// A world: some sensors, one or two collectors, one database and what goes wrong between them.
//
// The sender (sensor/sender.c) and the receiver (collector/receiver.c) are the real ones. Around
// them stand models of what drives them: sensor_node.c does what sensor/uplink*.c does with a
// spool, collector_node.c what collector/listener.c, writer.c and group.c do with a ledger.
// Everything follows from the seed. Time is simulated, in ms; 0 stands for "none".
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/receiver.h"
#include "sensor/sender.h"
#include "tests/sim/heap.h"
#include "tests/sim/ledger.h"
#include "tests/sim/rng.h"
#include "tests/sim/spool_model.h"

#define MINUTE         60000
#define SENSORS_MAX    6
#define COLLECTORS_MAX 2
#define LAST_WINDOWS   3 // batches that each sensor seals after the last fault
#define OLD_ROUTES     8
#define ITEMS_MAX      64 // messages in the hand of a writer

// ---- messages

enum message_kind { MESSAGE_BATCH, MESSAGE_LOSS, MESSAGE_PING };

struct loss_part {
    uint64_t first, last;
    bool unknown;
    uint32_t content;
    int64_t lo, hi;
};

struct sim_message {
    enum message_kind kind;
    uint32_t sensor;
    uint32_t route; // the connection it came by
    uint32_t spool;
    uint64_t first, last;
    uint32_t content;
    int64_t first_window, last_window;
    uint32_t bytes;
    uint32_t parts_n;
    struct loss_part parts[];
};

enum reply_kind { REPLY_PONG, REPLY_ACK, REPLY_GAP, REPLY_FORK };

struct sim_reply {
    enum reply_kind kind;
    uint32_t route;
    uint32_t spool;
    uint64_t seq; // of the message that it answers
    uint64_t number;
    uint64_t credit;
    uint32_t db_epoch; // the database was not restored since, if it is still this
};

// ---- events

enum event_kind {
    EVENT_WINDOW,       // a sensor seals a batch
    EVENT_SENSOR_TIMER, // the sender wants to be asked
    EVENT_CONNECTED,    // epoch: route
    EVENT_LINK_LOST,    // epoch: route
    EVENT_SENSOR_START, // after a crash or a stop
    EVENT_TO_COLLECTOR, // data: message; epoch: of the collector's life
    EVENT_TO_SENSOR,    // data: reply; epoch: route
    EVENT_WRITER,       // go on; epoch: of the collector's life
    EVENT_TX_ORPHAN,    // the server ends the transaction of a dead client; data: struct tx
    EVENT_COLLECTOR_START,
    EVENT_DATABASE_UP,
    EVENT_FAULT,
    EVENT_HEAL,  // epoch: enum fault_kind
    EVENT_QUIET, // no more faults
};

// ---- the parts

// What a sensor has counted: batch n at n - 1.
struct truth {
    int64_t *made; // when its window ended
    uint8_t *counted;
    uint32_t *forgotten; // went with the old spool at a fork: 1 + db.epoch of then
    uint32_t n, room;
};

struct interval {
    int64_t lo, hi;
};

// A connection that was closed: what is under way then arrives until lost_after.
struct old_route {
    uint32_t route;
    int64_t lost_after;
};

struct sensor_node {
    uint32_t number;
    struct sender *sender;
    struct spool_model spool;
    struct truth truth;
    uint32_t spooled; // batches before this are in the spool, or gone
    bool running;
    bool disk_full;
    uint32_t route;    // of the present connection, 0: none
    uint32_t endpoint; // of it
    uint32_t peer_epoch;
    uint32_t epoch;
    int64_t timer_at; // of the event that is under way, INT64_MAX: none
    int64_t last_arrival_up, last_arrival_down;
    struct old_route old[OLD_ROUTES];
    uint32_t n_old;
    bool stale_answer; // hears something from before a restore
    struct spool_model snapshot;
    bool has_snapshot;
    bool set_back;  // to its snapshot, not started yet
    bool unsettled; // set back, and not everything acknowledged since
    // The intervals declared unknown, as the ledger has them.
    struct interval *declared;
    size_t n_declared, room_declared;
    int64_t stalled_until[COLLECTORS_MAX];
    uint64_t clones; // alarms
};

struct sim_stream {
    uint32_t sensor, spool;
    struct receiver receiver;
    bool stale;
    uint64_t from, through;
    const struct sim_message *last;
};

enum item_state { ITEM_OPEN, ITEM_GROUPED, ITEM_DUPLICATE, ITEM_GAP, ITEM_FORK, ITEM_DONE };

struct item {
    struct sim_message *m;
    uint32_t stream;
    enum item_state state;
    uint64_t fork;
};

struct range {
    uint32_t from, to;
    unsigned stale;
};

enum writer_state { WRITER_IDLE, WRITER_FETCH, WRITER_UPSERT, WRITER_COMMIT, WRITER_BACKOFF };

struct collector_node {
    uint32_t number;
    bool running;
    uint32_t epoch;
    bool db_cut;     // its own way to the database
    bool db_ok;      // what pings are told
    bool poor;       // credit 0
    bool drops;      // loses messages for want of memory
    bool connection; // to the database: none after an error
    uint32_t db_session;
    int64_t used; // bytes of messages
    int64_t budget;
    uint32_t group_max;
    struct sim_message **queue;
    size_t queue_first, queue_n, queue_room;
    enum writer_state state;
    struct item items[ITEMS_MAX];
    uint32_t n_items;
    struct range ranges[16];
    uint32_t n_ranges;
    uint32_t cursor;
    struct sim_stream *streams;
    uint32_t n_streams, room_streams;
    struct receiver_spools spools[SENSORS_MAX];
    uint32_t forked_route[SENSORS_MAX];
    uint64_t fork[SENSORS_MAX];
    struct tx *tx;
    bool refuse; // the next commit fails as if the database refused it
    uint32_t grouped;
    int64_t lock_since;
    int64_t backoff;
};

struct database {
    struct ledger *ledger;
    struct ledger *backup;
    bool up;
    bool restore;     // when it comes up again
    uint32_t session; // connections of an earlier one are broken
    uint32_t epoch;   // counts restores
    uint32_t tx_made;
};

enum fault_kind {
    FAULT_CUT,
    FAULT_STALL,
    FAULT_SLOW,
    FAULT_LOSE_REPLIES,
    FAULT_DROPS,
    FAULT_SENSOR_CRASH,
    FAULT_SENSOR_STOP,
    FAULT_DISK_FULL,
    FAULT_SPOOL_DAMAGED,
    FAULT_SNAPSHOT,
    FAULT_OLD_COPY,
    FAULT_COLLECTOR_CRASH,
    FAULT_POOR,
    FAULT_DB_CUT,
    FAULT_DB_DOWN,
    FAULT_BACKUP,
    FAULT_RESTORE,
    FAULT_REFUSE,
    FAULT_KINDS,
};
extern const char *const fault_names[FAULT_KINDS];

struct tally {
    uint64_t worlds;
    uint64_t batches;
    uint64_t messages, duplicates, gaps, forks, commits, stale, lock_waits, rollbacks;
    uint64_t committed, lost, unknown; // batches, at the end
    uint64_t forgotten;                // gone with an old spool and the database's later state
    uint64_t evicted, merged;
    uint64_t failovers, connections, clones;
    uint64_t events;
    uint64_t faults[FAULT_KINDS];
    int64_t longest_quiet; // ms from the last fault's end until all was acknowledged
};

// A fork that was: what stood at `from`, and the spool it became.
struct sim_fork {
    uint32_t old, id;
    uint64_t from;
    struct entry what;
};

struct world {
    struct rng rng;
    uint64_t seed;
    int64_t now;
    struct heap heap;
    struct sensor_node sensors[SENSORS_MAX];
    uint32_t n_sensors;
    struct collector_node collectors[COLLECTORS_MAX];
    uint32_t n_collectors;
    struct database db;
    uint32_t routes, spools; // made so far
    struct sim_fork *forks;
    size_t n_forks;
    int64_t fault_every; // ms, mean
    int64_t quiet_at;
    bool quiet;
    int64_t slow_until;  // messages take their time
    int64_t lossy_until; // replies are lost
    struct tally *tally;
    bool trace;
    bool unchecked; // only the ledger is of interest (ledger_script.c)
    bool leftovers; // a sensor set back may meet messages of its former life
    bool again;     // a sensor may be set back to the same snapshot again, and over a fork
    bool failed;
    char failure[512];
};

// world.c
// Runs one world to its end; false: *ret_failure says what was violated.
struct world_options {
    bool trace, leftovers, again;
};
bool world_run(uint64_t seed, const struct world_options *options, struct tally *tally,
               char ret_failure[512]);
// The world ends with this; only the first counts.
__attribute__((format(printf, 2, 3))) void world_fail(struct world *w, const char *format, ...);
__attribute__((format(printf, 2, 3))) void world_trace(const struct world *w, const char *format,
                                                       ...);
#define TRACE(w, ...)                                                                              \
    do {                                                                                           \
        if ((w)->trace)                                                                            \
            world_trace((w), __VA_ARGS__);                                                         \
    } while (0)
void world_post(struct world *w, int64_t at, enum event_kind kind, uint32_t who, uint32_t epoch,
                void *data);
// How long a message is on its way.
int64_t world_delay(struct world *w);

// truth.c
int truth_add(struct sensor_node *s, int64_t made);
// A transaction has brought these rows; or the ledger is another one now.
void truth_committed(struct world *w, const struct tx *t);
void truth_restored(struct world *w);
// A batch that this entry stands for and that is neither in the database nor declared there; 0:
// none.
uint32_t truth_missing(const struct sensor_node *s, const struct entry *e);
void truth_check_end(struct world *w);
void truth_release(struct sensor_node *s);

// sensor_node.c
int sensor_init(struct world *w, struct sensor_node *s);
void sensor_release(struct sensor_node *s);
void sensor_window(struct world *w, struct sensor_node *s);
void sensor_timer(struct world *w, struct sensor_node *s);
void sensor_connected(struct world *w, struct sensor_node *s);
void sensor_link_lost(struct world *w, struct sensor_node *s);
// Does what is under way on this connection, perhaps closed since, still arrive?
bool sensor_still_sends(const struct world *w, const struct sensor_node *s, uint32_t route);
void sensor_hear(struct world *w, struct sensor_node *s, const struct sim_reply *reply);
void sensor_disk_works(struct world *w, struct sensor_node *s);
void sensor_crash(struct world *w, struct sensor_node *s, int64_t down_ms);
void sensor_stop(struct world *w, struct sensor_node *s, int64_t down_ms);
void sensor_start(struct world *w, struct sensor_node *s);
void sensor_damage(struct world *w, struct sensor_node *s);
void sensor_snapshot(struct world *w, struct sensor_node *s);
void sensor_old_copy(struct world *w, struct sensor_node *s, int64_t down_ms);
bool sensor_is_done(const struct world *w, const struct sensor_node *s);

// collector_node.c: the listener, life and death
int collector_init(struct world *w, struct collector_node *c);
void collector_release(struct collector_node *c);
void collector_receive(struct world *w, struct collector_node *c, struct sim_message *m);
void collector_crash(struct world *w, struct collector_node *c, int64_t down_ms);
void collector_start(struct world *w, struct collector_node *c);
void collector_reply(struct world *w, struct collector_node *c, const struct sim_message *m,
                     enum reply_kind kind, uint64_t number);
// Messages of this sensor, queued or in a writer's hand.
bool collector_holds(const struct collector_node *c, uint32_t sensor);
struct sim_message *collector_pop(struct collector_node *c);

// group_node.c
struct sim_stream *group_stream(const struct collector_node *c, const struct item *item);
// Reads the ledger.
void group_load(struct world *w, struct sim_stream *s);
int group_get(struct world *w, struct collector_node *c, const struct sim_message *m,
              uint32_t *ret);
void group_clear(struct collector_node *c);
int group_add(const struct world *w, struct collector_node *c, struct item *item);
// The first number of the message that the ledger holds with another content; 0: none.
uint64_t group_find_fork(const struct world *w, const struct sim_message *m);

// writer_node.c
void writer_step(struct world *w, struct collector_node *c);
void writer_wake(struct world *w, struct collector_node *c);
void writer_crash(struct world *w, struct collector_node *c);
void writer_release(struct collector_node *c);
void writer_tx_orphan(struct world *w, struct tx *tx);

// faults.c
void fault_strike(struct world *w);
void fault_heal(struct world *w, enum fault_kind kind, uint32_t who);
void fault_end_all(struct world *w);
void database_down(struct world *w);
void database_up(struct world *w);
