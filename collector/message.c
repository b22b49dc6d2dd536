#include "collector/message.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

// Of a sensor that sends many small batches anew.
#define ANEW_BYTES (128 << 10)
// libzmq reads so much at once. A frame that lies in it keeps all of it, 18 KiB with what libzmq
// adds, for as long as it lives.
#define READ_BYTES 8192

static uint32_t cost(zmq_msg_t *payload)
{
    return (uint32_t)MIN(zmq_msg_size(payload), (size_t)UINT32_MAX / 2) + MESSAGE_OVERHEAD;
}

struct message *message_new_bare(int16_t sensor_id)
{
    // Its own size, and what libzmq and malloc keep beside the bytes of two frames.
    _Static_assert(sizeof(struct message) + 256 <= MESSAGE_OVERHEAD, "its overhead says less");
    struct message *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->sensor_id = sensor_id;
    zmq_msg_init(&m->raw_header);
    zmq_msg_init(&m->payload);
    return m;
}

// Gives the frame memory of its own.
static int detach(zmq_msg_t *frame)
{
    zmq_msg_t own;
    size_t size = zmq_msg_size(frame);
    if (size > READ_BYTES)
        return 0; // it has
    if (zmq_msg_init_size(&own, size) < 0)
        return -ENOMEM;
    memcpy(zmq_msg_data(&own), zmq_msg_data(frame), size);
    zmq_msg_move(frame, &own);
    return 0;
}

int message_new(struct budget *budget, int16_t sensor_id, zmq_msg_t *header, zmq_msg_t *payload,
                struct message **ret)
{
    uint32_t bytes = cost(payload);
    if (atomic_load(&budget->by_sensor[sensor_id]) + bytes > CREDIT_HELD_MAX)
        return -EDQUOT;
    if (atomic_fetch_add(&budget->used, bytes) + bytes > budget->limit) {
        atomic_fetch_sub(&budget->used, bytes);
        return -ENOBUFS;
    }
    _cleanup_(message_freep) struct message *m = message_new_bare(sensor_id);
    if (!m || detach(header) < 0 || detach(payload) < 0) {
        atomic_fetch_sub(&budget->used, bytes);
        return -ENOMEM;
    }
    atomic_fetch_add(&budget->by_sensor[sensor_id], bytes);
    m->budget = budget;
    m->cost = bytes;
    zmq_msg_move(&m->raw_header, header);
    zmq_msg_move(&m->payload, payload);
    *ret = m;
    m = NULL;
    return 0;
}

int message_missed(struct budget *budget, int16_t sensor_id, struct message **ret)
{
    *ret = atomic_load(&budget->missed[sensor_id]);
    if (*ret)
        return 0;
    struct message *m = message_new_bare(sensor_id);
    if (!m)
        return -ENOMEM;
    m->missed = true;
    atomic_store(&budget->missed[sensor_id], m);
    *ret = m;
    return 1;
}

void message_missed_over(struct budget *budget, const struct message *m)
{
    atomic_store(&budget->missed[m->sensor_id], NULL);
}

bool message_is_missed(struct budget *budget, int16_t sensor_id)
{
    return atomic_load(&budget->missed[sensor_id]) != NULL;
}

void message_release(struct message *m)
{
    if (!m->budget)
        return;
    atomic_fetch_sub(&m->budget->used, m->cost);
    atomic_fetch_sub(&m->budget->by_sensor[m->sensor_id], m->cost);
    m->budget = NULL;
    zmq_msg_close(&m->payload);
    zmq_msg_init(&m->payload);
}

void message_free(struct message *m)
{
    if (!m)
        return;
    message_release(m);
    zmq_msg_close(&m->raw_header);
    zmq_msg_close(&m->payload);
    free(m);
}

bool message_has_windows(const struct message *m)
{
    const int64_t day = 86400000;
    return m->header.first_window_ms > 0 && m->header.first_window_ms <= m->header.last_window_ms &&
           m->header.last_window_ms <= m->received_ms + day;
}

uint32_t budget_credit(struct budget *budget, int16_t sensor_id)
{
    long long left = budget->limit - atomic_load(&budget->used);
    uint32_t waiting = atomic_load(&budget->by_sensor[sensor_id]);
    if (left < CREDIT_BATCH || atomic_load(&budget->paused))
        return 0;
    uint32_t credit = waiting >= CREDIT_SENSOR_MAX ? 0 : CREDIT_SENSOR_MAX - waiting;
    // As the budget fills, shares shrink to one batch, so that many sensors drain side by side.
    if (left < budget->limit / 2)
        credit = MIN(credit, (uint32_t)CREDIT_BATCH);
    return MAX(credit, (uint32_t)CREDIT_BATCH);
}

size_t budget_may_ask(struct budget *budget)
{
    if (atomic_load(&budget->paused))
        return 0;
    long long room = budget->limit / 2 - atomic_load(&budget->used);
    return room < ANEW_BYTES ? 1 : (size_t)(room / ANEW_BYTES);
}

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct message *first;
    struct message **last;
    size_t n;
    size_t wanted; // so many wake who waits
    bool closed;
};

int queue_new(struct queue **ret)
{
    struct queue *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    q->last = &q->first;
    *ret = q;
    return 0;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    while (q->first) {
        struct message *m = q->first;
        q->first = m->next;
        message_free(m);
    }
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

void queue_push(struct queue *q, struct message *m)
{
    m->next = NULL;
    pthread_mutex_lock(&q->lock);
    *q->last = m;
    q->last = &m->next;
    q->n++;
    if (q->n >= q->wanted)
        pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

static struct timespec deadline_in(int timeout_ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

// With the lock held.
static void wait_for(struct queue *q, size_t n, int timeout_ms)
{
    if (q->n >= n || q->closed || timeout_ms <= 0)
        return;
    struct timespec deadline = deadline_in(timeout_ms);
    q->wanted = n;
    for (int r = 0; q->n < n && !q->closed && r == 0;)
        r = pthread_cond_timedwait(&q->changed, &q->lock, &deadline);
}

struct message *queue_pop(struct queue *q, int timeout_ms)
{
    pthread_mutex_lock(&q->lock);
    wait_for(q, 1, timeout_ms);
    struct message *m = q->first;
    if (m) {
        q->first = m->next;
        q->n--;
        if (!q->first)
            q->last = &q->first;
        m->next = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    return m;
}

struct message *queue_take(struct queue *q, int timeout_ms)
{
    pthread_mutex_lock(&q->lock);
    wait_for(q, 1, timeout_ms);
    struct message *first = q->first;
    q->first = NULL;
    q->last = &q->first;
    q->n = 0;
    pthread_mutex_unlock(&q->lock);
    return first;
}

size_t queue_wait(struct queue *q, size_t n, int timeout_ms)
{
    pthread_mutex_lock(&q->lock);
    wait_for(q, n, timeout_ms);
    size_t waiting = q->n;
    pthread_mutex_unlock(&q->lock);
    return waiting;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

bool queue_is_closed(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    bool closed = q->closed;
    pthread_mutex_unlock(&q->lock);
    return closed;
}

void queue_pause(struct queue *q, int timeout_ms)
{
    struct timespec deadline = deadline_in(timeout_ms);
    pthread_mutex_lock(&q->lock);
    int r = 0;
    while (!q->closed && r == 0)
        r = pthread_cond_timedwait(&q->changed, &q->lock, &deadline);
    pthread_mutex_unlock(&q->lock);
}
