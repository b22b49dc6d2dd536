// Lines of an import that were not taken: the first of them are shown, all are counted.
#pragma once

#include "common/util.h"

#define REFUSALS_SHOWN 20

struct refusals {
    const char *file;
    size_t n;
};

// Prints "FILE, line N: text" to stderr while there are few.
void refusals_add(struct refusals *r, size_t line, const struct errmsg *e);
// Says how many more there were.
void refusals_end(const struct refusals *r);
