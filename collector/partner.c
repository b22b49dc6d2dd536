#include "collector/partner.h"

#include <ctype.h>
#include <string.h>

#include "collector/enrol.h"
#include "collector/sql_files.h"

#define GROUP "hirundo_partner" // for pg_hba.conf: +hirundo_partner

int partner_check_name(const char *name, struct errmsg *e)
{
    size_t n = strlen(name);
    if (n > 0 && n <= PARTNER_NAME_MAX && name[0] >= 'a' && name[0] <= 'z' &&
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n)
        return 0;
    return errmsg_set(e, -EINVAL,
                      "partner name \"%.80s\": must be 1 to 40 lower-case letters, digits and "
                      "hyphens, beginning with a letter",
                      name);
}

int partner_require(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select from hirundo.partner where name = $1 for update", 1, values,
                     &result, e);
    if (r == 0 && PQntuples(result) == 0)
        return errmsg_set(e, -ENOENT, "there is no partner %s: see hirundo-collector partner list",
                          name);
    return r;
}

// ---- as the role that logged in

static int as_login(struct db *db, struct errmsg *e)
{
    return db_exec(db, "set local role none", e);
}

static int as_owner(struct db *db, struct errmsg *e)
{
    return db_exec(db, "set local role hirundo_owner", e);
}

static int is_superuser(struct db *db, bool *ret, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select rolsuper from pg_catalog.pg_roles where rolname = session_user", 0,
                     NULL, &result, e);
    if (r == 0)
        *ret = PQntuples(result) > 0 && *PQgetvalue(result, 0, 0) == 't';
    return r;
}

// Closes what PostgreSQL tells every login of others' doings, or says who must.
static int close_statistics(struct db *db, int *ret_closed, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *open = NULL;
    bool superuser = false;
    // what is run here as a superuser is the program's own text over PostgreSQL's own catalogs
    int r = db_exec(db, "set local search_path = pg_catalog, pg_temp", e);
    if (r == 0)
        r = db_query(db, sql_open_statistics->statements[0].text, 0, NULL, &open, e);
    if (r == 0 && PQntuples(open) > 0)
        r = is_superuser(db, &superuser, e);
    if (r != 0 || PQntuples(open) == 0)
        return r;
    if (!superuser)
        return errmsg_set(e, -EPERM,
                          "PostgreSQL tells every login how much all sensors receive (%d functions "
                          "and tables such as pg_stat_all_tables): run this once as a superuser, "
                          "which closes them (docs/sharing.md)",
                          PQntuples(open));
    for (int i = 0; r == 0 && i < PQntuples(open); i++)
        for (int column = 0; r == 0 && column < 2; column++)
            r = db_exec(db, PQgetvalue(open, i, column), e);
    if (r == 0)
        *ret_closed = PQntuples(open);
    return r;
}

static int make_login(struct db *db, const char *login, struct errmsg *e)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "do $$ begin if not exists (select from pg_catalog.pg_roles where rolname = '" GROUP
             "') then create role " GROUP " nologin; end if; "
             "create role \"%s\" login connection limit 4 in role " GROUP "; "
             "execute format('grant connect on database %%I to \"%s\"', current_database()); "
             "end $$",
             login, login);
    int r = db_exec(db, sql, e);
    if (r == DB_REFUSED && strcmp(db_sqlstate(db), "42710") == 0)
        return errmsg_set(e, -EEXIST, "there is a role %s already: drop it, or take another name",
                          login);
    if (r == DB_REFUSED && strcmp(db_sqlstate(db), "42501") == 0)
        return errmsg_set(e, -EPERM,
                          "this login may not make roles: it must be a superuser or have "
                          "CREATEROLE");
    return r;
}

static int drop_login(struct db *db, const char *login, struct errmsg *e)
{
    char sql[512];
    bool superuser = false;
    snprintf(sql, sizeof sql,
             "do $$ begin if exists (select from pg_catalog.pg_roles where rolname = '%s') then "
             "execute format('revoke all on database %%I from \"%s\"', current_database()); "
             "drop role \"%s\"; end if; end $$",
             login, login, login);
    const char *values[] = {login};
    int r = is_superuser(db, &superuser, e);
    if (r == 0 && superuser)
        r = db_query(db,
                     "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity "
                     "where usename = $1",
                     1, values, NULL, e);
    return r == 0 ? db_exec(db, sql, e) : r;
}

// ---- as the owner

