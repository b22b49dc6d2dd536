// Data sets of address ranges in the database, kept by date: one is written whole, in one
// transaction, in the place of an earlier one of the same day.
#pragma once

#include "collector/copy_row.h"
#include "collector/db.h"
#include "collector/prefixes.h"
#include "collector/progress.h"

struct dataset_kind {
    const char *sets, *ranges; // tables
    const char *columns;       // what copy writes
    const char *set_for;       // the function that says which set counts for a day
    int (*copy)(struct copy_buffer *b, int32_t set_id, const struct range *range,
                const void *context);
};

struct dataset {
    const char *as_of;  // YYYY-MM-DD
    const char *source; // file names
    size_t prefixes;
    const struct flattened *flat;
    const void *context; // of copy
    bool force;          // also where it has far fewer prefixes than the one before
    struct progress *progress;
};

struct dataset_report {
    char first[16], past[16]; // the set counts for the days between them; "": without an end
    int64_t days_marked;      // to be rolled up again with the new set
    int64_t sets_deleted;     // that no day needs any more
};

// 0; -EINVAL: refused, since it looks cut off; DB_REFUSED and the rest of db.h's.
int dataset_load(struct db *db, const struct dataset_kind *kind, const struct dataset *set,
                 struct dataset_report *ret, struct errmsg *e);

// Whether n are far fewer than the `before` there were: a file cut off, or the wrong one. Small
// sets are not compared.
bool dataset_shrunk(uint64_t before, uint64_t n);
