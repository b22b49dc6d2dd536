// A collector: what collector/listener.c does, and its life and death.
#include <string.h>

#include "tests/sim/world.h"

#define CREDIT_SENSOR 2000000 // bytes in flight
#define CREDIT_BATCH  400000

int collector_init(struct world *w, struct collector_node *c)
{
    c->budget = rng_spread(&w->rng, 1000000, 64000000);
    c->group_max = (uint32_t)rng_between(&w->rng, 1, ITEMS_MAX);
    c->running = c->db_ok = c->connection = true;
    c->db_session = w->db.session;
    return 0;
}

static void forget_messages(struct collector_node *c)
{
    for (size_t i = 0; i < c->queue_n; i++)
        free(c->queue[(c->queue_first + i) % c->queue_room]);
    c->queue_n = c->queue_first = 0;
    c->used = 0;
}

void collector_release(struct collector_node *c)
{
    forget_messages(c);
    writer_release(c);
    free(c->queue);
}

static int push(struct collector_node *c, struct sim_message *m)
{
    if (c->queue_n == c->queue_room) {
        size_t room = 2 * c->queue_room + 64;
        struct sim_message **queue = calloc(room, sizeof(struct sim_message *));
        if (!queue)
            return -ENOMEM;
        for (size_t i = 0; i < c->queue_n; i++)
            queue[i] = c->queue[(c->queue_first + i) % c->queue_room];
        free(c->queue);
        c->queue = queue;
        c->queue_room = room;
        c->queue_first = 0;
    }
    c->queue[(c->queue_first + c->queue_n++) % c->queue_room] = m;
    return 0;
}

struct sim_message *collector_pop(struct collector_node *c)
{
    if (c->queue_n == 0)
        return NULL;
    struct sim_message *m = c->queue[c->queue_first];
    c->queue_first = (c->queue_first + 1) % c->queue_room;
    c->queue_n--;
    return m;
}

bool collector_holds(const struct collector_node *c, uint32_t sensor)
{
    for (size_t i = 0; i < c->queue_n; i++) {
        if (c->queue[(c->queue_first + i) % c->queue_room]->sensor == sensor)
            return true;
    }
    for (uint32_t i = 0; i < c->n_items; i++) {
        if (c->items[i].m && c->items[i].m->sensor == sensor)
            return true;
    }
    return false;
}

static uint64_t credit(const struct collector_node *c)
{
    int64_t left = c->budget - c->used;
    if (c->poor || left < CREDIT_BATCH)
        return 0;
    return left < c->budget / 2 ? CREDIT_BATCH : CREDIT_SENSOR;
}

void collector_reply(struct world *w, struct collector_node *c, const struct sim_message *m,
                     enum reply_kind kind, uint64_t number)
{
    struct sensor_node *s = &w->sensors[m->sensor];
    if (s->route != m->route || (w->now < w->lossy_until && rng_one_in(&w->rng, 3)))
        return; // the peer is gone, or does not read
    struct sim_reply *reply = malloc(sizeof *reply);
    if (!reply) {
        world_fail(w, "out of memory");
        return;
    }
    *reply = (struct sim_reply){
        .kind = kind,
        .route = m->route,
        .spool = m->spool,
        .seq = m->first,
        .number = number,
        .credit = kind == REPLY_PONG && !c->db_ok ? 0 : credit(c),
        .db_epoch = w->db.epoch,
    };
    int64_t at = MAX(w->now, s->stalled_until[c->number]) + world_delay(w);
    s->last_arrival_down = MAX(at, s->last_arrival_down);
    world_post(w, s->last_arrival_down, EVENT_TO_SENSOR, s->number, m->route, reply);
}

// Once in a while something from a connection that is gone comes a second time.
static void repeat(struct world *w, struct collector_node *c, const struct sim_message *m)
{
    if (w->sensors[m->sensor].route == m->route || !rng_one_in(&w->rng, 8))
        return;
    size_t size = sizeof *m + m->parts_n * sizeof m->parts[0];
    struct sim_message *copy = malloc(size);
    if (!copy) {
        world_fail(w, "out of memory");
        return;
    }
    memcpy(copy, m, size);
    world_post(w, w->now + world_delay(w), EVENT_TO_COLLECTOR, c->number, c->epoch, copy);
}

void collector_receive(struct world *w, struct collector_node *c, struct sim_message *m)
{
    if (!sensor_still_sends(w, &w->sensors[m->sensor], m->route)) {
        free(m);
        return;
    }
    if (m->kind == MESSAGE_PING) {
        collector_reply(w, c, m, REPLY_PONG, 0);
        free(m);
        return;
    }
    repeat(w, c, m);
    if (c->used + m->bytes > c->budget || (c->drops && rng_one_in(&w->rng, 4))) {
        TRACE(w, "collector %u: no memory for %llu of sensor %u", c->number,
              (unsigned long long)m->first, m->sensor);
        free(m);
        return;
    }
    c->used += m->bytes;
    if (push(c, m) < 0) {
        world_fail(w, "out of memory");
        free(m);
        return;
    }
    writer_wake(w, c);
}

void collector_crash(struct world *w, struct collector_node *c, int64_t down_ms)
{
    TRACE(w, "collector %u: crashes", c->number);
    writer_crash(w, c);
    forget_messages(c);
    c->running = false;
    c->epoch++;
    for (uint32_t i = 0; i < w->n_sensors; i++) {
        struct sensor_node *s = &w->sensors[i];
        // A process that dies closes its connections; a machine does not.
        if (s->route != 0 && s->endpoint == c->number && !rng_one_in(&w->rng, 3))
            world_post(w, w->now + world_delay(w), EVENT_LINK_LOST, i, s->route, NULL);
    }
    world_post(w, w->now + down_ms, EVENT_COLLECTOR_START, c->number, c->epoch, NULL);
}

void collector_start(struct world *w, struct collector_node *c)
{
    TRACE(w, "collector %u: starts", c->number);
    // A machine that comes back resets what it does not know.
    for (uint32_t i = 0; i < w->n_sensors; i++) {
        const struct sensor_node *s = &w->sensors[i];
        if (s->route != 0 && s->endpoint == c->number)
            world_post(w, w->now + world_delay(w), EVENT_LINK_LOST, i, s->route, NULL);
    }
    c->running = c->db_ok = c->connection = true;
    c->db_session = w->db.session;
    c->state = WRITER_IDLE;
}
