#include "collector/array.h"

#include <endian.h>
#include <string.h>

#define HEAD 20 // dimensions, whether there are nulls, type; length and first index of the one

void array_begin(struct array *a, uint32_t type)
{
    a->type = type;
    a->used = HEAD;
    a->n = 0;
    a->nulls = a->bad = false;
}

static char *reserve(struct array *a, size_t more)
{
    if (a->bad)
        return NULL;
    if (a->used + more > a->size) {
        size_t size = MAX(a->size * 2, a->used + more + 1024);
        char *p = realloc(a->p, size);
        if (!p) {
            a->bad = true;
            return NULL;
        }
        a->p = p;
        a->size = size;
    }
    return a->p + a->used;
}

static void add(struct array *a, const void *value, uint32_t size)
{
    char *p = reserve(a, sizeof size + size);
    if (!p)
        return;
    uint32_t length = htobe32(size);
    memcpy(p, &length, sizeof length);
    memcpy(p + sizeof length, value, size);
    a->used += sizeof length + size;
    a->n++;
}

void array_int2(struct array *a, int16_t value)
{
    uint16_t v = htobe16((uint16_t)value);
    add(a, &v, sizeof v);
}

void array_int8(struct array *a, int64_t value)
{
    uint64_t v = htobe64((uint64_t)value);
    add(a, &v, sizeof v);
}

void array_uuid(struct array *a, const uint8_t value[16])
{
    add(a, value, 16);
}

void array_null(struct array *a)
{
    const uint32_t none = UINT32_MAX;
    char *p = reserve(a, sizeof none);
    if (!p)
        return;
    memcpy(p, &none, sizeof none);
    a->used += sizeof none;
    a->n++;
    a->nulls = true;
}

int array_end(struct array *arrays, size_t n, const char **ret_values, int *ret_lengths)
{
    for (size_t i = 0; i < n; i++) {
        struct array *a = &arrays[i];
        const uint32_t head[] = {htobe32(a->n > 0), htobe32(a->nulls), htobe32(a->type),
                                 htobe32(a->n), htobe32(1)};
        _Static_assert(sizeof head == HEAD, "as documented");
        if (a->bad || (a->n == 0 && !reserve(a, 0)))
            return -ENOMEM;
        memcpy(a->p, head, sizeof head);
        ret_values[i] = a->p;
        ret_lengths[i] = a->n > 0 ? (int)a->used : HEAD - 8; // an empty one has no dimension
    }
    return 0;
}

void array_release(struct array *arrays, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(arrays[i].p);
        arrays[i] = (struct array){0};
    }
}
