#include <ctype.h>
#include <string.h>

#include "collector/command.h"
#include "collector/migrate.h"

static const char usage[] = "usage: hirundo-collector quarantine list\n"
                            "       hirundo-collector quarantine show ID\n"
                            "Messages of enrolled sensors that could not be taken, kept raw. show "
                            "prints one with its header and "
                            "the beginning of its payload in hex.\n";

static int query_and_print(const char *conf_path, const char *sql, const char *id, bool expanded)
{
    struct collector_conf conf;
    struct errmsg e = {"out of memory"};
    _cleanup_(db_freep) struct db *db = NULL;
    if (command_open(conf_path, "hirundo_owner", &conf, &db) < 0)
        return EXIT_FAILURE;
    collector_conf_free(&conf);
    const char *values[] = {id};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = migrate_check(db, &e);
    if (r == 0)
        r = db_query(db, sql, id ? 1 : 0, values, &result, &e);
    if (r == 0 && id && PQntuples(result) == 0)
        r = errmsg_set(&e, -ENOENT, "there is no message %s in quarantine: see quarantine list",
                       id);
    if (r != 0)
        return command_fail(&e);
    if (!expanded) {
        command_print_table(result);
        return EXIT_SUCCESS;
    }
    for (int i = 0; i < PQnfields(result); i++)
        printf("%s: %s\n", PQfname(result, i), PQgetvalue(result, 0, i));
    return EXIT_SUCCESS;
}

static int quarantine_list(int argc, char **argv)
{
    const struct command_line line = {.usage = usage};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    return query_and_print(
        conf_path,
        "select q.quarantine_id as id, s.name as sensor, q.seq, q.received_at::timestamptz(0), "
        "q.peer, q.frames, length(q.payload) as bytes, q.reason from hirundo.quarantine q left "
        "join "
        "hirundo.sensor s using (sensor_id) where q.resolved_at is null order by q.quarantine_id",
        NULL, false);
}

static int quarantine_show(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    size_t digits = strspn(words[0], "0123456789");
    if (digits == 0 || words[0][digits] || digits > 18) {
        fprintf(stderr, "hirundo-collector: quarantine show %s: ID is a number\n%s", words[0],
                usage);
        return EXIT_USAGE;
    }
    return query_and_print(
        conf_path,
        "select q.quarantine_id as id, s.name as sensor, q.spool_id, q.seq, q.received_at, q.peer, "
        "q.reason, q.frames, q.first_window, q.booked_slot, q.resolved_at, "
        "q.resolution, encode(q.header, 'hex') as header, length(q.payload) as payload_bytes, "
        "encode(substr(q.payload, 1, 64), 'hex') as payload_begins from hirundo.quarantine q left "
        "join hirundo.sensor s using (sensor_id) where q.quarantine_id = $1::bigint",
        words[0], true);
}

int command_quarantine(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"list", quarantine_list},
        {"show", quarantine_show},
    };
    return command_dispatch(table, ARRAY_SIZE(table), usage, argc, argv);
}
