// Unpacking protobuf in bounded memory: a message that would take more than `limit` bytes of heap
// is refused like a damaged one.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/wire_internal.h"

struct wire_bound {
    ProtobufCAllocator allocator;
    size_t left;
    bool no_memory; // it was malloc that failed
};

// NULL: damaged, or too large, or no memory: wire_bound_failed tells. Free the message with
// wire_bound_free and the same bound.
ProtobufCMessage *wire_bound_unpack(struct wire_bound *bound,
                                    const ProtobufCMessageDescriptor *descriptor, const uint8_t *p,
                                    size_t size, size_t limit);
// What to return after NULL: WIRE_REFUSED with *e = what, or -ENOMEM.
int wire_bound_failed(const struct wire_bound *bound, const char *what, struct errmsg *e);
void wire_bound_free(struct wire_bound *bound, ProtobufCMessage *m);

// -E2BIG where buf is too small.
int wire_pack(const ProtobufCMessage *m, uint8_t *buf, size_t size, size_t *ret_size);
// Copies a text of at most WIRE_TEXT_MAX bytes, control characters replaced; WIRE_REFUSED names
// `what`.
int wire_text_copy(char ret[WIRE_TEXT_MAX + 1], const char *text, const char *what,
                   struct errmsg *e);
