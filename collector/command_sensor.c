#include "collector/command_sensor.h"

#include <getopt.h>
#include <string.h>

#include "common/keys.h"

const char sensor_usage[] =
    "usage: hirundo-collector sensor add NAME --country CC [--label-en TEXT] [--label-ja TEXT]\n"
    "           [--hosted-by TEXT] [--key PUBKEY | bundle options]\n"
    "       hirundo-collector sensor bundle NAME [bundle options]    another bundle for NAME\n"
    "       hirundo-collector sensor approve NAME REQUEST\n"
    "       hirundo-collector sensor rotate NAME REQUEST | --cancel  NAME's next key; withdraw it\n"
    "       hirundo-collector sensor list [--unknown] | show NAME | revoke NAME\n"
    "NAME: lower-case letters, digits and hyphens. CC: ISO 3166-1 alpha-2 code of where it "
    "stands; ZZ: of no country.\n"
    "add writes a signed bundle, NAME.bundle, for hirundo-sensor enroll on the new machine; that "
    "prints\n"
    "the REQUEST to approve. --key PUBKEY (from hirundo-sensor keygen) enrols without a bundle.\n"
    "rotate --cancel: a next key that was not used yet, and was lost, is let in no more; the "
    "present\n"
    "one goes on.\n"
    "Bundle options:\n"
    "  --out FILE            write it there\n"
    "  --endpoint tcp://ADDRESS:PORT  where sensors reach the collector (default: [collector] "
    "public)\n"
    "  --valid DAYS          enrolment is possible so long (7)\n"
    "  --window TIME, --spool-cap SIZE, --max-kbit N, --exclude CIDR[:tcp/PORT]  for its "
    "configuration\n"
    "  --with-key            the sensor's key pair is made here and travels in the bundle: no "
    "approval,\n"
    "                        but whoever reads the bundle can pose as the sensor\n"
    "  --operator-key FILE   signs it (default: [enrolment] operator_key)\n";

int sensor_require(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select from hirundo.sensor where name = $1", 1, values, &result, e);
    if (r == 0 && PQntuples(result) == 0)
        return errmsg_set(e, -ENOENT, "there is no sensor %s: see hirundo-collector sensor list",
                          name);
    return r;
}

// Columns of a result, padded, with the names as heading.
static int query_and_print(const char *conf_path, const char *sql, const char *name)
{
    _cleanup_(db_freep) struct db *db = NULL;
    if (command_open_owner(conf_path, NULL, &db) < 0)
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

static int on_list_option(int option, const char *value, void *data)
{
    (void)option;
    (void)value;
    *(bool *)data = true;
    return 0;
}

static const char list_sql[] =
    "select s.name, s.country, s.label_en, s.label_ja, "
    "case when s.revoked_at is not null then 'revoked' "
    "when exists (select from hirundo.sensor_key k where k.sensor_id = s.sensor_id and "
    "k.revoked_at is null) then 'enrolled' "
    "when b.expires_at > now() then 'bundle sent' "
    "when b.expires_at is not null then 'bundle expired' else 'no key' end as state, "
    "coalesce(to_char((select max(l.last_batch_at) from hirundo.ledger l where l.sensor_id = "
    "s.sensor_id) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'), '-') as last_batch "
    "from hirundo.sensor s left join lateral (select max(expires_at) as expires_at from "
    "hirundo.bundle where sensor_id = s.sensor_id) b on true order by s.name";

static const char unknown_sql[] =
    "select encode(u.public_key, 'hex') as key, u.address, u.attempts, "
    "to_char(u.first_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"') as first, "
    "to_char(u.last_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"') as last, "
    "coalesce('revoked key of ' || s.name, 'unknown') as who "
    "from hirundo.unknown_key u left join hirundo.sensor_key k using (public_key) "
    "left join hirundo.sensor s using (sensor_id) order by u.last_at desc";

static int sensor_list(int argc, char **argv)
{
    static const struct option options[] = {{"unknown", no_argument, NULL, 'u'}, {0}};
    bool unknown = false;
    const struct command_line line = {
        .usage = sensor_usage, .extra = options, .on_option = on_list_option, .data = &unknown};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    return query_and_print(conf_path, unknown ? unknown_sql : list_sql, NULL);
}

static int print_keys(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select encode(k.public_key, 'hex'), k.added_at::timestamptz(0), "
                     "coalesce(k.revoked_at::timestamptz(0)::text, ''), "
                     "coalesce(k.first_used_at::timestamptz(0)::text, ''), "
                     "case when k.replaces is not null and k.first_used_at is null and "
                     "k.revoked_at is null then ', next key: not used yet' else '' end "
                     "from hirundo.sensor_key k join hirundo.sensor s using (sensor_id) "
                     "where s.name = $1 order by k.added_at",
                     1, values, &result, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++) {
        uint8_t key[KEY_SIZE];
        char text[KEY_Z85_SIZE];
        if (key_parse(PQgetvalue(result, i, 0), key) < 0)
            continue;
        key_format(key, text);
        const char *revoked = PQgetvalue(result, i, 2), *used = PQgetvalue(result, i, 3);
        // twice: as in the sensor's log, and as in a request and the audit
        printf("key %s (%s) added %s%s%s%s%s%s\n", text, PQgetvalue(result, i, 0),
               PQgetvalue(result, i, 1), *used ? ", first used " : "", used,
               *revoked ? ", revoked " : "", revoked, PQgetvalue(result, i, 4));
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
    const struct command_line line = {.usage = sensor_usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    _cleanup_(db_freep) struct db *db = NULL;
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    struct errmsg e = {"out of memory"};
    const char *values[] = {words[0]};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(
        db,
        "select sensor_id, name, country, label_en, label_ja, hosted_by, added_at::timestamptz(0), "
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

int command_sensor(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"add", sensor_add},   {"approve", sensor_approve}, {"bundle", sensor_bundle},
        {"list", sensor_list}, {"revoke", sensor_revoke},   {"rotate", sensor_rotate},
        {"show", sensor_show},
    };
    return command_dispatch(table, ARRAY_SIZE(table), sensor_usage, argc, argv);
}
