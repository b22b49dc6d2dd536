// Packets whose time, source and TTL are decided before generation: the hosting company's, the
// controls' and those of planted surges.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct planned {
    uint64_t time_us;
    uint32_t src;
    uint16_t port;
    uint8_t proto;
    uint8_t ttl;
    uint16_t host; // index of the hosting company's source, or HOST_CONTROL, HOST_SURGE
};

struct planned_list {
    struct planned *items;
    size_t count;
    size_t allocated;
};

// 0 or -ENOMEM.
int planned_add(struct planned_list *list, const struct planned *item);

// By time, then by the rest: the order does not depend on how the list was filled.
void planned_sort(struct planned_list *list);

// Index of the first item not before this time, in a sorted list.
size_t planned_find(const struct planned_list *list, uint64_t time_us);

size_t planned_count_port(const struct planned_list *list, uint8_t proto, uint16_t port);

void planned_release(struct planned_list *list);
