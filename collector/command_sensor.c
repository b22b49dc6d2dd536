#include <ctype.h>
#include <getopt.h>
#include <string.h>

#include "collector/command.h"
#include "collector/migrate.h"
#include "common/keys.h"

static const char usage[] =
    "usage: hirundo-collector sensor add NAME --country CC [--label-en TEXT] [--label-ja TEXT] "
    "[--key "
    "PUBKEY]\n"
    "       hirundo-collector sensor list\n"
    "       hirundo-collector sensor show NAME\n"
    "       hirundo-collector sensor revoke NAME\n"
    "NAME: lower-case letters, digits and hyphens. CC: ISO 3166-1 alpha-2 code of where it "
    "stands.\n"
    "PUBKEY: what hirundo-sensor keygen printed (40 characters of Z85, or 64 of hex).\n";

#define OWNER "hirundo_owner"

// Opens the database and makes sure that it has the schema.
static int open_migrated(const char *conf_path, struct db **ret)
{
    struct collector_conf conf;
    struct errmsg e = {"out of memory"};
    _cleanup_(db_freep) struct db *db = NULL;
    int r = command_open(conf_path, OWNER, &conf, &db);
    if (r < 0)
        return r;
    collector_conf_free(&conf);
    r = migrate_check(db, &e);
    if (r < 0) {
        command_fail(&e);
        return r;
    }
    *ret = db;
    db = NULL;
    return 0;
}

struct add_options {
    const char *country, *label_en, *label_ja, *key;
};

static const struct option add_long[] = {
    {"country", required_argument, NULL, 'C'},
    {"label-en", required_argument, NULL, 'e'},
    {"label-ja", required_argument, NULL, 'j'},
    {"key", required_argument, NULL, 'k'},
    {0},
};

static int on_add_option(int option, const char *value, void *data)
{
    struct add_options *o = data;
    const char **field = option == 'C'   ? &o->country
                         : option == 'e' ? &o->label_en
                         : option == 'j' ? &o->label_ja
                                         : &o->key;
    *field = value;
    return 0;
}

static int check_name(const char *name, struct errmsg *e)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t n = strlen(name);
    bool good = n >= 1 && n <= 63 && strchr(letters, name[0]);
    for (size_t i = 0; good && i < n; i++)
        good = name[i] == '-' || strchr(letters, name[i]);
    if (good)
        return 0;
    return errmsg_set(
        e, -EINVAL,
        "sensor name \"%.80s\": must be 1 to 63 lower-case letters, digits and hyphens, "
        "not beginning with a hyphen",
        name);
}

// Upper case into ret_country.
static int check_country(const char *country, char ret_country[3], struct errmsg *e)
{
    if (!country)
        return errmsg_set(e, -EINVAL, "--country is missing: two letters, such as JP");
    if (strlen(country) != 2 || !isalpha((unsigned char)country[0]) ||
        !isalpha((unsigned char)country[1]))
        return errmsg_set(e, -EINVAL, "--country %.20s: must be two letters, such as JP", country);
    ret_country[0] = (char)toupper((unsigned char)country[0]);
    ret_country[1] = (char)toupper((unsigned char)country[1]);
    ret_country[2] = '\0';
    return 0;
}

static int explain_add(struct db *db, const char *name, const uint8_t *key, int r, struct errmsg *e)
{
    if (r != DB_REFUSED || strcmp(db_sqlstate(db), "23505") != 0)
        return r;
    if (!key || strstr(e->text, "sensor_name"))
        return errmsg_set(e, -EEXIST, "there is a sensor %s already: see sensor show %s", name,
                          name);
    return errmsg_set(e, -EEXIST,
                      "this key is enrolled already, for another sensor or earlier: a "
                      "key belongs to one sensor for ever; make a new one");
}

static int add_sensor(struct db *db, const char *name, const char *country,
                      const struct add_options *o, const uint8_t *key, struct errmsg *e)
{
    const char *label_en = o->label_en ? o->label_en : name;
    const char *label_ja = o->label_ja ? o->label_ja : label_en;
    const char *values[] = {name, country, label_en, label_ja, (const char *)key};
    const int lengths[] = {-1, -1, -1, -1, key ? KEY_SIZE : -1};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r =
        db_query_mixed(db,
                       "with s as (insert into hirundo.sensor (name, country, label_en, label_ja) "
                       "values ($1, $2, $3, $4) returning sensor_id), "
                       "k as (insert into hirundo.sensor_key (public_key, sensor_id) "
                       "select $5::bytea, sensor_id from s where $5::bytea is not null) "
                       "select sensor_id, pg_notify('hirundo_keys', '') from s",
                       5, values, lengths, &result, e);
    if (r != 0)
        return explain_add(db, name, key, r, e);
    printf("sensor %s added (id %s, %s)%s\n", name, PQgetvalue(result, 0, 0), country,
           key ? "" : "; it has no key yet and cannot connect");
    return 0;
}

static int sensor_add(int argc, char **argv)
{
    struct add_options o = {0};
    const struct command_line line = {usage, add_long, on_add_option, &o, 1, 1};
    const char *conf_path;
    char **words;
    char country[3];
    uint8_t key[KEY_SIZE];
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    struct errmsg e = {"out of memory"};
    if (check_name(words[0], &e) < 0 || check_country(o.country, country, &e) < 0) {
        command_fail(&e);
        return EXIT_USAGE;
    }
    if (o.key && key_parse(o.key, key) < 0) {
        errmsg_set(&e, -EINVAL,
                   "--key: not a public key: must be 40 characters of Z85 or 64 of hex, "
                   "as hirundo-sensor keygen prints it");
        command_fail(&e);
        return EXIT_USAGE;
    }
    _cleanup_(db_freep) struct db *db = NULL;
    if (open_migrated(conf_path, &db) < 0)
        return EXIT_FAILURE;
    return add_sensor(db, words[0], country, &o, o.key ? key : NULL, &e) == 0 ? EXIT_SUCCESS
                                                                              : command_fail(&e);
}

