#include "collector/db.h"

#include <poll.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

#define PULSE_MS INT64_C(250)

struct db {
    PGconn *conn; // NULL once it is gone
    int timeout_ms;
    struct pulse *pulse;
    char sqlstate[6];
    const struct db_statement *prepared[DB_STATEMENTS_MAX];
    size_t n_prepared;
};

// libpq's messages are several lines; people get the first with what matters of the rest.
static void one_line(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    char *to = text;
    for (const char *p = text; *p; p++) {
        char c = *p == '\n' || *p == '\t' ? ' ' : *p;
        if (c != ' ' || to == text || to[-1] != ' ')
            *to++ = c;
    }
    *to = '\0';
}

static int lose(struct db *db, int r, struct errmsg *e)
{
    char text[400] = "connection closed";
    if (r == -ETIMEDOUT)
        snprintf(text, sizeof text, "no answer within %d s", db->timeout_ms / 1000);
    else if (db->conn && *PQerrorMessage(db->conn))
        snprintf(text, sizeof text, "%s", PQerrorMessage(db->conn));
    one_line(text);
    PQfinish(db->conn);
    db->conn = NULL;
    return errmsg_set(e, r, "database: %s", text);
}

static int refuse(struct db *db, const PGresult *result, struct errmsg *e)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    char text[480];
    snprintf(text, sizeof text, "%s%s%s%s%s", primary ? primary : PQresultErrorMessage(result),
             detail ? "; " : "", detail ? detail : "", hint ? "; hint: " : "", hint ? hint : "");
    one_line(text);
    snprintf(db->sqlstate, sizeof db->sqlstate, "%s", state ? state : "");
    // Class 57P and a broken socket end the session: the connection is no use any more.
    if (PQstatus(db->conn) == CONNECTION_BAD) {
        PQfinish(db->conn);
        db->conn = NULL;
        return errmsg_set(e, -EPIPE, "database: %s", text);
    }
    return errmsg_set(e, DB_REFUSED, "%s", text);
}

static void on_notice(void *data, const PGresult *result)
{
    (void)data;
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    log_debug("database: %s", primary ? primary : "notice");
}

static int take_role(struct db *db, const char *role, struct errmsg *e)
{
    const char *values[] = {role};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select rolname from pg_catalog.pg_roles where rolname = $1 and "
                     "pg_catalog.pg_has_role(oid, 'member')",
                     1, values, &result, e);
    if (r != 0 || PQntuples(result) == 0)
        return r;
    char sql[128];
    snprintf(sql, sizeof sql, "set role %s", role);
    return db_exec(db, sql, e);
}

static int set_up(struct db *db, const char *role, struct errmsg *e)
{
    static const char *const settings[] = {
        "set client_min_messages = warning",
        "set timezone = 'UTC'",
        // whatever the database or the login has: on Citus times go to the nodes as text
        "set datestyle = 'ISO, MDY'",
        "set search_path = pg_catalog",
        "set bytea_output = hex",
        // sensor_status of a thousand sensors: 25 ms, or a second of compiling
        "set jit = off",
    };
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        int r = db_exec(db, settings[i], e);
        if (r != 0)
            return r;
    }
    return role ? take_role(db, role, e) : 0;
}

static int connect_to(const char *conninfo, PGconn **ret, struct errmsg *e)
{
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%d", DB_CONNECT_TIMEOUT_S);
    // What stands in conninfo comes later and wins.
    const char *keywords[] = {"connect_timeout", "tcp_user_timeout", "fallback_application_name",
                              "client_encoding", "dbname",           NULL};
    const char *values[] = {
        timeout, "10000", "hirundo-collector", "UTF8", conninfo && *conninfo ? conninfo : NULL,
        NULL};
    PGconn *conn = PQconnectdbParams(keywords, values, 1);
    if (!conn)
        return -ENOMEM;
    if (PQstatus(conn) != CONNECTION_OK || PQsetnonblocking(conn, 1) != 0) {
        char text[400];
        snprintf(text, sizeof text, "%s", PQerrorMessage(conn));
        one_line(text);
        PQfinish(conn);
        bool missing = strstr(text, "database \"") && strstr(text, "does not exist");
        return errmsg_set(e, -EPIPE, "database: %s%s", text,
                          missing
                              ? "; make it with createdb and hirundo-collector migrate, or name "
                                "another in [database] connection or PGDATABASE"
                              : "");
    }
    *ret = conn;
    return 0;
}

