#include "tests/sim/heap.h"

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

int heap_push(struct heap *h, struct event event)
{
    if (h->n == h->room) {
        size_t room = h->room ? 2 * h->room : 256;
        struct event *events = realloc(h->events, room * sizeof *events);
        if (!events)
            return -ENOMEM;
        h->events = events;
        h->room = room;
    }
    event.order = h->made++;
    size_t i = h->n++;
    for (; i > 0 && before(&event, &h->events[(i - 1) / 2]); i = (i - 1) / 2)
        h->events[i] = h->events[(i - 1) / 2];
    h->events[i] = event;
    return 0;
}

struct event heap_pop(struct heap *h)
{
    struct event first = h->events[0];
    struct event last = h->events[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(&h->events[child + 1], &h->events[child]))
            child++;
        if (!before(&h->events[child], &last))
            break;
        h->events[i] = h->events[child];
        i = child;
    }
    if (h->n > 0)
        h->events[i] = last;
    return first;
}
