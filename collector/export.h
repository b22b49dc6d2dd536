// A case file for a notice to an organisation: what the database says of it
// (collector/sql/analysis/60_export.sql), row by row into files, then a manifest of them and the
// operator's signature.
#pragma once

#include "collector/case_dir.h"
#include "collector/db.h"
#include "collector/interrupt.h"
#include "collector/operator_key.h"
#include "collector/progress.h"
#include "collector/pseudonym.h"

enum export_format { EXPORT_HTML = 1, EXPORT_CSV = 2, EXPORT_XARF = 4 };

struct export
{
    const char *organisation, *period, *out;
    int formats;                       // of enum export_format
    struct progress progress;          // begun by the caller
    const struct interrupt *interrupt; // made by the caller

    // results
    PGresult *head; // one row: see export_begin
    PGresult *notice;
    char *json; // head with the operator's fingerprint
    char reference[32];
    struct case_dir *dir;
};

// The columns of head.
enum export_column {
    EXPORT_HEAD,         // JSON
    EXPORT_ORGANISATION, // its name, fit for a terminal
    EXPORT_TLP,
    EXPORT_TODAY,    // the day in the reporting time zone
    EXPORT_NO_XARF,  // why there can be none; null: there can
    EXPORT_HOSTS,    // how many
    EXPORT_CONTACTS, // of the organisation, fit for a terminal
};

// Opens the snapshot that all files are of, and the directory. *e says why there can be no case: no
// such organisation, a period to come, nothing seen.
int export_begin(struct db *db, struct export *x, struct errmsg *e);
// Writes all of it and puts the directory in its place.
int export_write(struct db *db, struct export *x, const struct operator_key *operator_key,
                 const struct pseudonym_key *key, struct errmsg *e);
const char *export_value(const struct export *x, enum export_column column);
void export_release(struct export *x);
