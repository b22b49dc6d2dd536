// Partners in the database: a login, a schema and the conditions under which it is filled.
#pragma once

#include "collector/db.h"
#include "collector/pseudonym.h"

#define PARTNER_NAME_MAX 40

struct partner {
    const char *name;
    const char *sensors; // names separated by commas, "" for none; NULL: as it is
    int64_t min_sensors, delay_ms, ports;
    const char *bucket, *since; // NULL: as it is
    const char *key_path;
    bool make_key;

    // results
    char login[PARTNER_NAME_MAX + 16];
    bool made_key;
    int closed; // statements that closed PostgreSQL's statistics
};

int partner_check_name(const char *name, struct errmsg *e);
// -ENOENT with *e: there is none of that name.
int partner_require(struct db *db, const char *name, struct errmsg *e);

// The whole of a command, inside the open transaction, as hirundo_owner.
int partner_add_all(struct db *db, struct partner *p, struct errmsg *e);
int partner_set_all(struct db *db, struct partner *p, struct errmsg *e);
int partner_drop_all(struct db *db, struct partner *p, struct errmsg *e);

// The key from which sensors get their names towards others, read, or made where none was ever used
// for partners; with make also where one was, since another key gives other names.
int partner_open_key(struct db *db, const char *path, bool make, struct pseudonym_key *ret,
                     bool *ret_made, struct errmsg *e);
