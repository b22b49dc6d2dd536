// The CSV of public holidays (RFC 4180): country,day,name with a heading; lines before it that
// begin with # are comments.
#pragma once

#include <stdio.h>

#include "collector/refusals.h"

#define HOLIDAYS_MAX     100000
#define HOLIDAY_NAME_MAX 200

struct holiday {
    char country[3];
    int year, month, day;
    size_t given; // its place in the file
    char *name;
};

struct holidays {
    size_t n, size;
    struct holiday *list;
};

// Takes what is good, reports the rest line by line; of a country and day given twice the first
// counts. By country and day. 0; -EINVAL with *e: no such CSV at all; -E2BIG; -EIO; -ENOMEM.
// Release on success.
int holidays_read(FILE *f, struct refusals *refusals, struct holidays *ret, struct errmsg *e);
void holidays_release(struct holidays *h);
