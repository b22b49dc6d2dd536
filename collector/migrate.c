#include "collector/migrate.h"

#include <string.h>

#include "collector/sql_files.h"
#include "common/log.h"

// This file makes roles: it runs as the role that logged in, each time.
#define ROLES_FILE "schema/0000_roles.sql"

static bool is_schema(const char *name)
{
    return strncmp(name, "schema/", strlen("schema/")) == 0;
}

static int forward(int r)
{
    return r > 0 ? -EINVAL : r;
}

static int apply_file(struct db *db, const struct sql_file *file, struct migrate_report *report,
                      struct errmsg *e)
{
    for (size_t i = 0; i < file->n; i++) {
        const struct sql_statement *s = &file->statements[i];
        int r = db_exec(db, s->text, e);
        if (r != 0) {
            errmsg_prefix(e, "%s, line %d: \"%.*s\"", file->name, s->line,
                          (int)MIN(strcspn(s->text, "\n"), 80), s->text);
            return forward(r);
        }
        report->statements++;
    }
    return 0;
}

static int has_table(struct db *db, bool *ret, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r =
        db_query(db, "select to_regclass('hirundo.migration') is not null", 0, NULL, &result, e);
    if (r == 0)
        *ret = *PQgetvalue(result, 0, 0) == 't';
    return forward(r);
}

// name, sha256 of what was applied; *ret NULL where the database has no schema yet.
static int read_applied(struct db *db, PGresult **ret, struct errmsg *e)
{
    bool there = false;
    int r = has_table(db, &there, e);
    if (r < 0)
        return r;
    *ret = NULL;
    if (!there)
        return 0;
    return forward(
        db_query(db, "select name, sha256 from hirundo.migration order by name", 0, NULL, ret, e));
}

static const char *applied_sha256(const PGresult *applied, const char *name)
{
    int n = applied ? PQntuples(applied) : 0;
    for (int i = 0; i < n; i++)
        if (strcmp(PQgetvalue(applied, i, 0), name) == 0)
            return PQgetvalue(applied, i, 1);
    return NULL;
}

static const struct sql_file *find_file(const char *name)
{
    for (size_t i = 0; i < sql_files_n; i++)
        if (strcmp(sql_files[i].name, name) == 0)
            return &sql_files[i];
    return NULL;
}

static int refuse_newer(const PGresult *applied, struct errmsg *e)
{
    int n = applied ? PQntuples(applied) : 0;
    for (int i = 0; i < n; i++) {
        const char *name = PQgetvalue(applied, i, 0);
        if (is_schema(name) && !find_file(name))
            return errmsg_set(e, -EINVAL,
                              "the database is newer than this program (%s is applied, %s does not "
                              "know it): use the hirundo-collector that migrated it",
                              name, "hirundo-collector " HIRUNDO_VERSION);
    }
    return 0;
}

static int refuse_changed(const struct sql_file *file, const char *applied, struct errmsg *e)
{
    if (strcmp(applied, file->sha256) == 0)
        return 0;
    return errmsg_set(e, -EINVAL,
                      "%s was applied to this database in another version; a released schema file "
                      "never changes: use the program that made the database, or a new database",
                      file->name);
}

static int record(struct db *db, const struct sql_file *file, struct errmsg *e)
{
    const char *values[] = {file->name, file->sha256};
    return forward(db_query(db,
                            "insert into hirundo.migration (name, sha256) values ($1, $2) on "
                            "conflict (name) do update set sha256 = excluded.sha256, applied_at = "
                            "clock_timestamp()",
                            2, values, NULL, e));
}

static int make_table(struct db *db, struct errmsg *e)
{
    static const char *const statements[] = {
        "create table if not exists hirundo.migration (name text primary key, sha256 text not "
        "null, "
        "applied_at timestamptz not null default clock_timestamp())",
        "comment on table hirundo.migration is 'SQL files that hirundo-collector migrate applied'",
        "grant usage on schema hirundo to hirundo_collector, hirundo_analyst",
        "grant select on hirundo.migration to hirundo_collector, hirundo_analyst",
    };
    for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
        int r = db_exec(db, statements[i], e);
        if (r != 0)
            return forward(r);
    }
    return 0;
}

