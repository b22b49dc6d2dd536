#include "collector/command.h"
#include "collector/serve.h"

static const char usage[] =
    "usage: hirundo-collector serve [-c FILE]\n"
    "Takes batches from enrolled sensors into the database until SIGTERM. The first start makes "
    "the "
    "key file.\n"
    "Key               Default                        What it is\n"
    "[collector]\n"
    "endpoint        = tcp://127.0.0.1:4455           where sensors connect; several allowed\n"
    "key             = /var/lib/hirundo/collector.key the collector's key file\n"
    "writers         = 2                              database connections\n"
    "memory          = 64M                            batches that may wait for the database\n"
    "[database]\n"
    "connection      =                                libpq connection string; else PG*\n"
    "[log]\n"
    "level           = notice                         error, warning, notice, info, debug\n";

int command_serve(int argc, char **argv)
{
    const struct command_line line = {.usage = usage};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    struct errmsg e = {"out of memory"};
    struct collector_conf conf;
    if (collector_conf_read(conf_path, &conf, &e) < 0)
        return command_fail(&e);
    int r = serve(&conf, &e);
    collector_conf_free(&conf);
    return r < 0 ? command_fail(&e) : EXIT_SUCCESS;
}
