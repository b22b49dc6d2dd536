// The files of a report: what the database made of each figure, gathered, then written into a
// directory of their own and put in their place when all are there. A directory that is there
// already stays the one it is (its owner, rights and label, whoever serves or mounts it), and so
// does everything in it that is not of a report.
#pragma once

#include "collector/db.h"
#include "collector/part_dir.h"

struct report_figure {
    PGresult *made; // one row: JSON, CSV, number of rows
    char id[64];    // checked: fit for a file name
    int64_t ms;
};

struct report_site {
    const char *out; // directory, as it was asked for
    const char *lang;
    bool internal; // then no other user may read it
    PGresult *head;
    struct report_figure *figures;
    size_t n;
    size_t bytes; // written
};

void report_site_release(struct report_site *site);

// Whether the report can go there. -EINVAL where the directory holds a CSV file, a page or a
// report.json that is not of this report: it must neither be lost nor be published along with this
// one. Nothing is made.
int report_site_check(const struct report_site *site, struct errmsg *e);
// index.html, report.json, one CSV a figure: all, or none of them. 0; -errno.
int report_site_write(struct report_site *site, struct errmsg *e);
