#include "planned.h"

#include <errno.h>
#include <stdlib.h>

int planned_add(struct planned_list *list, const struct planned *item)
{
    if (list->count == list->allocated) {
        size_t n = list->allocated == 0 ? 1024 : list->allocated * 2;
        struct planned *items = reallocarray(list->items, n, sizeof(*items));
        if (items == NULL) {
            return -ENOMEM;
        }
        list->items = items;
        list->allocated = n;
    }
    list->items[list->count++] = *item;
    return 0;
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_planned(const void *pa, const void *pb)
{
    const struct planned *a = pa;
    const struct planned *b = pb;
    int c = compare(a->time_us, b->time_us);

    if (c == 0) {
        c = compare(a->src, b->src);
    }
    if (c == 0) {
        c = compare(a->port, b->port);
    }
    return c;
}

void planned_sort(struct planned_list *list)
{
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof(*list->items), compare_planned);
    }
}

size_t planned_find(const struct planned_list *list, uint64_t time_us)
{
    size_t low = 0;
    size_t high = list->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (list->items[mid].time_us < time_us) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

size_t planned_count_port(const struct planned_list *list, uint8_t proto, uint16_t port)
{
    size_t n = 0;

    for (size_t i = 0; i < list->count; i++) {
        n += list->items[i].proto == proto && list->items[i].port == port;
    }
    return n;
}

void planned_release(struct planned_list *list)
{
    free(list->items);
    *list = (struct planned_list){0};
}
