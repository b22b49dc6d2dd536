// A numbered message on its way from the listener to a writer, and the memory that all of them
// share.
#pragma once

#include <stdatomic.h>
#include <zmq.h>

#include "collector/keyring.h"
#include "common/wire.h"

#define ROUTE_MAX         16 // a routing id made by libzmq has 5 bytes
#define PEER_MAX          64
#define CREDIT_SENSOR_MAX (2u << 20)   // what one sensor may have in flight
#define CREDIT_HELD_MAX   (6u << 20)   // more of one sensor is not held: it heeds no credit
#define CREDIT_BATCH      (384u << 10) // room for any one batch a sensor seals
#define MESSAGE_OVERHEAD  768u         // what a message costs beside its payload

// Bytes of messages that wait, all sensors together and each. Thread safe.
struct budget {
    int64_t limit;
    atomic_llong used;
    atomic_bool paused; // nobody gets credit, nothing is committed (collector/guard.h)
    atomic_uint by_sensor[INT16_MAX + 1];          // bytes
    struct message *_Atomic missed[INT16_MAX + 1]; // for want of memory: see message_missed
};

// Whether the batch is in the database under another spool (collector/known.h), as of the last
// commit.
enum elsewhere { ELSEWHERE_NOT_ASKED, ELSEWHERE_NO, ELSEWHERE_YES };

struct message {
    struct message *next;
    struct budget *budget; // NULL once released
    uint32_t cost;         // bytes of it
    int16_t sensor_id;
    char name[KEYRING_NAME_MAX];
    char peer[PEER_MAX]; // address of the connection
    uint8_t route[ROUTE_MAX];
    size_t route_size;
    int64_t received_ms;
    struct wire_header header;
    zmq_msg_t raw_header; // as it came, for quarantine
    zmq_msg_t payload;
    bool missed; // it had to be dropped: no frames, but its sensor is to be asked for it again
    enum elsewhere elsewhere; // the writer's
};

// Without frames and without a share of the budget; NULL: no memory.
struct message *message_new_bare(int16_t sensor_id);

// Takes over both frames and their share of the budget; -ENOBUFS when the budget is spent, -ENOMEM:
// then they stay the caller's. Fields beside budget, sensor and frames are the caller's to fill.
// -EDQUOT when the sensor has more waiting than any that heeds its credit.
int message_new(struct budget *budget, int16_t sensor_id, zmq_msg_t *header, zmq_msg_t *payload,
                struct message **ret);

// Stands for messages that were dropped for want of memory, and takes none of the budget; to be
// filled with what the last of them says. 1: new; 0: the sensor has it already. Of one thread,
// until its sensor may be asked again: then message_missed_over.
int message_missed(struct budget *budget, int16_t sensor_id, struct message **ret);
void message_missed_over(struct budget *budget, const struct message *m);
// Whether a sensor has one. Any thread's.
bool message_is_missed(struct budget *budget, int16_t sensor_id);

void message_free(struct message *m);
DEFINE_CLEANUP(struct message *, message_free)

// Whether the windows that the header claims can be believed: a message that decoded has passed
// sharper tests, for the others this keeps nonsense out of timestamps.
bool message_has_windows(const struct message *m);

// Gives payload and budget back early; header and route stay.
void message_release(struct message *m);

// Bytes of payload the sensor may have in flight now: 0, or enough for a batch.
uint32_t budget_credit(struct budget *budget, int16_t sensor_id);
// How many sensors whose messages were dropped may be asked for them now: at least one, so that
// none waits for ever where others fill the budget again and again. None while nothing is
// committed: they would pile up at the writers.
size_t budget_may_ask(struct budget *budget);

// First in, first out, between the listener and one writer. Thread safe.
struct queue;
int queue_new(struct queue **ret);
void queue_free(struct queue *q); // frees what waits
DEFINE_CLEANUP(struct queue *, queue_free)
void queue_push(struct queue *q, struct message *m);
// The oldest message, NULL after timeout_ms without one or when closed and empty.
struct message *queue_pop(struct queue *q, int timeout_ms);
// All that wait, oldest first, linked by `next` and the caller's now; NULL as above.
struct message *queue_take(struct queue *q, int timeout_ms);
// Waits until n messages wait in it, timeout_ms, or less if it is closed; how many wait. Those that
// come before the last of them do not wake it.
size_t queue_wait(struct queue *q, size_t n, int timeout_ms);
// No pop waits any more.
void queue_close(struct queue *q);
bool queue_is_closed(struct queue *q);
// Waits timeout_ms, less if the queue is closed; messages do not wake it.
void queue_pause(struct queue *q, int timeout_ms);