static int refuse_unknown_sensors(struct db *db, const char *names, struct errmsg *e)
{
    const char *values[] = {names};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select n from unnest(string_to_array($1, ',')) n where n <> '' and not "
                     "exists (select from hirundo.sensor s where s.name = n) limit 1",
                     1, values, &result, e);
    if (r == 0 && PQntuples(result) > 0)
        return errmsg_set(e, -ENOENT,
                          "--sensors: there is no sensor %.80s: see hirundo-collector sensor list",
                          PQgetvalue(result, 0, 0));
    return r;
}

static int set_sensors(struct db *db, const struct partner *p, struct errmsg *e)
{
    static const char *const statements[] = {
        "update hirundo.partner_sensor x set removed_at = clock_timestamp() from hirundo.partner "
        "p, "
        "hirundo.sensor s where p.name = $1 and x.partner_id = p.partner_id and s.sensor_id = "
        "x.sensor_id and x.removed_at is null and s.name <> all (string_to_array($2, ','))",
        // what it is to get of sensors that are new to it: all that was seen
        "insert into hirundo.partner_due (partner_id, sensor_id, hour) select distinct "
        "p.partner_id, o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.partner p, "
        "hirundo.sensor s, hirundo.observation o where p.name = $1 and s.name = any "
        "(string_to_array($2, ',')) and o.sensor_id = s.sensor_id and not exists (select from "
        "hirundo.partner_sensor x where x.partner_id = p.partner_id and x.sensor_id = s.sensor_id "
        "and x.removed_at is null) on conflict do nothing",
        "insert into hirundo.partner_sensor (partner_id, sensor_id) select p.partner_id, "
        "s.sensor_id from hirundo.partner p, hirundo.sensor s where p.name = $1 and s.name = any "
        "(string_to_array($2, ',')) on conflict (partner_id, sensor_id) do update set removed_at = "
        "null",
    };
    const char *values[] = {p->name, p->sensors};
    int r = refuse_unknown_sensors(db, p->sensors, e);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(statements); i++)
        r = db_query(db, statements[i], 2, values, NULL, e);
    return r;
}

int partner_open_key(struct db *db, const char *path, bool make, struct pseudonym_key *ret,
                     bool *ret_made, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = pseudonym_key_read(path, ret, e);
    if (r != -ENOENT)
        return r;
    r = db_query(db, "select exists (select from hirundo.partner_pseudonym)", 0, NULL, &result, e);
    if (r != 0)
        return r;
    if (*PQgetvalue(result, 0, 0) == 't' && !make)
        return errmsg_set(e, -ENOENT,
                          "pseudonym key %s: not there, and names were made with one: say where it "
                          "is with [sharing] pseudonym_key or --pseudonym-key; if it is lost, "
                          "partner add --make-key makes another for names to come",
                          path);
    r = pseudonym_key_make(path, ret, e);
    *ret_made = r == 0;
    return r;
}

static int name_sensors(struct db *db, struct partner *p, struct errmsg *e)
{
    const char *partner[] = {p->name};
    struct pseudonym_key key = {{0}};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select p.partner_id, s.sensor_id, s.name from hirundo.partner p, "
                     "hirundo.sensor s where p.name = $1 and not exists (select from "
                     "hirundo.partner_pseudonym x where x.partner_id = p.partner_id and "
                     "x.sensor_id = s.sensor_id) order by s.sensor_id",
                     1, partner, &result, e);
    if (r == 0 && PQntuples(result) > 0)
        // not needed where every sensor has its name already
        r = partner_open_key(db, p->key_path, p->make_key, &key, &p->made_key, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++) {
        char pseudonym[PSEUDONYM_SIZE];
        r = pseudonym_make(&key, p->name, PQgetvalue(result, i, 2), pseudonym, e);
        const char *values[] = {PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), pseudonym};
        if (r == 0)
            r = db_query(db,
                         "insert into hirundo.partner_pseudonym (partner_id, sensor_id, pseudonym) "
                         "values ($1, $2, $3)",
                         3, values, NULL, e);
    }
    pseudonym_key_wipe(&key);
    return r;
}

static int set_conditions(struct db *db, const struct partner *p, struct errmsg *e)
{
    char min_sensors[24], delay[40], ports[24];
    snprintf(min_sensors, sizeof min_sensors, "%lld", (long long)p->min_sensors);
    snprintf(delay, sizeof delay, "%lld seconds", (long long)p->delay_ms / 1000);
    snprintf(ports, sizeof ports, "%lld", (long long)p->ports);
    const char *values[] = {p->name,
                            p->min_sensors < 0 ? NULL : min_sensors,
                            p->delay_ms < 0 ? NULL : delay,
                            p->ports < 0 ? NULL : ports,
                            p->bucket,
                            p->since};
    return db_query(db,
                    "update hirundo.partner set min_sensors = coalesce($2::smallint, min_sensors), "
                    "delay = justify_hours(coalesce($3::interval, delay)), ports = "
                    "coalesce($4::smallint, ports), bucket = coalesce($5, bucket), since = "
                    "coalesce($6::date, since) where name = $1",
                    6, values, NULL, e);
}

