#include "generate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "campaign.h"
#include "cleanup.h"
#include "frame.h"
#include "geo_files.h"
#include "planned.h"
#include "sensors.h"
#include "streams.h"
#include "surges.h"
#include "traffic.h"
#include "truth.h"

struct run {
    const struct options *options;
    struct truth *truth;
    struct planned_list planned[SENSOR_COUNT];
    struct schedule schedule;
    struct stream_plan plan;
};

static void run_release(struct run *run)
{
    for (int s = 0; s < SENSOR_COUNT; s++) {
        planned_release(&run->planned[s]);
    }
    schedule_release(&run->schedule);
    truth_free(run->truth);
}

static int report(int r, const char *what, const char *path)
{
    (void)fprintf(stderr, "scenario-gen: %s %s: %s\n", what, path, strerror(-r));
    return r;
}

static int make_path(const struct run *run, const char *name, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/%s", run->options->out, name);

    return n < 0 || n >= PATH_MAX ? report(-ENAMETOOLONG, "cannot write", name) : 0;
}

static int make_directory(const char *path)
{
    if (mkdir(path, 0777) < 0 && errno != EEXIST) {
        return report(-errno, "cannot create directory", path);
    }
    return 0;
}

static int plan_packets(struct run *run)
{
    const struct options *o = run->options;
    int r = campaign_plan(o->seed, o->packets_per_day, run->planned);

    if (r == 0) {
        r = controls_plan(o->seed, o->packets_per_day, run->planned);
    }
    if (r == 0 && o->plant_surges) {
        r = surges_plan(o->seed, o->surge_seed, o->packets_per_day, run->planned,
                        &run->truth->surges);
    }
    for (int s = 0; s < SENSOR_COUNT; s++) {
        planned_sort(&run->planned[s]);
    }
    return r < 0 ? report(r, "cannot plan", o->out) : 0;
}

static int write_day(struct run *run, int sensor, struct capture *capture)
{
    struct traffic traffic = {run->options->seed, sensor};

    for (size_t i = 0; i < run->schedule.count; i++) {
        const struct event *event = &run->schedule.events[i];
        struct packet packet;

        if (event->stream == STREAM_PLANNED) {
            traffic_build_planned(&traffic, &run->planned[sensor].items[event->seed], &packet);
        } else {
            traffic_build(&traffic, &run->plan.streams[event->stream], event, &packet);
        }
        int r = capture_write(capture, event->time_us, &packet);
        if (r < 0) {
            return r;
        }
        truth_count(run->truth, sensor, event->time_us, &packet);
    }
    return 0;
}

static int open_capture(struct run *run, int sensor, struct capture **ret_capture)
{
    struct sensor_truth *truth = &run->truth->sensors[sensor];
    struct capture_truth *file = &truth->files[truth->file_count];
    const char *code = sensor_at(sensor)->code;
    char path[PATH_MAX];

    (void)snprintf(file->name, sizeof(file->name), "%s/%s-%u.pcap", code, code,
                   (unsigned)++truth->file_count);
    int r = make_path(run, file->name, path);
    if (r < 0) {
        return r;
    }
    r = capture_new(path, sensor_at(sensor), ret_capture);
    return r < 0 ? report(r, "cannot create", path) : 0;
}

// The observed days from *day on, up to an outage or the quarter's end; *day moves behind them.
static int write_capture(struct run *run, int sensor, int *day, struct rng *rng)
{
    const struct sensor *s = sensor_at(sensor);
    struct capture *capture = NULL;
    int r = open_capture(run, sensor, &capture);

    if (r < 0) {
        return r;
    }
    for (; *day < QUARTER_DAYS && sensor_observes(s, *day) && r == 0; (*day)++) {
        r = schedule_day(&run->schedule, &run->plan, s, *day, &run->planned[sensor], rng);
        if (r == 0) {
            r = write_day(run, sensor, capture);
        }
    }
    int c = capture_close(capture);
    r = r < 0 ? r : c;
    return r < 0 ? report(r, "cannot write the capture of", s->code) : 0;
}

static int write_sensor(struct run *run, int sensor)
{
    const struct options *o = run->options;
    char path[PATH_MAX];
    struct rng rng;
    int day = 0;
    int r = make_path(run, sensor_at(sensor)->code, path);

    if (r == 0) {
        r = make_directory(path);
    }
    stream_plan_init(&run->plan, o->seed, sensor, o->packets_per_day, &run->planned[sensor]);
    rng_seed(&rng, mix64_pair(o->seed, 0x5e4504u + (uint64_t)sensor));
    while (r == 0 && day < QUARTER_DAYS) {
        if (sensor_observes(sensor_at(sensor), day)) {
            r = write_capture(run, sensor, &day, &rng);
        } else {
            day++;
        }
    }
    return r;
}

static int write_tables(struct run *run)
{
    char path[PATH_MAX];
    int r = make_path(run, "prefixes.tsv", path);

    if (r == 0 && (r = prefixes_write(path)) < 0) {
        return report(r, "cannot write", path);
    }
    r = make_path(run, "organisations.csv", path);
    if (r == 0 && (r = organisations_write(path)) < 0) {
        return report(r, "cannot write", path);
    }
    r = make_path(run, "sensors.tsv", path);
    if (r == 0 && (r = sensors_write(run->truth, path)) < 0) {
        return report(r, "cannot write", path);
    }
    r = make_path(run, "truth.json", path);
    if (r == 0 && (r = truth_write(run->truth, path)) < 0) {
        return report(r, "cannot write", path);
    }
    return r;
}

static int check_promises(const struct run *run)
{
    const char *broken = truth_check(run->truth);

    if (broken != NULL) {
        (void)fprintf(stderr, "scenario-gen: seed %llu with %u packets a day: %s\n",
                      (unsigned long long)run->options->seed, run->options->packets_per_day,
                      broken);
        return -EDOM;
    }
    return 0;
}

int scenario_generate(const struct options *options)
{
    _cleanup_(run_release) struct run run = {.options = options};

    int r = make_directory(options->out);
    if (r < 0) {
        return r;
    }
    run.truth = truth_new(options->seed, options->packets_per_day);
    if (run.truth == NULL) {
        return report(-ENOMEM, "cannot plan", options->out);
    }
    r = plan_packets(&run);
    for (int s = 0; s < SENSOR_COUNT && r == 0; s++) {
        r = write_sensor(&run, s);
    }
    if (r == 0) {
        r = check_promises(&run);
    }
    if (r == 0) {
        r = write_tables(&run);
    }
    return r;
}