static int apply_schema(struct db *db, const PGresult *applied, struct migrate_report *report,
                        struct errmsg *e)
{
    bool recorded[64] = {false};
    for (size_t i = 0; i < sql_files_n && i < ARRAY_SIZE(recorded); i++) {
        const struct sql_file *file = &sql_files[i];
        const char *was = applied_sha256(applied, file->name);
        if (!is_schema(file->name) || strcmp(file->name, ROLES_FILE) == 0)
            continue;
        int r = was ? refuse_changed(file, was, e) : apply_file(db, file, report, e);
        if (r < 0)
            return r;
        recorded[i] = !was;
        report->schema_files += !was;
    }
    if (report->schema_files == 0)
        return 0;
    int r = make_table(db, e); // in the schema that the first file made
    for (size_t i = 0; i < sql_files_n && i < ARRAY_SIZE(recorded) && r == 0; i++)
        r = recorded[i] ? record(db, &sql_files[i], e) : 0;
    return r;
}

static int apply_analysis(struct db *db, const PGresult *applied, struct migrate_report *report,
                          struct errmsg *e)
{
    bool changed = report->schema_files > 0;
    for (size_t i = 0; i < sql_files_n; i++) {
        const char *was = applied_sha256(applied, sql_files[i].name);
        if (!is_schema(sql_files[i].name) && (!was || strcmp(was, sql_files[i].sha256) != 0))
            changed = true;
    }
    for (size_t i = 0; changed && i < sql_files_n; i++) {
        if (is_schema(sql_files[i].name))
            continue;
        int r = apply_file(db, &sql_files[i], report, e);
        if (r == 0)
            r = record(db, &sql_files[i], e);
        if (r < 0)
            return r;
        report->analysis_files++;
    }
    return 0;
}

// On Citus: before its tables are spread over the nodes the schema is this node's alone; afterwards
// what one statement did must be seen by the next on every connection.
static int prepare_citus(struct db *db, struct errmsg *e)
{
    return forward(db_exec(
        db,
        "do $$ begin if exists (select from pg_extension where extname = 'citus') then "
        "if exists (select from pg_dist_partition where logicalrelid = "
        "to_regclass('hirundo.ledger')) then "
        "perform set_config('citus.multi_shard_modify_mode', 'sequential', true); "
        "else perform set_config('citus.enable_ddl_propagation', 'off', true); end if; end if; end "
        "$$",
        e));
}

static int apply_all(struct db *db, struct migrate_report *report, struct errmsg *e)
{
    int r = forward(db_exec(db, "select pg_advisory_xact_lock(" MIGRATE_LOCK ")", e));
    _cleanup_(db_result_freep) PGresult *applied = NULL;
    if (r == 0)
        r = prepare_citus(db, e);
    if (r == 0)
        r = read_applied(db, &applied, e);
    if (r == 0)
        r = refuse_newer(applied, e);
    const struct sql_file *roles = find_file(ROLES_FILE);
    struct migrate_report uncounted = {0};
    if (r == 0 && roles)
        r = apply_file(db, roles, &uncounted, e);
    if (r == 0)
        r = forward(db_exec(db, "set local role hirundo_owner", e));
    if (r == 0)
        r = apply_schema(db, applied, report, e);
    if (r == 0)
        r = apply_analysis(db, applied, report, e);
    return r;
}

