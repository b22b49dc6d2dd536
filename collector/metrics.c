#include "collector/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "collector/guard.h"
#include "common/clock.h"

// Upper bounds of the buckets, in microseconds.
static const int64_t bounds[METRICS_BUCKETS] = {5000,   10000,   25000,   50000,   100000,
                                                250000, 1000000, 5000000, 20000000};

struct metrics *metrics_new(void)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (m)
        m->started_ms = wall_ms();
    return m;
}

void metrics_free(struct metrics *m)
{
    free(m);
}

void metrics_committed(struct metrics *m, int64_t us, size_t rows)
{
    metrics_add(&m->commits, 1);
    metrics_add(&m->rows, rows);
    metrics_add(&m->commit_us, (uint64_t)MAX(us, 0));
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        if (us <= bounds[i]) {
            metrics_add(&m->commit_buckets[i], 1);
            return;
        }
}

// ---- the format

static void head(struct text *t, const char *name, const char *type, const char *help)
{
    text_add(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(struct text *t, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    head(t, name, type, help);
    text_add(t, "%s %" PRIu64 "\n", name, value);
}

// Seconds of a time in microseconds, without the locale's comma.
static void seconds(struct text *t, const char *name, uint64_t us)
{
    text_add(t, "%s %" PRIu64 ".%06" PRIu64 "\n", name, us / 1000000, us % 1000000);
}

static void labelled(struct text *t, const char *name, const char *label, const char *value,
                     uint64_t n)
{
    text_add(t, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, n);
}

// ---- the collector

static void received(struct text *t, const struct metrics *m)
{
    static const char *const kinds[WIRE_PING] = {"batch", "loss", "heartbeat", "ping"};
    head(t, "hirundo_received_messages_total", "counter", "Messages from enrolled sensors.");
    for (size_t i = 0; i < WIRE_PING; i++)
        labelled(t, "hirundo_received_messages_total", "kind", kinds[i], m->received[i]);
    number(t, "hirundo_received_bytes_total", "counter", "Bytes of their payloads.",
           m->received_bytes);
    head(t, "hirundo_dropped_messages_total", "counter",
         "Messages not taken, which their sensors send again.");
    labelled(t, "hirundo_dropped_messages_total", "reason", "memory", m->dropped_memory);
    labelled(t, "hirundo_dropped_messages_total", "reason", "credit", m->dropped_credit);
}

static void committed(struct text *t, const struct metrics *m)
{
    number(t, "hirundo_committed_batches_total", "counter",
           "Batches in the database, each acknowledged after its commit.", m->batches);
    number(t, "hirundo_committed_losses_total", "counter",
           "Messages in which sensors declared losses.", m->losses);
    number(t, "hirundo_quarantined_messages_total", "counter",
           "Messages that could not be taken and were put into quarantine.", m->quarantined);
    number(t, "hirundo_committed_rows_total", "counter", "Rows of flow and flood written.",
           m->rows);
    number(t, "hirundo_duplicate_messages_total", "counter",
           "Messages that were in the database already.", m->duplicates);
    number(t, "hirundo_gaps_total", "counter", "Missing numbers that were asked for.", m->gaps);
    number(t, "hirundo_forks_total", "counter",
           "Sensors found to be restored from an older copy of themselves.", m->forks);
    number(t, "hirundo_clones_total", "counter", "Alarms of two machines that use one key.",
           m->clones);
}

static void commits(struct text *t, const struct metrics *m)
{
    const char *name = "hirundo_commit_seconds";
    uint64_t count = 0, all = m->commits;
    head(t, name, "histogram", "Time of a commit, from BEGIN to the database's answer.");
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        count += m->commit_buckets[i];
        text_add(t, "%s_bucket{le=\"%" PRId64 ".%03" PRId64 "\"} %" PRIu64 "\n", name,
                 bounds[i] / 1000000, bounds[i] / 1000 % 1000, count);
    }
    // Read while others add: the whole is never less than its parts.
    all = MAX(all, count);
    text_add(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, all);
    seconds(t, "hirundo_commit_seconds_sum", m->commit_us);
    text_add(t, "%s_count %" PRIu64 "\n", name, all);
    number(t, "hirundo_commit_failures_total", "counter",
           "Commits that the database refused or did not answer; what was in them is tried again.",
           m->commit_failures);
    number(t, "hirundo_database_connects_total", "counter",
           "Connections that writers made to the database.", m->connects);
}

static void moment(struct text *t, const struct metrics_view *v)
{
    head(t, "hirundo_database_up", "gauge",
         "Whether the writer's database takes rows (1) or not (0).");
    for (size_t i = 0; i < v->n_writers; i++)
        text_add(t, "hirundo_database_up{writer=\"%zu\"} %d\n", i + 1, v->writers_up[i]);
    number(t, "hirundo_ingest_paused", "gauge",
           "1 while no data is taken so that the database's disk does not fill up.", v->paused);
    number(t, "hirundo_queue_bytes", "gauge", "Bytes of messages that wait for the database.",
           v->queue_bytes);
    number(t, "hirundo_queue_limit_bytes", "gauge", "[collector] memory.", v->queue_limit);
    number(t, "hirundo_connections", "gauge", "Connections from outside, known or not.",
           v->metrics->connections);
    number(t, "hirundo_connections_cut_total", "counter",
           "Connections cut because the peer broke the rules, or its key was revoked.",
           v->metrics->cut);
    number(t, "hirundo_refused_handshakes_total", "counter",
           "Handshakes with a key that is not enrolled, or revoked.", v->refused);
    number(t, "hirundo_failed_handshakes_total", "counter",
           "Connections that ended before a message came, other than for their key: scanners, "
           "silence, another server key.",
           v->failed_handshakes);
    number(t, "hirundo_enrolled_keys", "gauge", "Keys that are let in.", v->keys);
}

static void clocks(struct text *t, const struct metrics_view *v)
{
    if (!v->clock_known)
        return;
    number(t, "hirundo_clock_off", "gauge",
           "1 while this collector's own clock is wrong by what most sensors, or PostgreSQL, say.",
           v->clock_off);
    head(t, "hirundo_clock_less_database_seconds", "gauge",
         "This collector's clock less PostgreSQL's, as far as the round trip lets it be known.");
    text_add(t, "hirundo_clock_less_database_seconds %.3f\n",
             (double)v->clock_less_database_ms / 1000);
}

static uint64_t count_fds(void)
{
    DIR *fds = opendir("/proc/self/fd");
    uint64_t n = 0;
    while (fds && readdir(fds))
        n++;
    if (fds)
        closedir(fds);
    return n > 3 ? n - 3 : 0; // ".", "..", and the directory itself
}

static uint64_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;
    if (f && fscanf(f, "%*u %lu", &pages) != 1) // NOLINT(cert-err34-c): the kernel's own figures
        pages = 0;
    if (f)
        fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void process(struct text *t, const struct metrics *m)
{
    struct rusage usage;
    struct rlimit files;
    getrusage(RUSAGE_SELF, &usage);
    head(t, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
    seconds(t, "process_cpu_seconds_total",
            (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
    number(t, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    number(t, "process_open_fds", "gauge", "Open file descriptors.", count_fds());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
        number(t, "process_max_fds", "gauge", "Most file descriptors there may be.",
               files.rlim_cur);
    head(t, "process_start_time_seconds", "gauge", "When the collector was started, Unix time.");
    seconds(t, "process_start_time_seconds", (uint64_t)m->started_ms * 1000);
}

// ---- what the database has

struct column {
    const char *name; // of the metric, and of the column in the query
    const char *type;
    const char *help;
};

static const struct column database_columns[] = {
    {"hirundo_database_bytes", "gauge", "Size of the database; on Citus of all nodes together."},
    {"hirundo_quarantine_open", "gauge", "Messages in quarantine that nobody resolved yet."},
    {"hirundo_rollup_dirty_marks", "gauge",
     "Marks (an hour of a sensor) that wait to be rolled up."},
    {"hirundo_rollup_lag_seconds", "gauge", "For how long the oldest of them has been due."},
    {"hirundo_surges_raised_total", "counter", "Surges that were raised, each once."},
};

const char metrics_database_sql[] =
    "select hirundo.database_bytes() as hirundo_database_bytes, (select count(*) from "
    "hirundo.quarantine where resolved_at is null) as hirundo_quarantine_open, "
    "coalesce(sum(dirty_hours), 0) as hirundo_rollup_dirty_marks, coalesce(extract(epoch from "
    "max(lag)), 0) as hirundo_rollup_lag_seconds, (select count(*) from hirundo.surge_alert) as "
    "hirundo_surges_raised_total from hirundo.rollup_lag";

// Those that last, or ended not long ago; the newest, should there be very many.
const char metrics_surges_sql[] =
    "select port, verdict, first_day, sensors_rose as hirundo_surge_sensors_rose, sensors_compared "
    "as hirundo_surge_sensors_compared, hosts as hirundo_surge_hosts from hirundo.surge_alert "
    "where last_day >= current_date - 3 or raised_at > now() - interval '1 day' "
    "order by alert_id desc limit 50";

static const struct column sensor_columns[] = {
    {"hirundo_sensor_last_batch_timestamp_seconds", "gauge",
     "When its last batch came, Unix time."},
    {"hirundo_sensor_last_window_timestamp_seconds", "gauge",
     "End of the last window delivered, by the sensor's clock, Unix time."},
    {"hirundo_sensor_last_heartbeat_timestamp_seconds", "gauge",
     "When its last heartbeat came, Unix time."},
    {"hirundo_sensor_spool_batches", "gauge", "Batches in its spool, not acknowledged."},
    {"hirundo_sensor_spool_bytes", "gauge", "Their bytes."},
    {"hirundo_sensor_spool_limit_bytes", "gauge", "[spool] cap of the sensor."},
    {"hirundo_sensor_spool_age_seconds", "gauge",
     "For how long the oldest of them has been in the spool."},
    {"hirundo_sensor_spool_dropped_batches_total", "counter",
     "Undelivered batches that had to leave the full spool, since the sensor's start."},
    {"hirundo_sensor_spool_failing", "gauge", "1 while its spool cannot be written."},
    {"hirundo_sensor_clock_offset_seconds", "gauge",
     "Collector's clock less the sensor's: positive where the sensor is behind."},
    {"hirundo_sensor_round_trip_seconds", "gauge", "Round trip between sensor and collector."},
    {"hirundo_sensor_frames_total", "counter", "Frames counted since the sensor's start."},
    {"hirundo_sensor_kernel_dropped_packets_total", "counter",
     "Packets that its kernel dropped since the sensor's start."},
    {"hirundo_sensor_interface_dropped_packets_total", "counter",
     "Packets that its interface dropped since the sensor's start."},
    {"hirundo_sensor_uptime_seconds", "gauge", "Time since the sensor's start."},
    {"hirundo_sensor_resident_memory_bytes", "gauge", "Its resident memory."},
    {"hirundo_sensor_cpu_seconds_total", "counter", "Its CPU time."},
};

// Figures of the last heartbeat, null where none came.
const char metrics_sensors_sql[] =
    "select v.sensor, s.country, v.state, coalesce(h.version, '') as version, "
    "extract(epoch from v.last_batch_at) as hirundo_sensor_last_batch_timestamp_seconds, "
    "extract(epoch from v.last_ts) as hirundo_sensor_last_window_timestamp_seconds, "
    "extract(epoch from h.received_at) as hirundo_sensor_last_heartbeat_timestamp_seconds, "
    "h.spool_batches as hirundo_sensor_spool_batches, "
    "h.spool_bytes as hirundo_sensor_spool_bytes, "
    "h.spool_cap_bytes as hirundo_sensor_spool_limit_bytes, "
    "h.spool_age_s as hirundo_sensor_spool_age_seconds, "
    "h.spool_dropped as hirundo_sensor_spool_dropped_batches_total, "
    "h.spool_failing::int as hirundo_sensor_spool_failing, "
    "round(h.clock_offset_ms / 1000.0, 3) as hirundo_sensor_clock_offset_seconds, "
    "round(h.round_trip_ms / 1000.0, 3) as hirundo_sensor_round_trip_seconds, "
    "h.frames as hirundo_sensor_frames_total, "
    "h.kernel_dropped as hirundo_sensor_kernel_dropped_packets_total, "
    "h.if_dropped as hirundo_sensor_interface_dropped_packets_total, "
    "h.uptime_s as hirundo_sensor_uptime_seconds, "
    "h.rss_kib * 1024 as hirundo_sensor_resident_memory_bytes, "
    "round(h.cpu_ms / 1000.0, 3) as hirundo_sensor_cpu_seconds_total "
    "from hirundo.sensor_status v join hirundo.sensor s on s.name = v.sensor "
    "left join hirundo.heartbeat h on h.sensor_id = s.sensor_id where v.state <> 'revoked' "
    "order by v.sensor";

static void database(struct text *t, const PGresult *result)
{
    for (size_t i = 0; i < ARRAY_SIZE(database_columns); i++) {
        const struct column *c = &database_columns[i];
        int at = PQfnumber(result, c->name);
        if (at < 0 || PQntuples(result) < 1 || PQgetisnull(result, 0, at))
            continue;
        head(t, c->name, c->type, c->help);
        text_add(t, "%s %s\n", c->name, PQgetvalue(result, 0, at));
    }
}

// A value of a label: nothing that would end it. Names are checked when a sensor is enrolled, the
// rest comes from heartbeats.
static const char *label(const PGresult *result, int row, const char *column, char buf[256])
{
    int at = PQfnumber(result, column);
    snprintf(buf, 256, "%s", at < 0 ? "" : PQgetvalue(result, row, at));
    for (char *p = buf; (p = strpbrk(p, "\"\\\n"));)
        *p = '?';
    return buf;
}

static void sensor_words(struct text *t, const PGresult *result)
{
    char a[256], b[256], c[256];
    head(t, "hirundo_sensor_info", "gauge", "Always 1: country and version of the sensor.");
    for (int i = 0; i < PQntuples(result); i++)
        text_add(t, "hirundo_sensor_info{sensor=\"%s\",country=\"%s\",version=\"%s\"} 1\n",
                 label(result, i, "sensor", a), label(result, i, "country", b),
                 label(result, i, "version", c));
    head(t, "hirundo_sensor_state", "gauge",
         "Always 1: the state that hirundo.sensor_status gives, with its reason there.");
    for (int i = 0; i < PQntuples(result); i++)
        text_add(t, "hirundo_sensor_state{sensor=\"%s\",state=\"%s\"} 1\n",
                 label(result, i, "sensor", a), label(result, i, "state", b));
}

static void sensors(struct text *t, const PGresult *result)
{
    char name[256];
    sensor_words(t, result);
    for (size_t k = 0; k < ARRAY_SIZE(sensor_columns); k++) {
        const struct column *c = &sensor_columns[k];
        int at = PQfnumber(result, c->name);
        if (at < 0)
            continue;
        head(t, c->name, c->type, c->help);
        for (int i = 0; i < PQntuples(result); i++)
            if (!PQgetisnull(result, i, at))
                text_add(t, "%s{sensor=\"%s\"} %s\n", c->name, label(result, i, "sensor", name),
                         PQgetvalue(result, i, at));
    }
}

static void surges(struct text *t, const PGresult *result)
{
    static const struct column columns[] = {
        {"hirundo_surge_sensors_rose", "gauge",
         "Sensors at which the port's sources rose, at the surge's peak; a series for each surge "
         "of the last days."},
        {"hirundo_surge_sensors_compared", "gauge", "Sensors that could be compared."},
        {"hirundo_surge_hosts", "gauge", "Its source addresses, over all sensors."},
    };
    char port[256], scope[256], since[256];
    for (size_t k = 0; k < ARRAY_SIZE(columns); k++) {
        const struct column *c = &columns[k];
        int at = PQfnumber(result, c->name);
        if (at < 0)
            continue;
        head(t, c->name, c->type, c->help);
        for (int i = 0; i < PQntuples(result); i++)
            text_add(t, "%s{port=\"%s\",scope=\"%s\",since=\"%s\"} %s\n", c->name,
                     label(result, i, "port", port), label(result, i, "verdict", scope),
                     label(result, i, "first_day", since), PQgetvalue(result, i, at));
    }
}

void metrics_text(const struct metrics_view *v, struct text *ret)
{
    head(ret, "hirundo_build_info", "gauge", "Always 1: the collector's version.");
    text_add(ret, "hirundo_build_info{version=\"%s\"} 1\n", HIRUNDO_VERSION);
    received(ret, v->metrics);
    committed(ret, v->metrics);
    commits(ret, v->metrics);
    moment(ret, v);
    clocks(ret, v);
    guard_metrics(v->guard, ret);
    process(ret, v->metrics);
    if (!v->database || !v->sensors)
        return;
    head(ret, "hirundo_database_read_timestamp_seconds", "gauge",
         "When what follows was read from the database, Unix time.");
    seconds(ret, "hirundo_database_read_timestamp_seconds", (uint64_t)v->read_ms * 1000);
    database(ret, v->database);
    sensors(ret, v->sensors);
    if (v->surges)
        surges(ret, v->surges);
}
