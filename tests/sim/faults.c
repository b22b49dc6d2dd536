// What goes wrong, and how it ends.
#include "tests/sim/world.h"

const char *const fault_names[FAULT_KINDS] = {
    [FAULT_CUT] = "connection cut",
    [FAULT_STALL] = "connection stalled",
    [FAULT_SLOW] = "slow network",
    [FAULT_LOSE_REPLIES] = "replies lost",
    [FAULT_DROPS] = "collector out of memory",
    [FAULT_SENSOR_CRASH] = "sensor killed",
    [FAULT_SENSOR_STOP] = "sensor stopped",
    [FAULT_DISK_FULL] = "spool's disk full",
    [FAULT_SPOOL_DAMAGED] = "spool damaged",
    [FAULT_SNAPSHOT] = "snapshot of a sensor taken",
    [FAULT_OLD_COPY] = "sensor set back to its snapshot",
    [FAULT_COLLECTOR_CRASH] = "collector killed",
    [FAULT_POOR] = "credit 0",
    [FAULT_DB_CUT] = "a collector's database connection cut",
    [FAULT_DB_DOWN] = "database stopped",
    [FAULT_BACKUP] = "backup taken",
    [FAULT_RESTORE] = "database set back to its backup",
    [FAULT_REFUSE] = "transaction refused",
};

// How often each comes, of the sum of all.
static const uint8_t weights[FAULT_KINDS] = {
    [FAULT_CUT] = 10,         [FAULT_STALL] = 8,     [FAULT_SLOW] = 4,
    [FAULT_LOSE_REPLIES] = 4, [FAULT_DROPS] = 4,     [FAULT_SENSOR_CRASH] = 6,
    [FAULT_SENSOR_STOP] = 3,  [FAULT_DISK_FULL] = 3, [FAULT_SPOOL_DAMAGED] = 1,
    [FAULT_SNAPSHOT] = 4,     [FAULT_OLD_COPY] = 4,  [FAULT_COLLECTOR_CRASH] = 8,
    [FAULT_POOR] = 4,         [FAULT_DB_CUT] = 5,    [FAULT_DB_DOWN] = 5,
    [FAULT_BACKUP] = 4,       [FAULT_RESTORE] = 3,   [FAULT_REFUSE] = 8,
};

static enum fault_kind draw_kind(struct world *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < FAULT_KINDS; i++)
        sum += weights[i];
    uint64_t at = rng_below(&w->rng, sum);
    size_t i = 0;
    for (; at >= weights[i]; i++)
        at -= weights[i];
    return (enum fault_kind)i;
}

// Seconds to hours, mostly short.
static int64_t draw_duration(struct world *w)
{
    return rng_spread(&w->rng, 500, rng_one_in(&w->rng, 4) ? 6 * 60 * MINUTE : 10 * MINUTE);
}

// ---- the database

void database_down(struct world *w)
{
    if (!w->db.up)
        return;
    TRACE(w, "database: down");
    w->db.up = false;
    w->db.session++;
    const struct ledger *l = w->db.ledger;
    for (uint32_t i = 0; i < l->n_sensors; i++) {
        for (size_t k = 0; k < l->sensors[i].n; k++)
            l->sensors[i].streams[k].locked_by = 0;
    }
}

static void restore(struct world *w)
{
    struct ledger *back;
    if (ledger_copy(w->db.backup, &back) < 0) {
        world_fail(w, "out of memory");
        return;
    }
    TRACE(w, "database: set back to its backup");
    ledger_free(w->db.ledger);
    w->db.ledger = back;
    w->db.epoch++;
    truth_restored(w);
}

void database_up(struct world *w)
{
    if (w->db.up)
        return;
    if (w->db.restore)
        restore(w);
    w->db.restore = false;
    w->db.up = true;
    TRACE(w, "database: up");
}

static void back_up(struct world *w)
{
    struct ledger *copy;
    if (!w->db.up)
        return;
    if (ledger_copy(w->db.ledger, &copy) < 0) {
        world_fail(w, "out of memory");
        return;
    }
    ledger_free(w->db.backup);
    w->db.backup = copy;
    TRACE(w, "database: backup taken");
}

// ---- one fault

static void heal_later(struct world *w, enum fault_kind kind, uint32_t who)
{
    world_post(w, w->now + draw_duration(w), EVENT_HEAL, who, kind, NULL);
}