// Columns of a result, padded, with the names as heading.
static int query_and_print(const char *conf_path, const char *sql, const char *name)
{
    _cleanup_(db_freep) struct db *db = NULL;
    if (open_migrated(conf_path, &db) < 0)
        return EXIT_FAILURE;
    struct errmsg e = {"out of memory"};
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    if (db_query(db, sql, name ? 1 : 0, values, &result, &e) != 0)
        return command_fail(&e);
    if (name && PQntuples(result) == 0) {
        errmsg_set(&e, -ENOENT, "there is no sensor %s: see hirundo-collector sensor list", name);
        return command_fail(&e);
    }
    command_print_table(result);
    return EXIT_SUCCESS;
}

static int sensor_list(int argc, char **argv)
{
    const struct command_line line = {.usage = usage};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    return query_and_print(
        conf_path,
        "select s.name, s.country, s.label_en, s.label_ja, "
        "case when s.revoked_at is not null then 'revoked' when exists (select from "
        "hirundo.sensor_key k where k.sensor_id = s.sensor_id and k.revoked_at is null) then "
        "'enrolled' else 'no key' end as state, "
        "coalesce(to_char((select max(l.last_batch_at) from hirundo.ledger l where l.sensor_id = "
        "s.sensor_id), 'YYYY-MM-DD HH24:MI:SS\"Z\"'), '-') as last_batch "
        "from hirundo.sensor s order by s.name",
        NULL);
}

static int print_keys(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select encode(k.public_key, 'hex'), k.added_at::timestamptz(0), "
                     "coalesce(k.revoked_at::timestamptz(0)::text, '') "
                     "from hirundo.sensor_key k join hirundo.sensor s using (sensor_id) "
                     "where s.name = $1 order by k.added_at",
                     1, values, &result, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++) {
        uint8_t key[KEY_SIZE];
        char text[KEY_Z85_SIZE];
        if (key_parse(PQgetvalue(result, i, 0), key) < 0)
            continue;
        key_format(key, text);
        const char *revoked = PQgetvalue(result, i, 2);
        printf("key %s added %s%s%s\n", text, PQgetvalue(result, i, 1),
               *revoked ? ", revoked " : "", revoked);
    }
    return r;
}

static int print_ledger(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r =
        db_query(db,
                 "select l.spool_id, l.next_seq - 1 as batches, l.last_batch_at::timestamptz(0), "
                 "l.last_window::timestamptz(0) from hirundo.ledger l join hirundo.sensor s "
                 "using (sensor_id) where s.name = $1 order by l.first_at",
                 1, values, &result, e);
    if (r == 0)
        command_print_table(result);
    return r;
}

static int sensor_show(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    _cleanup_(db_freep) struct db *db = NULL;
    if (open_migrated(conf_path, &db) < 0)
        return EXIT_FAILURE;
    struct errmsg e = {"out of memory"};
    const char *values[] = {words[0]};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r =
        db_query(db,
                 "select sensor_id, name, country, label_en, label_ja, added_at::timestamptz(0), "
                 "revoked_at::timestamptz(0) from hirundo.sensor where name = $1",
                 1, values, &result, &e);
    if (r == 0 && PQntuples(result) == 0)
        r = errmsg_set(&e, -ENOENT, "there is no sensor %s: see hirundo-collector sensor list",
                       words[0]);
    for (int i = 0; r == 0 && i < PQnfields(result); i++)
        printf("%s: %s\n", PQfname(result, i), PQgetvalue(result, 0, i));
    if (r == 0)
        r = print_keys(db, words[0], &e);
    if (r == 0)
        r = print_ledger(db, words[0], &e);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
}

static int sensor_revoke(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    _cleanup_(db_freep) struct db *db = NULL;
    if (open_migrated(conf_path, &db) < 0)
        return EXIT_FAILURE;
    struct errmsg e = {"out of memory"};
    const char *values[] = {words[0]};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(
        db,
        "with s as (update hirundo.sensor set revoked_at = coalesce(revoked_at, "
        "clock_timestamp()) where name = $1 returning sensor_id), "
        "k as (update hirundo.sensor_key set revoked_at = clock_timestamp() where revoked_at is "
        "null and sensor_id in (select sensor_id from s) returning 1) "
        "select (select count(*) from k), pg_notify('hirundo_keys', '') from s",
        1, values, &result, &e);
    if (r == 0 && PQntuples(result) == 0)
        r = errmsg_set(&e, -ENOENT, "there is no sensor %s: see hirundo-collector sensor list",
                       words[0]);
    if (r != 0)
        return command_fail(&e);
    printf("sensor %s revoked, %s key(s): nothing more is taken from it\n", words[0],
           PQgetvalue(result, 0, 0));
    return EXIT_SUCCESS;
}

int command_sensor(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"add", sensor_add},
        {"list", sensor_list},
        {"show", sensor_show},
        {"revoke", sensor_revoke},
    };
    return command_dispatch(table, ARRAY_SIZE(table), usage, argc, argv);
}
