// hirundo-sensor flows: capture files to flow summaries on standard output.
#include <stdio.h>

#include "sensor/commands.h"

int command_flows(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    fputs("hirundo-sensor flows: not built yet\n", stderr);
    return EXIT_FAILED;
}
