#include <string.h>

#include "collector/command.h"

static const char usage[] =
    "usage: hirundo-collector COMMAND [-c FILE] ...\n"
    "\n"
    "  migrate     bring the database to this program's schema\n"
    "  serve       take batches from sensors into the database\n"
    "  status      database, sensors, backlog, quarantine\n"
    "  maintain    roll up, and drop what is past retention; serve does so too\n"
    "  keygen      make a key file before the first start of serve\n"
    "  sensor      enrol and revoke sensors: add, bundle, approve, rotate, list, show, revoke\n"
    "  partner     logins that see their own rows and coarse figures: add, set, list, show, drop\n"
    "  import      prefixes, scanners, asnames, organisations, holidays, sensors from files\n"
    "  quarantine  messages that could not be taken: list, show, retry, drop\n"
    "  notice      notices to organisations: add, list\n"
    "  report      what a period brought, as a site to publish\n"
    "  export      a case file for a notice: documents, CSV, X-ARF, signed\n"
    "  verify      check a case file: its signature and each file\n"
    "\n"
    "Without -c the database is the one the PG* environment names.\n"
    "hirundo-collector COMMAND --help says more. Exit status: 0 done, 1 failed, 2 usage.\n";

static const struct subcommand commands[] = {
    {"migrate", command_migrate},       {"serve", command_serve},       {"status", command_status},
    {"keygen", command_keygen},         {"sensor", command_sensor},     {"import", command_import},
    {"quarantine", command_quarantine}, {"maintain", command_maintain}, {"notice", command_notice},
    {"partner", command_partner},       {"report", command_report},     {"export", command_export},
    {"verify", command_verify},
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("hirundo-collector " HIRUNDO_VERSION);
        return EXIT_SUCCESS;
    }
    command_name_first(argc, argv);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_SUCCESS;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            char name[64];
            snprintf(name, sizeof name, "hirundo-collector %s", commands[i].name);
            argv[1] = name;
            return commands[i].run(argc - 1, argv + 1);
        }
    fprintf(stderr, "hirundo-collector: unknown command \"%s\"; see hirundo-collector --help\n",
            argv[1]);
    return EXIT_USAGE;
}