int db_open(const char *conninfo, const char *role, struct db **ret, struct errmsg *e)
{
    _cleanup_(db_freep) struct db *db = calloc(1, sizeof *db);
    if (!db)
        return -ENOMEM;
    db->timeout_ms = DB_TIMEOUT_MS;
    int r = connect_to(conninfo, &db->conn, e);
    if (r < 0)
        return r;
    PQsetNoticeReceiver(db->conn, on_notice, NULL);
    r = set_up(db, role, e);
    if (r != 0)
        return r < 0 ? r : -EPIPE;
    *ret = db;
    db = NULL;
    return 0;
}

void db_free(struct db *db)
{
    if (!db)
        return;
    PQfinish(db->conn);
    free(db);
}

void db_set_timeout(struct db *db, int timeout_ms)
{
    db->timeout_ms = timeout_ms;
}

void db_set_pulse(struct db *db, struct pulse *pulse)
{
    db->pulse = pulse;
}

const char *db_sqlstate(const struct db *db)
{
    return db->sqlstate;
}

bool db_is_data_error(const struct db *db)
{
    static const char *const classes[] = {"22", "23", "54"};
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
        if (strncmp(db->sqlstate, classes[i], 2) == 0)
            return true;
    return false;
}

bool db_is_open(const struct db *db)
{
    return db->conn != NULL;
}

int db_server_version(const struct db *db)
{
    return db->conn ? PQserverVersion(db->conn) : 0;
}

PGcancel *db_cancel_new(const struct db *db)
{
    return db->conn ? PQgetCancel(db->conn) : NULL;
}

// Waits for the socket; 0 or -ETIMEDOUT.
static int wait_socket(struct db *db, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - mono_ms();
        if (left <= 0)
            return -ETIMEDOUT;
        if (db->pulse)
            pulse_beat(db->pulse);
        struct pollfd fd = {.fd = PQsocket(db->conn), .events = events};
        int n = poll(&fd, 1, (int)MIN(left, PULSE_MS));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

static int flush_out(struct db *db, int64_t deadline, struct errmsg *e)
{
    int r;
    while ((r = PQflush(db->conn)) == 1) {
        r = wait_socket(db, POLLIN | POLLOUT, deadline);
        if (r < 0)
            return lose(db, r == -ETIMEDOUT ? r : -EPIPE, e);
        if (PQconsumeInput(db->conn) != 1)
            return lose(db, -EPIPE, e);
    }
    return r < 0 ? lose(db, -EPIPE, e) : 0;
}

// The next result, or NULL at the end of the command.
static int next_result(struct db *db, int64_t deadline, PGresult **ret, struct errmsg *e)
{
    while (PQisBusy(db->conn)) {
        int r = wait_socket(db, POLLIN, deadline);
        if (r < 0)
            return lose(db, r == -ETIMEDOUT ? r : -EPIPE, e);
        if (PQconsumeInput(db->conn) != 1)
            return lose(db, -EPIPE, e);
    }
    *ret = PQgetResult(db->conn);
    return 0;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY ||
           status == PGRES_COPY_IN;
}

// Takes all results of a command; the last good one goes to *ret, the first bad one decides.
static int finish(struct db *db, PGresult **ret, struct errmsg *e)
{
    int64_t deadline = mono_ms() + db->timeout_ms;
    _cleanup_(db_result_freep) PGresult *kept = NULL;
    int outcome = flush_out(db, deadline, e);
    if (outcome < 0)
        return outcome;
    for (;;) {
        _cleanup_(db_result_freep) PGresult *result = NULL;
        int r = next_result(db, deadline, &result, e);
        if (r < 0)
            return r;
        if (!result)
            break;
        if (!is_good(result)) {
            if (outcome == 0)
                outcome = refuse(db, result, e);
            if (outcome < 0)
                return outcome;
            continue;
        }
        PQclear(kept);
        kept = result;
        result = NULL;
        if (PQresultStatus(kept) == PGRES_COPY_IN)
            break; // the command goes on with data
    }
    if (outcome == 0 && ret) {
        *ret = kept;
        kept = NULL;
    }
    return outcome;
}

struct formats {
    int sizes[DB_PARAMETERS_MAX];
    int formats[DB_PARAMETERS_MAX];
};

// -EINVAL: too many.
static int formats_of(int n, const int *lengths, struct formats *ret)
{
    if (n > DB_PARAMETERS_MAX)
        return -EINVAL;
    for (int i = 0; i < n; i++) {
        ret->formats[i] = lengths && lengths[i] >= 0;
        ret->sizes[i] = ret->formats[i] ? lengths[i] : 0;
    }
    return 0;
}

int db_query_mixed(struct db *db, const char *sql, int n, const char *const *values,
                   const int *lengths, PGresult **ret, struct errmsg *e)
{
    struct formats f;
    if (!db->conn)
        return errmsg_set(e, -EPIPE, "database: not connected");
    if (formats_of(n, lengths, &f) < 0)
        return errmsg_set(e, -EINVAL, "too many parameters");
    if (PQsendQueryParams(db->conn, sql, n, NULL, values, f.sizes, f.formats, 0) != 1)
        return lose(db, -EPIPE, e);
    return finish(db, ret, e);
}

static int prepare(struct db *db, const struct db_statement *statement, struct errmsg *e)
{
    for (size_t i = 0; i < db->n_prepared; i++)
        if (db->prepared[i] == statement)
            return 0;
    if (db->n_prepared == DB_STATEMENTS_MAX)
        return errmsg_set(e, -EINVAL, "too many statements");
    if (PQsendPrepare(db->conn, statement->name, statement->sql, 0, NULL) != 1)
        return lose(db, -EPIPE, e);
    int r = finish(db, NULL, e);
    if (r == 0)
        db->prepared[db->n_prepared++] = statement;
    return r;
}

int db_execute(struct db *db, const struct db_statement *statement, int n,
               const char *const *values, const int *lengths, PGresult **ret, struct errmsg *e)
{
    struct formats f;
    if (!db->conn)
        return errmsg_set(e, -EPIPE, "database: not connected");
    if (formats_of(n, lengths, &f) < 0)
        return errmsg_set(e, -EINVAL, "too many parameters");
    int r = prepare(db, statement, e);
    if (r != 0)
        return r;
    if (PQsendQueryPrepared(db->conn, statement->name, n, values, f.sizes, f.formats,
                            statement->binary) != 1)
        return lose(db, -EPIPE, e);
    return finish(db, ret, e);
}

int db_query(struct db *db, const char *sql, int n, const char *const *values, PGresult **ret,
             struct errmsg *e)
{
    return db_query_mixed(db, sql, n, values, NULL, ret, e);
}

int db_query_number(struct db *db, const char *sql, int n, const char *const *values, int64_t *ret,
                    struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, sql, n, values, &result, e);
    if (r == 0)
        *ret = PQntuples(result) > 0 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    return r;
}

