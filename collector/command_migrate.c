#include <getopt.h>

#include "collector/command.h"
#include "collector/migrate.h"

static const char usage[] =
    "usage: hirundo-collector migrate [-c FILE] [--citus]\n"
    "Makes or updates schema hirundo and its roles in one transaction. The login must be a "
    "superuser, or own the database and have CREATEROLE.\n"
    "  --citus   spread its tables over the nodes of Citus, as a superuser of all of them; the "
    "extension and its workers are there already\n";

static int on_option(int option, const char *value, void *data)
{
    (void)option;
    (void)value;
    *(bool *)data = true;
    return 0;
}

int command_migrate(int argc, char **argv)
{
    static const struct option options[] = {{"citus", no_argument, NULL, 'C'}, {0}};
    bool citus = false;
    const struct command_line line = {usage, options, on_option, &citus, 0, 0};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    if (command_open(conf_path, NULL, &conf, &db) < 0)
        return EXIT_FAILURE;
    collector_conf_free(&conf);
    db_set_timeout(db, citus ? 24 * 60 * 60 * 1000 : 10 * 60 * 1000); // it may move all data
    struct errmsg e = {"out of memory"};
    struct migrate_report report;
    if (migrate(db, &report, &e) < 0)
        return command_fail(&e);
    char version[64];
    if (migrate_version(db, version, sizeof version, &e) < 0)
        return command_fail(&e);
    if (report.schema_files + report.analysis_files == 0)
        printf("nothing to do: the database is at %s\n", version);
    else
        printf("the database is at %s: %zu schema and %zu analysis files applied, %zu statements\n",
               version, report.schema_files, report.analysis_files, report.statements);
    if (citus && migrate_distribute(db, &e) < 0)
        return command_fail(&e);
    if (citus)
        printf("its tables are spread over the nodes of Citus\n");
    return EXIT_SUCCESS;
}
