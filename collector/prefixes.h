// Prefixes with origin AS and country, read from text and flattened into disjoint ranges.
#pragma once

#include "common/flow.h"
#include "common/util.h"

#define PREFIXES_MAX 20000000 // of one file

struct prefix {
    struct ip_addr address; // of the network, host bits zero
    uint8_t length;
    bool has_asn;
    char country[2]; // zeros: none
    uint32_t asn;
    uint32_t label; // the caller's; ranges keep it
    uint32_t line;
};

struct range {
    struct ip_addr lo, hi;
    bool has_asn;
    char country[2];
    uint32_t asn;
    uint32_t label;
};

// A growing list; at most PREFIXES_MAX.
struct prefix_list {
    struct prefix *p;
    size_t n, size;
};
int prefix_list_add(struct prefix_list *list, const struct prefix *p, struct errmsg *e);
void prefix_list_release(struct prefix_list *list);

// "192.0.2.0/24". 0, or -EINVAL with *e saying what is wrong.
int prefix_parse(const char *text, struct prefix *ret, struct errmsg *e);
// An AS number ("13335", "AS13335") and a country ("JP"), into *p; "" leaves it as it is. 0 or
// -EINVAL.
int prefix_parse_asn(const char *text, struct prefix *p, struct errmsg *e);
int prefix_parse_country(const char *text, struct prefix *p, struct errmsg *e);
// A line of TSV: prefix, AS (13335, AS13335 or empty), country (two letters or empty), no newline;
// the text is cut up. 0; PREFIX_SKIP: a comment, a heading or an empty line; -EINVAL, *ret_kind
// then says which part is wrong.
#define PREFIX_SKIP 1
int prefix_parse_line(char *line, struct prefix *ret, const char **ret_kind, struct errmsg *e);
// The same for lists of addresses: also "192.0.2.1" without a length.
int prefix_parse_address(const char *text, struct prefix *ret, struct errmsg *e);

// Sorts the prefixes, drops all but the last of equal ones, and writes disjoint ranges in ascending
// order: the most specific prefix wins, neighbours that say the same become one. *ret_ranges is
// malloc'ed, the caller's. 0 or -ENOMEM.
struct flattened {
    struct range *ranges;
    size_t n;
    size_t duplicates;
};
int prefixes_flatten(struct prefix *prefixes, size_t n, struct flattened *ret);
void flattened_release(struct flattened *f);

// Lays one set of ranges over another, both as prefixes_flatten gives them: AS and country (each by
// itself) are what `over` says, or where it does not what `under` says. 0 or -ENOMEM.
int ranges_overlay(const struct flattened *over, const struct flattened *under,
                   struct flattened *ret);