int db_exec(struct db *db, const char *sql, struct errmsg *e)
{
    return db_query(db, sql, 0, NULL, NULL, e);
}

int db_copy_begin(struct db *db, const char *sql, struct errmsg *e)
{
    return db_exec(db, sql, e);
}

int db_copy_put(struct db *db, const char *data, size_t size, struct errmsg *e)
{
    enum { PIECE = 256 * 1024 };
    if (!db->conn)
        return errmsg_set(e, -EPIPE, "database: not connected");
    while (size > 0) {
        size_t piece = MIN(size, (size_t)PIECE);
        int r = PQputCopyData(db->conn, data, (int)piece);
        if (r < 0)
            return lose(db, -EPIPE, e);
        if (r == 1) {
            data += piece;
            size -= piece;
        }
        r = flush_out(db, mono_ms() + db->timeout_ms, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int db_copy_end(struct db *db, struct errmsg *e)
{
    if (!db->conn)
        return errmsg_set(e, -EPIPE, "database: not connected");
    int64_t deadline = mono_ms() + db->timeout_ms;
    int r;
    while ((r = PQputCopyEnd(db->conn, NULL)) == 0) {
        r = flush_out(db, deadline, e);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return lose(db, -EPIPE, e);
    return finish(db, NULL, e);
}

int db_wait_notify(struct db *db, int timeout_ms, struct errmsg *e)
{
    if (!db->conn)
        return errmsg_set(e, -EPIPE, "database: not connected");
    int r = wait_socket(db, POLLIN, mono_ms() + timeout_ms);
    if (r == -ETIMEDOUT)
        return 0;
    if (r < 0 || PQconsumeInput(db->conn) != 1)
        return lose(db, -EPIPE, e);
    int came = 0;
    PGnotify *notify;
    while ((notify = PQnotifies(db->conn))) {
        PQfreemem(notify);
        came = 1;
    }
    return came;
}
