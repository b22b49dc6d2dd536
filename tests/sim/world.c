#include "tests/sim/world.h"

#include <string.h>

#define QUIET_MAX         (3LL * 60 * MINUTE) // from the last fault's end to everything acknowledged
#define EVENTS_PER_WINDOW 2000                // and sensor; more is a livelock

void world_fail(struct world *w, const char *format, ...)
{
    if (w->failed)
        return;
    va_list args;
    va_start(args, format);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized)
    vsnprintf(w->failure, sizeof w->failure, format, args);
    va_end(args);
    w->failed = true;
    TRACE(w, "VIOLATED: %s", w->failure);
}

void world_trace(const struct world *w, const char *format, ...)
{
    va_list args;
    printf("%12.3f ", (double)w->now / 1000);
    va_start(args, format);
    vprintf(format, args); // NOLINT(clang-analyzer-valist.Uninitialized)
    va_end(args);
    putchar('\n');
}

void world_post(struct world *w, int64_t at, enum event_kind kind, uint32_t who, uint32_t epoch,
                void *data)
{
    struct event event = {
        .at = MAX(at, w->now), .kind = (int)kind, .who = who, .epoch = epoch, .data = data};
    if (heap_push(&w->heap, event) < 0)
        world_fail(w, "out of memory");
}

int64_t world_delay(struct world *w)
{
    return w->now < w->slow_until ? rng_spread(&w->rng, 10, MINUTE) : rng_between(&w->rng, 1, 150);
}

static int set_up(struct world *w)
{
    w->now = 1000 * MINUTE; // 0 stands for none
    w->db.up = true;
    w->n_sensors = (uint32_t)rng_between(&w->rng, 1, SENSORS_MAX);
    w->n_collectors = (uint32_t)rng_between(&w->rng, 1, COLLECTORS_MAX);
    w->quiet_at = w->now + rng_spread(&w->rng, 60, 6000) * MINUTE;
    w->fault_every = rng_spread(&w->rng, MINUTE / 2, 12 * 60 * MINUTE);
    int r = ledger_new(w->n_sensors, &w->db.ledger);
    for (uint32_t i = 0; i < w->n_collectors && r == 0; i++) {
        w->collectors[i].number = i;
        r = collector_init(w, &w->collectors[i]);
    }
    for (uint32_t i = 0; i < w->n_sensors && r == 0; i++) {
        w->sensors[i].number = i;
        r = sensor_init(w, &w->sensors[i]);
    }
    world_post(w, w->now + 1, EVENT_FAULT, 0, 0, NULL);
    world_post(w, w->quiet_at, EVENT_QUIET, 0, 0, NULL);
    return r;
}

static void free_data(const struct event *e)
{
    if (e->kind == EVENT_TX_ORPHAN && e->data)
        tx_release(e->data);
    free(e->data);
}

static void tear_down(struct world *w)
{
    for (size_t i = 0; i < w->heap.n; i++)
        free_data(&w->heap.events[i]);
    free(w->heap.events);
    free(w->forks);
    for (uint32_t i = 0; i < w->n_collectors; i++)
        collector_release(&w->collectors[i]);
    for (uint32_t i = 0; i < w->n_sensors; i++)
        sensor_release(&w->sensors[i]);
    ledger_free(w->db.ledger);
    ledger_free(w->db.backup);
}

static void sensor_event(struct world *w, struct event *e)
{
    struct sensor_node *s = &w->sensors[e->who];
    bool this_life = s->running && s->epoch == e->epoch;
    bool this_route = s->running && s->route != 0 && s->route == e->epoch;
    switch (e->kind) {
    case EVENT_WINDOW:
        sensor_window(w, s);
        break;
    case EVENT_SENSOR_TIMER:
        if (this_life)
            sensor_timer(w, s);
        break;
    case EVENT_SENSOR_START:
        if (!s->running && s->epoch == e->epoch)
            sensor_start(w, s);
        break;
    case EVENT_CONNECTED:
        if (this_route)
            sensor_connected(w, s);
        break;
    case EVENT_LINK_LOST:
        if (this_route)
            sensor_link_lost(w, s);
        break;
    default: // EVENT_TO_SENSOR
        if (this_route)
            sensor_hear(w, s, e->data);
        break;
    }
}

