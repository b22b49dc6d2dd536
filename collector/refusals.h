// Parts of an import that were not taken: the first of them are shown, all are counted, by kind.
#pragma once

#include "common/util.h"

#define REFUSALS_SHOWN 20
#define REFUSAL_KINDS  12

struct refusals {
    const char *file;
    size_t n;
    size_t lines; // of n, those with a line
    struct {
        const char *kind; // a static text: what was wrong with it, such as "country"
        size_t n;
    } kinds[REFUSAL_KINDS];
};

// Counts, and prints "FILE, line N: text" to stderr while there are few.
void refusals_add(struct refusals *r, size_t line, const char *kind, const struct errmsg *e);
// Counts n of a kind that have no line.
void refusals_count(struct refusals *r, const char *kind, size_t n);
// Says how many more there were.
void refusals_end(const struct refusals *r);
// "3 lines refused (2 country, 1 prefix)"; what: "lines".
void refusals_summary(const struct refusals *r, const char *what, char *text, size_t size);
