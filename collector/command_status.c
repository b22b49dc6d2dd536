#include <sys/stat.h>

#include "collector/command.h"
#include "collector/migrate.h"
#include "common/keys.h"

static const char usage[] =
    "usage: hirundo-collector status [-c FILE]\n"
    "Says whether the database answers and is migrated, what each sensor delivered last, and what "
    "lies in quarantine. Exit 1 if the database does not answer or is not migrated.\n";

static void print_server_key(const struct collector_conf *conf)
{
    struct stat st;
    struct key_pair pair;
    struct errmsg e;
    char text[KEY_Z85_SIZE];
    if (stat(conf->key_path, &st) < 0 && errno == ENOENT) {
        printf("server key: none at %s yet; serve makes it\n", conf->key_path);
    } else if (key_file_read(conf->key_path, &pair, &e) < 0) {
        printf("server key: %s\n", e.text);
    } else {
        key_format(pair.public_key, text);
        key_pair_wipe(&pair);
        printf("server key: %s\n", text);
    }
}

static int print_row(struct db *db, const char *label, const char *sql, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, sql, 0, NULL, &result, e);
    if (r == 0)
        printf("%s: %s\n", label, PQgetvalue(result, 0, 0));
    return r;
}

// Trouble first. The reason stands last, where it may be long.
static int print_sensors(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(
        db,
        "select v.sensor, s.country, v.state, v.last_batch_at::timestamptz(0) as last_batch, "
        "v.last_ts::timestamptz(0) as data_up_to, v.spool_batches as spool, "
        "hirundo.span_text(v.spool_age) as spool_age, v.clock_offset_ms as clock_ms, h.version, "
        "case when v.state = 'never seen' and k.sensor_id is null then 'it has no key yet: run "
        "hirundo-sensor enroll with its bundle there, then sensor approve its request here' else "
        "v.reason end as reason from hirundo.sensor_status v join hirundo.sensor s on s.name = "
        "v.sensor left join (select distinct sensor_id from hirundo.sensor_key where revoked_at is "
        "null) k on k.sensor_id = s.sensor_id "
        "left join hirundo.heartbeat h on h.sensor_id = s.sensor_id "
        "order by array_position(array['losing', 'silent', 'late', 'clock off', 'never seen', "
        "'online', 'revoked'], v.state), v.sensor",
        0, NULL, &result, e);
    if (r != 0)
        return r;
    command_print_table(result);
    return 0;
}

// Enrolled is who has a key that is let in: a bundle alone makes no sensor.
static const char count_sensors[] =
    "with k as materialized (select s.name from hirundo.sensor s join hirundo.sensor_key k on "
    "k.sensor_id = s.sensor_id where k.revoked_at is null group by s.name), "
    "t as materialized (select v.sensor, v.state from hirundo.sensor_status v), "
    "n as (select case when t.state = 'revoked' then 'revoked' when k.name is null then 'no key' "
    "else t.state end as state, count(*) as n from t left join k on k.name = t.sensor group by 1) "
    "select coalesce(sum(n) filter (where state not in ('revoked', 'no key')), 0) || ' enrolled' "
    "|| coalesce(': ' || string_agg(n || ' ' || state, ', ' order by n desc, state) filter (where "
    "state not in ('revoked', 'no key')), '') || coalesce('; ' || sum(n) filter (where state = "
    "'no key') || ' not approved yet', '') || coalesce('; ' || sum(n) filter (where state = "
    "'revoked') || ' revoked', '') from n";

static int print_database(struct db *db, struct errmsg *e)
{
    char version[64];
    int r = migrate_version(db, version, sizeof version, e);
    if (r < 0)
        return r;
    printf("database: answers, PostgreSQL %d.%d, %s\n", db_server_version(db) / 10000,
           db_server_version(db) % 10000, *version ? version : "not migrated");
    r = migrate_check(db, e);
    if (r < 0)
        return r;
    r = print_row(db, "durability",
                  "select case when current_setting('fsync') = 'on' then 'fsync on' else 'FSYNC IS "
                  "OFF: a crash of the database host loses acknowledged data' end",
                  e);
    if (r == 0)
        r = print_row(db, "sensors", count_sensors, e);
    if (r == 0)
        r = print_row(db, "rollups",
                      "select case when max(lag) > interval '10 minutes' then 'behind by ' || "
                      "hirundo.span_text(max(lag)) else 'up to date' end from hirundo.rollup_lag",
                      e);
    if (r == 0)
        r = print_row(
            db, "size",
            "select pg_size_pretty(hirundo.database_bytes()) || case when "
            "lower(v) = 'off' then '' else ', of ' || v || ' (max_size_database) at most' "
            "end from hirundo.setting('max_size_database') v",
            e);
    if (r == 0)
        r = print_row(db, "quarantine",
                      "select count(*) || ' messages' || case when count(*) > 0 "
                      "then ': see hirundo-collector quarantine list' else '' "
                      "end from hirundo.quarantine where resolved_at is null",
                      e);
    if (r == 0)
        r = print_sensors(db, e);
    return r;
}

int command_status(int argc, char **argv)
{
    const struct command_line line = {.usage = usage};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open(conf_path, "hirundo_owner", &conf, &db) < 0)
        return EXIT_FAILURE;
    if (conf_path)
        print_server_key(&conf);
    collector_conf_free(&conf);
    return print_database(db, &e) == 0 ? EXIT_SUCCESS : command_fail(&e);
}