static bool hurt_sensor(struct world *w, struct sensor_node *s, enum fault_kind kind)
{
    uint32_t endpoint = (uint32_t)rng_below(&w->rng, w->n_collectors);
    switch (kind) {
    case FAULT_CUT:
        if (s->route == 0)
            return false;
        world_post(w, w->now, EVENT_LINK_LOST, s->number, s->route, NULL);
        return true;
    case FAULT_STALL:
        s->stalled_until[endpoint] = w->now + draw_duration(w);
        return true;
    case FAULT_SENSOR_CRASH:
        if (!s->running)
            return false;
        sensor_crash(w, s, draw_duration(w));
        return true;
    case FAULT_SENSOR_STOP:
        if (!s->running)
            return false;
        sensor_stop(w, s, draw_duration(w));
        return true;
    case FAULT_DISK_FULL:
        s->disk_full = true;
        heal_later(w, kind, s->number);
        return true;
    case FAULT_SPOOL_DAMAGED:
        if (!s->running || s->disk_full)
            return false;
        sensor_damage(w, s);
        return true;
    case FAULT_SNAPSHOT:
        // Of a running machine: a copy made after a clean end does not know that it ever went on.
        // And not of one that was set back and has not told of it yet.
        if (!s->running || (s->unsettled && !w->again))
            return false;
        sensor_snapshot(w, s);
        return true;
    default: // FAULT_OLD_COPY
        if (!s->has_snapshot || (!w->again && s->snapshot.id != s->spool.id))
            return false;
        // A machine is not set back within the time that messages may still be on their way.
        sensor_old_copy(w, s, 3 * MINUTE + draw_duration(w));
        return true;
    }
}

static bool hurt_collector(struct world *w, struct collector_node *c, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_COLLECTOR_CRASH:
        if (!c->running)
            return false;
        collector_crash(w, c, draw_duration(w));
        return true;
    case FAULT_POOR:
        c->poor = true;
        break;
    case FAULT_DROPS:
        c->drops = true;
        break;
    case FAULT_DB_CUT:
        c->db_cut = true;
        break;
    default: // FAULT_REFUSE
        c->refuse = true;
        return true;
    }
    heal_later(w, kind, c->number);
    return true;
}

static bool hurt_database(struct world *w, enum fault_kind kind)
{
    if (kind == FAULT_BACKUP) {
        back_up(w);
        return w->db.up;
    }
    if (!w->db.up || (kind == FAULT_RESTORE && !w->db.backup))
        return false;
    w->db.restore = kind == FAULT_RESTORE;
    database_down(w);
    world_post(w, w->now + draw_duration(w), EVENT_DATABASE_UP, 0, 0, NULL);
    return true;
}

static bool hurt(struct world *w, enum fault_kind kind)
{
    struct sensor_node *s = &w->sensors[rng_below(&w->rng, w->n_sensors)];
    struct collector_node *c = &w->collectors[rng_below(&w->rng, w->n_collectors)];
    switch (kind) {
    case FAULT_SLOW:
        w->slow_until = w->now + draw_duration(w);
        return true;
    case FAULT_LOSE_REPLIES:
        w->lossy_until = w->now + draw_duration(w);
        return true;
    case FAULT_COLLECTOR_CRASH:
    case FAULT_POOR:
    case FAULT_DROPS:
    case FAULT_DB_CUT:
    case FAULT_REFUSE:
        return hurt_collector(w, c, kind);
    case FAULT_DB_DOWN:
    case FAULT_BACKUP:
    case FAULT_RESTORE:
        return hurt_database(w, kind);
    default:
        return hurt_sensor(w, s, kind);
    }
}

void fault_strike(struct world *w)
{
    if (w->quiet)
        return;
    enum fault_kind kind = draw_kind(w);
    TRACE(w, "fault: %s", fault_names[kind]);
    if (hurt(w, kind))
        w->tally->faults[kind]++;
    world_post(w, w->now + 1 + (int64_t)rng_below(&w->rng, 2 * (uint64_t)w->fault_every),
               EVENT_FAULT, 0, 0, NULL);
}

void fault_heal(struct world *w, enum fault_kind kind, uint32_t who)
{
    TRACE(w, "over: %s (%u)", fault_names[kind], who);
    if (kind == FAULT_DISK_FULL)
        sensor_disk_works(w, &w->sensors[who]);
    else if (kind == FAULT_POOR)
        w->collectors[who].poor = false;
    else if (kind == FAULT_DROPS)
        w->collectors[who].drops = false;
    else if (kind == FAULT_DB_CUT)
        w->collectors[who].db_cut = false;
}

void fault_end_all(struct world *w)
{
    TRACE(w, "all faults end");
    w->quiet = true;
    w->slow_until = w->lossy_until = 0;
    database_up(w);
    for (uint32_t i = 0; i < w->n_collectors; i++) {
        struct collector_node *c = &w->collectors[i];
        c->poor = c->drops = c->db_cut = c->refuse = false;
        if (!c->running)
            collector_start(w, c);
    }
    for (uint32_t i = 0; i < w->n_sensors; i++) {
        struct sensor_node *s = &w->sensors[i];
        for (uint32_t k = 0; k < w->n_collectors; k++)
            s->stalled_until[k] = 0;
        sensor_disk_works(w, s);
        if (!s->running)
            sensor_start(w, s);
    }
}