static void collector_event(struct world *w, struct event *e)
{
    struct collector_node *c = &w->collectors[e->who];
    bool this_life = c->running && c->epoch == e->epoch;
    if (e->kind == EVENT_COLLECTOR_START) {
        if (!c->running && c->epoch == e->epoch)
            collector_start(w, c);
    } else if (e->kind == EVENT_WRITER) {
        if (this_life)
            writer_step(w, c);
    } else if (this_life) { // EVENT_TO_COLLECTOR
        collector_receive(w, c, e->data);
        e->data = NULL;
    }
}

static void handle(struct world *w, struct event *e)
{
    switch ((enum event_kind)e->kind) {
    case EVENT_WINDOW:
    case EVENT_SENSOR_TIMER:
    case EVENT_SENSOR_START:
    case EVENT_CONNECTED:
    case EVENT_LINK_LOST:
    case EVENT_TO_SENSOR:
        sensor_event(w, e);
        break;
    case EVENT_COLLECTOR_START:
    case EVENT_WRITER:
    case EVENT_TO_COLLECTOR:
        collector_event(w, e);
        break;
    case EVENT_TX_ORPHAN:
        writer_tx_orphan(w, e->data);
        e->data = NULL;
        break;
    case EVENT_DATABASE_UP:
        database_up(w);
        break;
    case EVENT_FAULT:
        fault_strike(w);
        break;
    case EVENT_HEAL:
        if (!w->quiet)
            fault_heal(w, (enum fault_kind)e->epoch, e->who);
        break;
    case EVENT_QUIET:
        fault_end_all(w);
        break;
    }
}

static bool is_done(const struct world *w)
{
    if (!w->quiet || w->now < w->quiet_at + LAST_WINDOWS * MINUTE + MINUTE)
        return false;
    for (uint32_t i = 0; i < w->n_sensors; i++) {
        if (!sensor_is_done(w, &w->sensors[i]))
            return false;
    }
    return true;
}

static void check_progress(struct world *w, uint64_t events)
{
    for (uint32_t i = 0; i < w->n_sensors && w->now > w->quiet_at + QUIET_MAX; i++) {
        const struct sensor_node *s = &w->sensors[i];
        struct sender_state state;
        sender_state(s->sender, &state);
        if (!sensor_is_done(w, s))
            world_fail(w,
                       "sensor %u: %lld minutes without faults, but of %llu only %llu are "
                       "acknowledged",
                       i, (long long)((w->now - w->quiet_at) / MINUTE),
                       (unsigned long long)s->spool.next - 1, (unsigned long long)state.acked);
    }
    uint64_t windows = (uint64_t)(w->now / MINUTE - 999) * w->n_sensors;
    if (events > EVENTS_PER_WINDOW * (windows + 100))
        world_fail(w, "livelock: %llu events in %llu windows", (unsigned long long)events,
                   (unsigned long long)windows);
}

static void run(struct world *w)
{
    uint64_t events = 0;
    while (!w->failed && w->heap.n > 0) {
        struct event e = heap_pop(&w->heap);
        w->now = e.at;
        handle(w, &e);
        if (e.data)
            free_data(&e);
        events++;
        if (events % 1024 == 0 || w->quiet)
            check_progress(w, events);
        if (w->quiet && is_done(w))
            break;
    }
    w->tally->events += events;
    if (w->failed)
        return;
    w->tally->longest_quiet = MAX(w->tally->longest_quiet, w->now - w->quiet_at);
    truth_check_end(w);
}

bool world_run(uint64_t seed, const struct world_options *options, struct tally *tally,
               char ret_failure[512])
{
    struct world *w = calloc(1, sizeof *w);
    if (!w) {
        snprintf(ret_failure, 512, "out of memory");
        return false;
    }
    w->seed = seed;
    w->rng.state = seed;
    w->tally = tally;
    w->trace = options->trace;
    w->leftovers = options->leftovers;
    w->again = options->again;
    rng_next(&w->rng);
    if (set_up(w) < 0)
        world_fail(w, "out of memory");
    run(w);
    bool good = !w->failed;
    if (!good)
        snprintf(ret_failure, 512, "at %.3f s: %s", (double)w->now / 1000, w->failure);
    tally->worlds++;
    tear_down(w);
    free(w);
    return good;
}
