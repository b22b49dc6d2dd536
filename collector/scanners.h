// Lists of known research scanners: plain ones, a prefix or an address a line, or CSV with the
// heading prefix,name.
#pragma once

#include <stdio.h>

#include "collector/prefixes.h"
#include "collector/refusals.h"

#define SCANNER_NAME_SIZE 64
#define SCANNER_NAMES_MAX 65535

// Prefixes whose label is a place in `names`.
struct scanner_list {
    struct prefix_list prefixes;
    char (*names)[SCANNER_NAME_SIZE];
    size_t n_names, size;
};
void scanner_list_release(struct scanner_list *list);

// Adds a file's. name: of all addresses of a plain list; NULL: it must be CSV. 0; -EINVAL with *e;
// -EIO; -ENOMEM; -E2BIG.
int scanners_read(FILE *f, const char *name, struct refusals *refusals, struct scanner_list *list,
                  struct errmsg *e);

// What a list of this file name is a list of: "lists/censys_v4.txt" is one of "censys". NULL and
// -EINVAL where nothing is left.
int scanners_name(const char *path, char ret[static SCANNER_NAME_SIZE]);
