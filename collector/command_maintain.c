#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "collector/command.h"
#include "collector/migrate.h"
#include "collector/rollup.h"

static const char usage[] =
    "usage: hirundo-collector maintain [-c FILE] [--dry-run]\n"
    "Rolls up what came in since the last time, raises new surges, and drops what is past "
    "retention or beyond its "
    "size (settings "
    "retention_* and max_size_*, never today). A running collector does the same by itself, every "
    "minute and every hour.\n"
    "  --dry-run   only say what there is to roll up, and what would be dropped: how much, from "
    "when to when (of flow, flood, batch, quarantine and heartbeat_hour in UTC, else in the "
    "setting time_zone), how large it is, and why: its age or its size, by which setting. Days of "
    "flow and flood give the disk space back, deleted rows make room for new ones\n";

static int on_option(int option, const char *value, void *data)
{
    (void)option;
    (void)value;
    *(bool *)data = true;
    return 0;
}

static const char *count_noun(const char *what)
{
    if (strcmp(what, "dirty hours") == 0)
        return "hours of sensors";
    return strcmp(what, "dirty days") == 0 ? "days of sensors" : "months";
}

static void print_span(const char *since, const char *until)
{
    printf("%s%s%s", since, strcmp(since, until) == 0 ? "" : " to ",
           strcmp(since, until) == 0 ? "" : until);
}

static int print_marks(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select what, count, since, until, waiting from hirundo.maintenance_due() "
                     "where count > 0",
                     0, NULL, &result, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++) {
        const char *waiting = PQgetvalue(result, i, 4);
        printf("to roll up: %s %s, ", PQgetvalue(result, i, 1),
               count_noun(PQgetvalue(result, i, 0)));
        print_span(PQgetvalue(result, i, 2), PQgetvalue(result, i, 3));
        if (strcmp(waiting, "0") != 0)
            printf("; %s of them once it has ended", waiting);
        putchar('\n');
    }
    if (r == 0 && PQntuples(result) == 0)
        puts("nothing to roll up");
    return r;
}

static void print_going(PGresult *result, int i)
{
    const char *what = PQgetvalue(result, i, 0), *why = PQgetvalue(result, i, 5);
    bool days = strcmp(what, "flow days") == 0;
    if (days)
        printf("to drop: %s days of flow and flood", PQgetvalue(result, i, 1));
    else
        printf("to delete: %s rows of %.*s", PQgetvalue(result, i, 1), (int)strcspn(what, " "),
               what);
    fputs(", ", stdout);
    print_span(PQgetvalue(result, i, 2), PQgetvalue(result, i, 3));
    if (!PQgetisnull(result, i, 4))
        printf(", %s%s", days ? "frees " : "about ", PQgetvalue(result, i, 4));
    printf(" (by %s: %s)\n", strncmp(why, "max_size_", 9) == 0 ? "size" : "age", why);
}

static int print_due(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = print_marks(db, e);
    if (r == 0)
        r = db_query(db,
                     "select what, count, since, until, pg_size_pretty(bytes), why from "
                     "hirundo.retention_due() where count > 0",
                     0, NULL, &result, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++)
        print_going(result, i);
    if (r == 0 && PQntuples(result) == 0)
        puts("nothing to drop or delete: all is within the settings retention_* and max_size_*");
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
        printf("in all: %d days of flow dropped, %" PRId64 " rows of rollups deleted, %" PRId64
               " of other tables\n",
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
