// The files of a report: what the database made of each figure, gathered, then written into one
// directory. Nothing is written before all is there, and each file is put in its place whole.
#pragma once

#include "collector/db.h"

struct report_figure {
    PGresult *made; // one row: JSON, CSV, number of rows
    char id[64];    // checked: fit for a file name
    int64_t ms;
};

struct report_site {
    const char *out; // directory
    const char *lang;
    bool internal; // then no other user may read it
    PGresult *head;
    struct report_figure *figures;
    size_t n;
    size_t bytes; // written
};

void report_site_release(struct report_site *site);

// The directory, made if it is not there. -EINVAL where it holds a CSV file that is not of this
// report: an older one, of another audience maybe, must not be published along with it.
int report_site_check(const struct report_site *site, struct errmsg *e);
// index.html, report.json, one CSV a figure. 0; -errno.
int report_site_write(struct report_site *site, struct errmsg *e);
