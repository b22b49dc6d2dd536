// CSV with a heading (RFC 4180, strict quotes; libcsv reads it): the caller names its columns and
// gets their values record by record. Columns it does not name are passed over.
#pragma once

#include "collector/lines.h"

#define CSV_TABLE_COLUMNS_MAX 8
#define CSV_TABLE_LINE_MAX    (4 * 1024 * 1024) // also of a record over several lines
#define CSV_TABLE_FIELD_LINES 1000              // that a quoted field may go over

// values[i]: of column i; NULL where the record has none. The callback may take one over by setting
// it to NULL; else it is freed. 0, or < 0: reading stops with that result.
typedef int (*csv_table_record_fn)(void *context, size_t line, char **values);

struct csv_table_format {
    const char *const *columns;
    size_t n_columns;
    size_t n_needed;     // the first so many must be in the heading
    const char *heading; // as people write it, for the error
};

struct csv_table;
int csv_table_new(const struct csv_table_format *format, csv_table_record_fn record, void *context,
                  struct csv_table **ret);
void csv_table_free(struct csv_table *t);
DEFINE_CLEANUP(struct csv_table *, csv_table_free)

// One line, as line_read gives it. 0; -EINVAL with *e: not such CSV; what the callback returned;
// -ENOMEM.
int csv_table_line(struct csv_table *t, const char *text, const struct line *line,
                   struct errmsg *e);
// A line before the heading that is none of the CSV's: counted, so that the others keep their
// numbers.
void csv_table_skip(struct csv_table *t);
// After the last. -EINVAL also where nothing was in it.
int csv_table_end(struct csv_table *t, struct errmsg *e);
// All lines of a file; -EIO.
int csv_table_file(struct csv_table *t, FILE *f, struct errmsg *e);
