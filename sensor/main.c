// hirundo-sensor: finds the subcommand and hands over.
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "sensor/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char *argv[]);
    const char *help;
} commands[] = {
    {"run", command_run, "live capture to the collector"},
    {"replay", command_replay, "capture files to the collector, with the packets' time"},
    {"flows", command_flows, "print the flow summaries of capture files"},
    {"enroll", command_enroll, "become the sensor that a bundle names"},
    {"keygen", command_keygen, "make the sensor's key pair"},
    {"rotate", command_rotate, "ask for the next key pair"},
    {"status", command_status, "what waits in the spool"},
    {"check", command_check, "verify the configuration and this host"},
};

static void usage(FILE *out)
{
    fputs("usage: hirundo-sensor COMMAND [ARGUMENT...]\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fputs("\nhirundo-sensor COMMAND --help tells more. hirundo-sensor --version.\n", out);
}

int main(int argc, char *argv[])
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("hirundo-sensor " HIRUNDO_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        char name[64]; // with which getopt begins its messages
        snprintf(name, sizeof name, "hirundo-sensor %s", commands[i].name);
        argv[1] = name;
        return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "hirundo-sensor: unknown command \"%s\"; see hirundo-sensor --help\n", argv[1]);
    return EXIT_USAGE;
}
