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
    "public          =                                endpoint as sensors reach it, for bundles; "
    "else endpoint\n"
    "key             = /var/lib/hirundo/collector.key the collector's key file\n"
    "next_key        =                                the key that will follow, served beside the "
    "present one\n"
    "next_endpoint   =                                where next_key is served: other ports\n"
    "next_public     =                                next_endpoint as sensors reach it\n"
    "writers         = 2                              database connections\n"
    "memory          = 64M                            batches that may wait for the database\n"
    "limit_connections = on                           few from where many bring no message\n"
    "[enrolment]\n"
    "operator_key    = /var/lib/hirundo/operator.key  signs bundles; serve needs it not\n"
    "[sharing]\n"
    "pseudonym_key   = /var/lib/hirundo/pseudonym.key names sensors for partners; serve needs it "
    "not\n"
    "[database]\n"
    "connection      =                                libpq connection string; else PG*\n"
    "disk            =                                directories on the database's disks, where "
    "they are here\n"
    "min_free        = 2G                             no data is taken while less is free there\n"
    "[metrics]\n"
    "listen          = 127.0.0.1:4456                 /metrics for Prometheus; or off\n"
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
