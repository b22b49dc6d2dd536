// Names of autonomous systems: TSV of AS and name, or what an ASN database of MaxMind has.
#pragma once

#include "common/util.h"

#define AS_NAMES_MAX     4000000
#define AS_NAME_MAX_SIZE 256 // with its end; longer ones are cut

struct as_name {
    uint32_t asn;
    uint32_t line;
    char *name;
};

struct as_names {
    struct as_name *list;
    size_t n, size;
};

// Copies the name. 0, -ENOMEM, -E2BIG.
int as_names_add(struct as_names *names, uint32_t asn, const char *name, struct errmsg *e);
// By AS, of equal ones the last that was added.
void as_names_sort(struct as_names *names);
void as_names_release(struct as_names *names);

// A line "13335<TAB>CLOUDFLARENET" (AS13335 too), no newline; the text is cut up. 0;
// PREFIX_SKIP: a comment, a heading or an empty line; -EINVAL, *ret_kind then says which part.
int as_names_parse_line(char *line, uint32_t *ret_asn, const char **ret_name, const char **ret_kind,
                        struct errmsg *e);

// Whether a name can stand in the database: UTF-8, no control characters, not empty. 0 or -EINVAL.
int name_check(const char *name, struct errmsg *e);
// Whether a text can: UTF-8.
int text_check(const char *text, struct errmsg *e);
