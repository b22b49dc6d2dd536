// Lines of foreign files, into a buffer of fixed size.
#pragma once

#include <stdio.h>

#include "common/util.h"

struct line {
    size_t n;          // bytes, without the end
    const char *wrong; // why it cannot be taken ("too long", "a NUL byte"), or NULL
    bool ended;        // false only for a last line without its end
};

// The next line, without its end, NUL-terminated, into text[size]; of one that is too long the
// beginning. false: there is none, *ret stays.
bool line_read(FILE *f, char *text, size_t size, struct line *ret);
