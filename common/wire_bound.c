#include "common/wire_bound.h"

static void *bounded_alloc(void *data, size_t size)
{
    struct wire_bound *bound = data;
    if (size > bound->left)
        return NULL;
    bound->left -= size;
    return malloc(size);
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

void wire_bound_free(struct wire_bound *bound, ProtobufCMessage *m)
{
    protobuf_c_message_free_unpacked(m, &bound->allocator);
}
