// scenario-gen: what thirteen sensors would have captured in January to March 2023. See README.md.

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "streams.h"

#define EXIT_USAGE 2

static void print_usage(FILE *file)
{
    (void)fprintf(
        file,
        "usage: scenario-gen --out DIR [--seed N] [--packets-per-day N] "
        "[--plant-surges SEED]\n"
        "Writes the captures of 13 sensors from January to March 2023, with their truth.\n"
        "  --out DIR            directory to write to, created if missing\n"
        "  --seed N             another world of the same description (default 1)\n"
        "  --packets-per-day N  mean background packets per sensor and day, %d to %d\n"
        "                       (default %d)\n"
        "  --plant-surges SEED  add surges of other ports, drawn from SEED\n"
        "  --help               show this\n"
        "  --version            show the version\n",
        PACKETS_PER_DAY_MIN, PACKETS_PER_DAY_MAX, PACKETS_PER_DAY_DEFAULT);
}

static int usage_error(const char *option, const char *value, const char *rule)
{
    (void)fprintf(stderr, "scenario-gen: --%s %s: %s\n", option, value, rule);
    return -EINVAL;
}

static int parse_number(const char *option, const char *text, uint64_t *ret_number)
{
    char *end = NULL;

    errno = 0;
    uintmax_t number = strtoumax(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0') {
        return usage_error(option, text, "must be a number from 0 to 18446744073709551615");
    }
    *ret_number = number;
    return 0;
}

static int parse_size(const char *text, uint32_t *ret_packets_per_day)
{
    uint64_t number = 0;
    int r = parse_number("packets-per-day", text, &number);

    if (r < 0) {
        return r;
    }
    if (number < PACKETS_PER_DAY_MIN || number > PACKETS_PER_DAY_MAX) {
        char rule[64];
        (void)snprintf(rule, sizeof(rule), "must be from %d to %d", PACKETS_PER_DAY_MIN,
                       PACKETS_PER_DAY_MAX);
        return usage_error("packets-per-day", text, rule);
    }
    *ret_packets_per_day = (uint32_t)number;
    return 0;
}

// 0, -EINVAL for a usage error (already reported), 1 where --help or --version was answered.
static int parse_options(int argc, char **argv, struct options *ret_options)
{
    static const struct option longs[] = {{"out", required_argument, NULL, 'o'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"packets-per-day", required_argument, NULL, 'n'},
                                          {"plant-surges", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.seed = 1, .packets_per_day = PACKETS_PER_DAY_DEFAULT};
    int r = 0;
    int c = 0;

    while (r == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'o':
            options.out = optarg;
            break;
        case 's':
            r = parse_number("seed", optarg, &options.seed);
            break;
        case 'n':
            r = parse_size(optarg, &options.packets_per_day);
            break;
        case 'p':
            options.plant_surges = true;
            r = parse_number("plant-surges", optarg, &options.surge_seed);
            break;
        case 'h':
            print_usage(stdout);
            return 1;
        case 'v':
            (void)puts("scenario-gen " HIRUNDO_VERSION);
            return 1;
        default: // getopt_long has said what is wrong
            return -EINVAL;
        }
    }
    if (r == 0 && (optind < argc || options.out == NULL)) {
        print_usage(stderr);
        return -EINVAL;
    }
    *ret_options = options;
    return r;
}

int main(int argc, char **argv)
{
    struct options options;
    int r = parse_options(argc, argv, &options);

    if (r != 0) {
        return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
    }
    return scenario_generate(&options) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
