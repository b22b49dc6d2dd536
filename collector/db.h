// A connection to PostgreSQL whose every call ends by a deadline.
//
// libpq in non-blocking mode: a server that hangs (stopped, cut off, out of disk) costs a caller at
// most the deadline, after which the connection is closed and every further call returns -EPIPE.
// One connection belongs to one thread.
//
// Return values: 0; DB_REFUSED: the server answered with an error (db_sqlstate tells which), the
// connection lives; -EPIPE, -ETIMEDOUT: the connection is gone; -ENOMEM.
#pragma once

#include <libpq-fe.h>

#include "common/pulse.h"
#include "common/util.h"

#define DB_REFUSED           1
#define DB_PARAMETERS_MAX    24
#define DB_TIMEOUT_MS        60000 // one statement, or one stretch of COPY
#define DB_CONNECT_TIMEOUT_S 10
#define DB_OPEN_MS           (DB_CONNECT_TIMEOUT_S * 1000 + DB_TIMEOUT_MS) // at most, of db_open

struct db;

// conninfo NULL or empty: the PG* environment. Takes on `role` where the login may (NULL: stays
// what it is).
int db_open(const char *conninfo, const char *role, struct db **ret, struct errmsg *e);
void db_free(struct db *db);
DEFINE_CLEANUP(struct db *, db_free)

void db_set_timeout(struct db *db, int timeout_ms);
// Beaten while a call waits for the server, which its deadline ends: that is no stall. NULL: none.
void db_set_pulse(struct db *db, struct pulse *pulse);
// Of the last DB_REFUSED; "" if none.
const char *db_sqlstate(const struct db *db);
// Whether it was the data's fault, by its class: another try ends the same.
bool db_is_data_error(const struct db *db);
bool db_is_open(const struct db *db);
int db_server_version(const struct db *db);

// What another thread can end the running statement with (PQcancel); NULL if the connection is
// gone. The caller PQfreeCancel()s it.
PGcancel *db_cancel_new(const struct db *db);

static inline void db_result_free(PGresult *result)
{
    PQclear(result);
}
DEFINE_CLEANUP(PGresult *, db_result_free)

// One statement, parameters as text (NULL: null). ret may be NULL; the caller PQclear()s *ret.
int db_query(struct db *db, const char *sql, int n, const char *const *values, PGresult **ret,
             struct errmsg *e);
// The same with a length per value: values[i] is binary where lengths[i] >= 0, text where it is -1.
int db_query_mixed(struct db *db, const char *sql, int n, const char *const *values,
                   const int *lengths, PGresult **ret, struct errmsg *e);
// One number, of the first row's first column; 0 where it is null or there is no row.
int db_query_number(struct db *db, const char *sql, int n, const char *const *values, int64_t *ret,
                    struct errmsg *e);
int db_exec(struct db *db, const char *sql, struct errmsg *e);

// A statement that is parsed once a connection. Names are unique in the program; static storage.
struct db_statement {
    const char *name;
    const char *sql;
    bool binary; // its result, too
};
#define DB_STATEMENTS_MAX 16
int db_execute(struct db *db, const struct db_statement *statement, int n,
               const char *const *values, const int *lengths, PGresult **ret, struct errmsg *e);

// COPY ... FROM STDIN: begin with the statement, put any number of times, end. After a failed put
// end must not be called; after DB_REFUSED from end the transaction is broken, as after a query.
int db_copy_begin(struct db *db, const char *sql, struct errmsg *e);
int db_copy_put(struct db *db, const char *data, size_t size, struct errmsg *e);
int db_copy_end(struct db *db, struct errmsg *e);

// Waits until a notification comes or timeout_ms pass: 1 if one came, 0 if not.
int db_wait_notify(struct db *db, int timeout_ms, struct errmsg *e);
