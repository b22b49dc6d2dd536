// Small things every file may use. Header only.
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

// Releases at the end of the scope: _cleanup_(freep) char *s = ...; assigning NULL (or -1) shows a
// move.
#define _cleanup_(f) __attribute__((cleanup(f)))

#define DEFINE_CLEANUP(type, free_function)                                                        \
    static inline void free_function##p(type *p)                                                   \
    {                                                                                              \
        if (*p)                                                                                    \
            free_function(*p);                                                                     \
    }

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void fclosep(FILE **f)
{
    if (*f)
        fclose(*f);
}

// A message for the person who must act: one line, no newline at its end. Functions that take one
// fill it exactly when they fail; the caller prints it or adds to it. NULL is allowed everywhere:
// the text is dropped.
struct errmsg {
    char text[512];
};

// Fills *e like printf and returns r, so that a failing path reads `return errmsg_set(e, -EINVAL,
// "...")`.
__attribute__((format(printf, 3, 4))) int errmsg_set(struct errmsg *e, int r, const char *format,
                                                     ...);
// Puts "prefix: " before what *e says, cutting at the end if it must.
__attribute__((format(printf, 2, 3))) void errmsg_prefix(struct errmsg *e, const char *format, ...);
