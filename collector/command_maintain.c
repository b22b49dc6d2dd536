#include <getopt.h>
#include <inttypes.h>

#include "collector/command.h"
#include "collector/migrate.h"
#include "collector/rollup.h"

static const char usage[] =
    "usage: hirundo-collector maintain [-c FILE] [--dry-run]\n"
    "Rolls up what is dirty, raises new surges, and drops what is past retention or beyond its "
    "size (settings "
    "retention_* and max_size_*, never today). A running collector does the same by itself, every "
    "minute and every hour.\n"
    "  --dry-run   only say what there is to do\n";

static int on_option(int option, const char *value, void *data)
{
    (void)option;
    (void)value;
    *(bool *)data = true;
    return 0;
}

// What goes by the other settings; nothing about tables that are within them.
static int print_sizes(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r =
        db_query(db, "select what, until, count, why from hirundo.retention_due() where count > 0",
                 0, NULL, &result, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++)
        printf("%s to go: %s%s%s (%s)\n", PQgetvalue(result, i, 0), PQgetvalue(result, i, 2),
               PQgetisnull(result, i, 1) ? "" : ", up to ", PQgetvalue(result, i, 1),
               PQgetvalue(result, i, 3));
    return r;
}

static int print_due(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select what, until, count from hirundo.maintenance_due()", 0, NULL,
                     &result, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++)
        printf("%s: %s%s%s\n", PQgetvalue(result, i, 0), PQgetvalue(result, i, 2),
               PQgetisnull(result, i, 1) ? "" : ", up to ", PQgetvalue(result, i, 1));
    if (r == 0)
        r = print_sizes(db, e);
    return r;
}

static void say(const char *line)
{
    puts(line);
}

static void say_surge(const char *line)
{
    printf("surge: %s\n", line);
}

static int maintain(struct db *db, struct errmsg *e)
{
    int done = 1, r = 0;
    int64_t marks = 0;
    while (r == 0 && done > 0) {
        r = rollup_step(db, &done, e);
        marks += r == 0 && done > 0 ? done : 0;
    }
    if (r == 0)
        printf("rolled up: %" PRId64 " marks%s\n", marks,
               done < 0 ? "; another session rolls up now, and goes on with the rest" : "");
    int surges = 0;
    if (r == 0)
        r = rollup_surges(db, say_surge, &surges, e);
    struct rollup_dropped dropped = {0};
    if (r == 0)
        r = rollup_retention(db, say, &dropped, e);
    if (r == 0)
        printf("past retention: %d days of flow dropped, %" PRId64
               " rows of rollups deleted, %" PRId64 " of other tables\n",
               dropped.flow_days, dropped.rollup_rows, dropped.other_rows);
    return r;
}

int command_maintain(int argc, char **argv)
{
    static const struct option extra[] = {{"dry-run", no_argument, NULL, 'n'}, {0}};
    bool dry = false;
    const struct command_line line = {
        .usage = usage, .extra = extra, .on_option = on_option, .data = &dry};
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
    collector_conf_free(&conf);
    db_set_timeout(db, ROLLUP_TIMEOUT_MS);
    int r = migrate_check(db, &e);
    if (r == 0)
        r = dry ? print_due(db, &e) : maintain(db, &e);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
}
