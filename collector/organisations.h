// The CSV of organisations (RFC 4180): name,prefixes,contacts,tlp with a heading, prefixes
// separated by semicolons.
#pragma once

#include <stdio.h>

#include "collector/refusals.h"

#define ORGANISATION_PREFIXES_MAX 100000

struct organisation {
    char *name, *prefixes, *contacts, *tlp; // tlp "AMBER" where empty; prefixes as "{a,b}", checked
    size_t n_prefixes;
};

struct organisations {
    size_t n;
    struct organisation *list;
};

// Takes what is good, reports the rest line by line. 0; -EINVAL with *e: no such CSV at all; -EIO;
// -ENOMEM. Release on success.
int organisations_read(FILE *f, struct refusals *refusals, struct organisations *ret,
                       struct errmsg *e);
void organisations_release(struct organisations *o);
