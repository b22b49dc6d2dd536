// The queue between capture and uplink: bounds, order, waiting, and two threads on it.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <poll.h>

#include "sensor/queue.h"

static struct queue_item item_of(uint64_t number, size_t size)
{
    struct queue_item item = {.header = {.frames = number}, .size = size, .records_size = 1};
    item.payload = calloc(1, size + 1);
    item.records = calloc(1, 1);
    assert_non_null(item.payload);
    assert_non_null(item.records);
    return item;
}

static int push(struct queue *q, uint64_t number, size_t size, int wait_ms)
{
    struct queue_item item = item_of(number, size);
    int r = queue_push(q, &item, wait_ms);
    if (r == 0)
        assert_null(item.payload);
    queue_item_clear(&item);
    return r;
}

static void test_bounds(void **state)
{
    (void)state;
    _cleanup_(queue_freep) struct queue *q = NULL;
    assert_int_equal(queue_new(1000, 3, &q), 0);
    assert_int_equal(push(q, 1, 5000, 0), 0); // larger than the queue, but it was empty
    assert_int_equal(push(q, 2, 1, 0), QUEUE_FULL);
    queue_drop(q, 1);
    assert_int_equal(push(q, 3, 100, 0), 0);
    assert_int_equal(push(q, 4, 100, 0), 0);
    assert_int_equal(push(q, 5, 900, 10), QUEUE_FULL); // bytes
    assert_int_equal(push(q, 6, 100, 0), 0);
    assert_int_equal(push(q, 7, 1, 0), QUEUE_FULL); // items
    struct spool_item items[8];
    assert_int_equal(queue_front(q, items, 8, 10000), 3);
    assert_int_equal(items[0].header.frames, 3);
    assert_int_equal(items[2].header.frames, 6);
    assert_int_equal(queue_front(q, items, 2, 10000), 2);
    assert_int_equal(queue_front(q, items, 8, 1), 1); // one at least
    assert_int_equal(queue_front(q, items, 8, 202), 2);
    queue_drop(q, 99);
    assert_int_equal(queue_front(q, items, 8, 10000), 0);
    struct queue_state s;
    queue_state(q, &s);
    assert_int_equal(s.items, 0);
    assert_int_equal(s.bytes, 0);
    assert_int_equal(s.bytes_max, 5001);
    assert_false(s.closed);
}

static void test_wakes_and_stops(void **state)
{
    (void)state;
    _cleanup_(queue_freep) struct queue *q = NULL;
    assert_int_equal(queue_new(1000, 3, &q), 0);
    struct pollfd fd = {.fd = queue_fd(q), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_int_equal(push(q, 1, 1, 0), 0);
    assert_int_equal(poll(&fd, 1, 0), 1);
    queue_fd_clear(q);
    assert_int_equal(poll(&fd, 1, 0), 0);
    queue_close(q);
    assert_int_equal(poll(&fd, 1, 0), 1);
    queue_stop(q);
    assert_int_equal(push(q, 2, 1, 1000), QUEUE_STOPPED);
}

#define MANY 20000

static void *producer(void *arg)
{
    struct queue *q = arg;
    for (uint64_t i = 1; i <= MANY; i++) {
        struct queue_item item = {.header = {.frames = i}, .size = i % 97};
        item.payload = malloc(item.size + 1);
        int r = item.payload ? QUEUE_FULL : -ENOMEM;
        while (r == QUEUE_FULL)
            r = queue_push(q, &item, 100);
        queue_item_clear(&item);
        if (r != 0)
            break;
    }
    queue_close(q);
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    _cleanup_(queue_freep) struct queue *q = NULL;
    assert_int_equal(queue_new(500, 16, &q), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, producer, q), 0);
    uint64_t expected = 1;
    struct queue_state s;
    do {
        struct pollfd fd = {.fd = queue_fd(q), .events = POLLIN};
        assert_true(poll(&fd, 1, 5000) > 0);
        queue_fd_clear(q);
        struct spool_item items[4];
        size_t n;
        while ((n = queue_front(q, items, 4, 1000)) > 0) {
            for (size_t i = 0; i < n; i++)
                assert_int_equal(items[i].header.frames, expected++);
            queue_drop(q, n);
        }
        queue_state(q, &s);
    } while (!s.closed || s.items > 0);
    pthread_join(thread, NULL);
    assert_int_equal(expected, MANY + 1);
    assert_true(s.bytes_max <= 500);
}

static long resident_pages(void)
{
    long size = 0, resident = 0;
    _cleanup_(fclosep) FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    return resident;
}

// One after the other, for ever: a queue of a hundred thousand items takes the memory of one.
static void test_mostly_empty(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    skip(); // they note each access, in memory of their own
#endif
    _cleanup_(queue_freep) struct queue *q = NULL;
    assert_int_equal(queue_new(1000, 100000, &q), 0);
    long before = resident_pages();
    for (int i = 0; i < 100000; i++) {
        struct queue_item item = {.size = 1};
        assert_int_equal(queue_push(q, &item, 0), 0);
        queue_drop(q, 1);
    }
    assert_true(resident_pages() < before + 100); // 4,000 and more, if each place was used
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_mostly_empty),
        cmocka_unit_test(test_wakes_and_stops),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
