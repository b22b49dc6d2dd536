// The events to come, in order of time; those of one time in the order in which they were made.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/util.h"

struct event {
    int64_t at; // ms
    uint64_t order;
    int kind;
    uint32_t who;   // sensor or collector
    uint32_t epoch; // of its life, connection or timer: events of an earlier one mean nothing
    void *data;
};

struct heap {
    struct event *events;
    size_t n, room;
    uint64_t made;
};

int heap_push(struct heap *h, struct event event);
// The earliest. The heap must not be empty.
struct event heap_pop(struct heap *h);
