// Release at the end of scope, as in the rest of the project.
#pragma once

#include <stdio.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

// For files that were read or whose errors were already reported; writers check fclose()
// themselves.
static inline void fclosep(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}
