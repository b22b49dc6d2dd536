#include "sensor/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t room;
    int fd;
    size_t max_bytes;
    size_t max_items;
    struct queue_item *items; // a ring
    size_t first;
    size_t n;
    size_t bytes;
    size_t bytes_max;
    bool closed;
    bool stopped;
};

void queue_item_clear(struct queue_item *item)
{
    free(item->payload);
    free(item->records);
    *item = (struct queue_item){0};
}

int queue_new(size_t max_bytes, size_t max_items, struct queue **ret)
{
    _cleanup_(queue_freep) struct queue *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    q->max_bytes = max_bytes;
    q->max_items = max_items;
    pthread_mutex_init(&q->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&q->room, &attributes);
    pthread_condattr_destroy(&attributes);
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->items = calloc(max_items, sizeof *q->items);
    if (!q->items)
        return -ENOMEM;
    if (q->fd < 0)
        return -errno;
    *ret = q;
    q = NULL;
    return 0;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->n; i++)
        queue_item_clear(&q->items[(q->first + i) % q->max_items]);
    free(q->items);
    if (q->fd >= 0)
        close(q->fd);
    pthread_cond_destroy(&q->room);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

static size_t item_bytes(const struct queue_item *item)
{
    return item->size + item->records_size;
}

static bool has_room(const struct queue *q, const struct queue_item *item)
{
    return q->n == 0 || (q->n < q->max_items && q->bytes + item_bytes(item) <= q->max_bytes);
}

static void wake(struct queue *q)
{
    uint64_t one = 1;
    ssize_t written = write(q->fd, &one, sizeof one);
    (void)written; // full: it is readable already
}

static struct timespec deadline_in(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

int queue_push(struct queue *q, struct queue_item *item, int wait_ms)
{
    struct timespec deadline = deadline_in(wait_ms);
    int r = 0;
    pthread_mutex_lock(&q->mutex);
    while (!q->stopped && !has_room(q, item) && r == 0)
        r = wait_ms > 0 ? pthread_cond_timedwait(&q->room, &q->mutex, &deadline) : ETIMEDOUT;
    if (q->stopped) {
        r = QUEUE_STOPPED;
    } else if (!has_room(q, item)) {
        r = QUEUE_FULL;
    } else {
        q->items[(q->first + q->n++) % q->max_items] = *item;
        q->bytes += item_bytes(item);
        q->bytes_max = MAX(q->bytes_max, q->bytes);
        *item = (struct queue_item){0};
        wake(q);
        r = 0;
    }
    pthread_mutex_unlock(&q->mutex);
    return r;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    wake(q);
    pthread_mutex_unlock(&q->mutex);
}

size_t queue_front(struct queue *q, struct spool_item *ret, size_t n, size_t max_bytes)
{
    pthread_mutex_lock(&q->mutex);
    size_t got = 0;
    size_t bytes = 0;
    for (; got < MIN(n, q->n); got++) {
        const struct queue_item *item = &q->items[(q->first + got) % q->max_items];
        bytes += item_bytes(item);
        if (got > 0 && bytes > max_bytes)
            break;
        ret[got] = (struct spool_item){
            .header = item->header,
            .payload = item->payload,
            .size = item->size,
            .records = item->records,
            .records_size = item->records_size,
            .unknown = item->unknown,
            .whole_ms = item->whole_ms,
            .reason = item->reason,
        };
    }
    pthread_mutex_unlock(&q->mutex);
    return got;
}

void queue_drop(struct queue *q, size_t n)
{
    pthread_mutex_lock(&q->mutex);
    for (size_t i = 0; i < n && q->n > 0; i++) {
        struct queue_item *item = &q->items[q->first];
        q->bytes -= item_bytes(item);
        queue_item_clear(item);
        q->first = (q->first + 1) % q->max_items;
        q->n--;
    }
    if (q->n == 0)
        q->first = 0; // so that one that is mostly empty never touches most of its pages
    pthread_cond_signal(&q->room);
    pthread_mutex_unlock(&q->mutex);
}

void queue_stop(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->stopped = true;
    pthread_cond_signal(&q->room);
    pthread_mutex_unlock(&q->mutex);
}

int queue_fd(const struct queue *q)
{
    return q->fd;
}

void queue_fd_clear(struct queue *q)
{
    uint64_t count;
    ssize_t got = read(q->fd, &count, sizeof count);
    (void)got; // nothing there: fine
}

void queue_state(struct queue *q, struct queue_state *ret)
{
    pthread_mutex_lock(&q->mutex);
    *ret = (struct queue_state){
        .items = q->n, .bytes = q->bytes, .bytes_max = q->bytes_max, .closed = q->closed};
    pthread_mutex_unlock(&q->mutex);
}
