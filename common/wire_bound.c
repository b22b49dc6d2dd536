#include "common/wire_bound.h"

#include <errno.h>

static void *bounded_alloc(void *data, size_t size)
{
    struct wire_bound *bound = data;
    if (size > bound->left)
        return NULL;
    bound->left -= size;
    void *memory = malloc(size);
    bound->no_memory |= !memory;
    return memory;
}

static void bounded_free(void *data, void *p)
{
    (void)data;
    free(p);
}

ProtobufCMessage *wire_bound_unpack(struct wire_bound *bound,
                                    const ProtobufCMessageDescriptor *descriptor, const uint8_t *p,
                                    size_t size, size_t limit)
{
    *bound = (struct wire_bound){
        .allocator = {.alloc = bounded_alloc, .free = bounded_free, .allocator_data = bound},
        .left = limit,
    };
    return protobuf_c_message_unpack(descriptor, &bound->allocator, size, p);
}

int wire_bound_failed(const struct wire_bound *bound, const char *what, struct errmsg *e)
{
    return bound->no_memory ? errmsg_set(e, -ENOMEM, "out of memory")
                            : errmsg_set(e, WIRE_REFUSED, "%s", what);
}

void wire_bound_free(struct wire_bound *bound, ProtobufCMessage *m)
{
    protobuf_c_message_free_unpacked(m, &bound->allocator);
}
