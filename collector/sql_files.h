// The SQL files that the program carries (made by embed_sql.py): schema/ in order, then analysis/.
#pragma once

#include <stddef.h>

struct sql_statement {
    int line; // of its first line in the file
    const char *text;
};

struct sql_file {
    const char *name;   // schema/0001_base.sql
    const char *sha256; // hex, of the file
    size_t n;
    const struct sql_statement *statements;
};

extern const struct sql_file sql_files[];
extern const size_t sql_files_n;
// distribute.sql, open_statistics.sql: behind the last of sql_files, not among them.
extern const struct sql_file *const sql_distribute;
extern const struct sql_file *const sql_open_statistics;
