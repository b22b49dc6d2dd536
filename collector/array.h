// Array parameters of SQL in PostgreSQL's binary format (array_recv). The first failed allocation
// sets `bad`; later calls are harmless and the caller looks once at the end.
#pragma once

#include "common/util.h"

// Type oids of elements (catalog/pg_type.dat), fixed for ever.
#define ARRAY_INT2 21
#define ARRAY_INT8 20
#define ARRAY_UUID 2950

struct array {
    char *p;
    size_t used, size;
    uint32_t type;
    uint32_t n;
    bool nulls;
    bool bad;
};

// Empties it; the memory stays.
void array_begin(struct array *a, uint32_t type);
void array_int2(struct array *a, int16_t value);
void array_int8(struct array *a, int64_t value);
void array_uuid(struct array *a, const uint8_t value[16]);
void array_null(struct array *a);
// Completes n of them for a query: values and lengths. 0 or -ENOMEM.
int array_end(struct array *arrays, size_t n, const char **ret_values, int *ret_lengths);
void array_release(struct array *arrays, size_t n);