static int build(struct db *db, const struct partner *p, struct errmsg *e)
{
    const char *values[] = {p->name};
    return db_query(db,
                    "select hirundo.partner_build(partner_id) from hirundo.partner where name = $1",
                    1, values, NULL, e);
}

// What is in force now, for the audit.
static int audit(struct db *db, const char *action, const struct partner *p, struct errmsg *e)
{
    const char *values[] = {p->name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(
        db,
        "select format('partner %s: login %s, sensors %s, min_sensors %s, delay %s, bucket %s, "
        "ports %s, since %s', p.name, hirundo.partner_role(p.name), coalesce((select "
        "string_agg(s.name, ',' order by s.name) from hirundo.partner_sensor x join hirundo.sensor "
        "s using (sensor_id) where x.partner_id = p.partner_id and x.removed_at is null), '-'), "
        "p.min_sensors, p.delay, p.bucket, p.ports, coalesce(p.since::text, '-')) from "
        "hirundo.partner p where p.name = $1",
        1, values, &result, e);
    return r == 0 ? enrol_audit(db, action, NULL, PQgetvalue(result, 0, 0), e) : r;
}

static int audit_closed(struct db *db, int closed, struct errmsg *e)
{
    char detail[96];
    if (closed == 0)
        return 0;
    snprintf(detail, sizeof detail, "%d functions and tables of pg_catalog are no longer public",
             closed);
    return enrol_audit(db, "statistics closed", NULL, detail, e);
}

// The name of login and schema, as hirundo.partner_role makes it.
static void name_login(struct partner *p)
{
    snprintf(p->login, sizeof p->login, "partner_%.40s", p->name);
    for (char *c = p->login; *c; c++)
        *c = *c == '-' ? '_' : *c;
}

static int fill(struct db *db, struct partner *p, const char *action, struct errmsg *e)
{
    int r = set_conditions(db, p, e);
    if (r == 0 && p->sensors)
        r = set_sensors(db, p, e);
    if (r == 0)
        r = name_sensors(db, p, e);
    if (r == 0)
        r = build(db, p, e);
    if (r == 0)
        r = audit(db, action, p, e);
    return r == 0 ? audit_closed(db, p->closed, e) : r;
}

static int prepare_login(struct db *db, struct partner *p, bool is_new, struct errmsg *e)
{
    int r = as_login(db, e);
    if (r == 0)
        r = close_statistics(db, &p->closed, e);
    if (r == 0 && is_new)
        r = make_login(db, p->login, e);
    return r == 0 ? as_owner(db, e) : r;
}

int partner_add_all(struct db *db, struct partner *p, struct errmsg *e)
{
    const char *values[] = {p->name};
    name_login(p);
    int r = db_query(db,
                     "insert into hirundo.partner (name, min_sensors, delay, bucket, ports) values "
                     "($1, 5, '7 days', 'month', 20)",
                     1, values, NULL, e);
    if (r == DB_REFUSED && strcmp(db_sqlstate(db), "23505") == 0)
        return errmsg_set(e, -EEXIST, "there is a partner %s already: see partner show %s", p->name,
                          p->name);
    if (r == 0)
        r = prepare_login(db, p, true, e);
    return r == 0 ? fill(db, p, "partner added", e) : r;
}

int partner_set_all(struct db *db, struct partner *p, struct errmsg *e)
{
    name_login(p);
    int r = partner_require(db, p->name, e);
    if (r == 0)
        r = prepare_login(db, p, false, e);
    return r == 0 ? fill(db, p, "partner changed", e) : r;
}

int partner_drop_all(struct db *db, struct partner *p, struct errmsg *e)
{
    char sql[128];
    const char *values[] = {p->name};
    name_login(p);
    snprintf(sql, sizeof sql, "drop schema if exists \"%s\" cascade", p->login);
    int r = partner_require(db, p->name, e);
    if (r == 0)
        r = audit(db, "partner dropped", p, e);
    if (r == 0)
        r = db_exec(db, sql, e);
    if (r == 0)
        r = db_query(db, "delete from hirundo.partner where name = $1", 1, values, NULL, e);
    if (r == 0)
        r = as_login(db, e);
    return r == 0 ? drop_login(db, p->login, e) : r;
}
