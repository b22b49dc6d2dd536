// Brings a database to the schema this program carries, in one transaction under an advisory lock.
#pragma once

#include "collector/db.h"

#define MIGRATE_LOCK "7453010375"

struct migrate_report {
    size_t schema_files; // applied now
    size_t analysis_files;
    size_t statements;
};

// Files of schema/ are applied once each and must not change afterwards; files of analysis/ are all
// applied again when one of them, or the schema, changed. 0; -EINVAL with *e naming file, line and
// statement; -EPIPE.
int migrate(struct db *db, struct migrate_report *ret, struct errmsg *e);

// Spreads a migrated database over the nodes of Citus (distribute.sql), and once more what a later
// version added. 0; -EINVAL with *e, as where the extension or its workers are missing; -EPIPE.
int migrate_distribute(struct db *db, struct errmsg *e);

// 0 when the database is at exactly this program's schema; else -EINVAL with *e saying what to do.
int migrate_check(struct db *db, struct errmsg *e);
// Name of the newest schema file applied, "" if none; at most `size` bytes.
int migrate_version(struct db *db, char *text, size_t size, struct errmsg *e);
