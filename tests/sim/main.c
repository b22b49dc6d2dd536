// hirundo-sim: the sender and the receiver through random accidents (docs/simulation.md).
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tests/sim/world.h"

#define WINDOWS_PER_YEAR 525600.0

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void usage(FILE *f)
{
    fputs(
        "usage: hirundo-sim [--trace] [--worlds N] YEARS SEED\n"
        "Runs worlds SEED, SEED+1, ... until sensors have lived YEARS years (a batch a minute)\n"
        "  --trace     print what happens\n"
        "  --worlds N  run N worlds, whatever YEARS says\n"
        "  --leftovers a sensor set back to a snapshot may meet messages of its former life that\n"
        "              a collector still holds: not survived yet, see docs/simulation.md\n"
        "  --again     a sensor may be set back to the same snapshot again, to one from before a\n"
        "              fork, and to one of a sensor that was set back\n",
        f);
}

static void report(FILE *f, const struct tally *t, double seconds)
{
    fprintf(f,
            "%" PRIu64 " worlds, %" PRIu64 " batches (%.2f sensor-years), %" PRIu64
            " events in %.1f s of CPU: %.0f batches a second\n",
            t->worlds, t->batches, (double)t->batches / WINDOWS_PER_YEAR, t->events, seconds,
            (double)t->batches / seconds);
    fprintf(f,
            "in the database %" PRIu64 ", declared lost %" PRIu64 ", declared unknown %" PRIu64
            ", gone with an old spool and the database's later state %" PRIu64 "\n",
            t->committed, t->lost, t->unknown, t->forgotten);
    fprintf(f,
            "messages %" PRIu64 ", duplicates %" PRIu64 ", gaps %" PRIu64 ", forks %" PRIu64
            ", connections %" PRIu64 ", failovers %" PRIu64 ", clone alarms %" PRIu64 "\n",
            t->messages, t->duplicates, t->gaps, t->forks, t->connections, t->failovers, t->clones);
    fprintf(f,
            "commits %" PRIu64 ", ledger rows stale %" PRIu64 ", waits for a ledger row %" PRIu64
            ", groups rolled back %" PRIu64 ", evicted unacknowledged %" PRIu64 ", ranges %" PRIu64
            "\n",
            t->commits, t->stale, t->lock_waits, t->rollbacks, t->evicted, t->merged);
    uint64_t faults = 0;
    for (size_t i = 0; i < FAULT_KINDS; i++)
        faults += t->faults[i];
    fprintf(f, "%" PRIu64 " faults:", faults);
    for (size_t i = 0; i < FAULT_KINDS; i++)
        fprintf(f, "%s %s %" PRIu64, i > 0 ? "," : "", fault_names[i], t->faults[i]);
    fprintf(f, "\nlongest from the last fault's end to all acknowledged: %.1f min\n",
            (double)t->longest_quiet / MINUTE);
}

struct options {
    double years, seed, worlds;
    struct world_options world;
    const char *report;
};

static int simulate(const struct options *o)
{
    struct tally tally = {0};
    char failure[512];
    double start = cpu_s();
    double most = o->years * WINDOWS_PER_YEAR;
    uint64_t seed = (uint64_t)o->seed;
    uint64_t worlds = (uint64_t)o->worlds;
    for (uint64_t i = 0; worlds > 0 ? i < worlds : (double)tally.batches < most; i++) {
        if (world_run(seed + i, &o->world, &tally, failure))
            continue;
        printf("world %" PRIu64 " %s\nReplay it with: ./tests/run sim 1 %" PRIu64
               "\nSee what happened with: hirundo-sim --trace --worlds 1 1 %" PRIu64 "\n",
               seed + i, failure, seed + i, seed + i);
        return 1;
    }
    report(stdout, &tally, cpu_s() - start);
    if (!o->report)
        return 0;
    _cleanup_(fclosep) FILE *f = fopen(o->report, "we");
    if (!f) {
        perror(o->report);
        return 1;
    }
    report(f, &tally, cpu_s() - start);
    return 0;
}

static bool parse_number(const char *text, double *ret)
{
    char *end;
    *ret = strtod(text, &end);
    return *text != '\0' && *end == '\0' && *ret >= 0 && *ret < 9e15;
}

// 0; 1: help was asked for; 2: wrong usage.
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {{"trace", no_argument, NULL, 't'},
                                            {"leftovers", no_argument, NULL, 'l'},
                                            {"again", no_argument, NULL, 'a'},
                                            {"worlds", required_argument, NULL, 'w'},
                                            {"report", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 't')
            o->world.trace = true;
        else if (c == 'l')
            o->world.leftovers = true;
        else if (c == 'a')
            o->world.again = true;
        else if (c == 'r')
            o->report = optarg;
        else if (c == 'h')
            return 1;
        else if (c != 'w' || !parse_number(optarg, &o->worlds))
            return 2;
    }
    bool good = argc - optind == 2 && parse_number(argv[optind], &o->years) &&
                parse_number(argv[optind + 1], &o->seed);
    return good ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    int r = parse(argc, argv, &o);
    if (r == 0)
        return simulate(&o);
    usage(r == 1 ? stdout : stderr);
    return r == 1 ? 0 : 2;
}