int migrate(struct db *db, struct migrate_report *ret, struct errmsg *e)
{
    struct migrate_report report = {0};
    if (db_server_version(db) < 150000)
        return errmsg_set(e, -EINVAL, "PostgreSQL 15 or newer is needed, this server is %d",
                          db_server_version(db) / 10000);
    int r = forward(db_exec(db, "begin", e));
    if (r == 0)
        r = apply_all(db, &report, e);
    if (r == 0)
        r = forward(db_exec(db, "commit", e));
    else
        db_exec(db, "rollback", NULL);
    if (r == 0)
        *ret = report;
    return r;
}

static int check_citus(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *there = NULL, *workers = NULL;
    int r = db_query(db, "select from pg_extension where extname = 'citus'", 0, NULL, &there, e);
    if (r != 0)
        return forward(r);
    if (PQntuples(there) == 0)
        return errmsg_set(e, -EINVAL,
                          "the extension citus is not in this database: create it on every node, "
                          "and add the nodes (docs/scale.md)");
    r = db_query(db, "select from citus_get_active_worker_nodes()", 0, NULL, &workers, e);
    if (r != 0)
        return forward(r);
    if (PQntuples(workers) == 0)
        return errmsg_set(e, -EINVAL,
                          "citus has no workers yet: select citus_add_node('HOST', PORT) for each "
                          "(docs/scale.md)");
    return 0;
}

static int begin_as_owner(struct db *db, struct errmsg *e)
{
    int r = forward(db_exec(db, "begin", e));
    if (r == 0)
        r = forward(db_exec(db, "select pg_advisory_xact_lock(" MIGRATE_LOCK ")", e));
    if (r == 0)
        r = forward(db_exec(db, "set local role hirundo_owner", e));
    return r;
}

// Three transactions, since the nodes connect to each other: the first statement lets them in, and
// functions can follow to other nodes once their schema stands there.
static int distribute(struct db *db, struct errmsg *e)
{
    const struct sql_statement *s = sql_distribute->statements;
    struct migrate_report uncounted = {0};
    int r = forward(db_exec(db, s[0].text, e));
    if (r == 0)
        r = begin_as_owner(db, e);
    for (size_t i = 1; i < sql_distribute->n && r == 0; i++)
        r = forward(db_exec(db, s[i].text, e));
    if (r == 0)
        r = forward(db_exec(db, "commit", e));
    if (r == 0)
        r = begin_as_owner(db, e);
    for (size_t i = 0; i < sql_files_n && r == 0; i++)
        if (!is_schema(sql_files[i].name))
            r = apply_file(db, &sql_files[i], &uncounted, e);
    return r == 0 ? forward(db_exec(db, "commit", e)) : r;
}

int migrate_distribute(struct db *db, struct errmsg *e)
{
    int r = check_citus(db, e);
    if (r == 0)
        r = distribute(db, e);
    if (r < 0)
        db_exec(db, "rollback", NULL);
    return r;
}

int migrate_check(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *applied = NULL;
    int r = read_applied(db, &applied, e);
    if (r == 0)
        r = refuse_newer(applied, e);
    for (size_t i = 0; r == 0 && i < sql_files_n; i++) {
        const char *was = applied_sha256(applied, sql_files[i].name);
        if (strcmp(sql_files[i].name, ROLES_FILE) == 0)
            continue;
        if (!was || (strcmp(was, sql_files[i].sha256) != 0 && !is_schema(sql_files[i].name)))
            r = errmsg_set(e, -EINVAL, "the database %s: run hirundo-collector migrate",
                           applied ? "is older than this program" : "has no schema hirundo yet");
        else if (is_schema(sql_files[i].name))
            r = refuse_changed(&sql_files[i], was, e);
    }
    return r;
}

int migrate_version(struct db *db, char *text, size_t size, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *applied = NULL;
    int r = read_applied(db, &applied, e);
    if (r < 0)
        return r;
    snprintf(text, size, "%s", "");
    for (int i = 0; applied && i < PQntuples(applied); i++)
        if (is_schema(PQgetvalue(applied, i, 0)))
            snprintf(text, size, "%s", PQgetvalue(applied, i, 0));
    return 0;
}
