// What was counted and where it is: the promises, checked.
#include <string.h>

#include "tests/sim/world.h"

static int grow(struct truth *t)
{
    uint32_t room = 2 * t->room + 256;
    int64_t *made = realloc(t->made, room * sizeof *made);
    if (!made)
        return -ENOMEM;
    t->made = made;
    uint8_t *counted = realloc(t->counted, room * sizeof *counted);
    if (!counted)
        return -ENOMEM;
    t->counted = counted;
    uint32_t *forgotten = realloc(t->forgotten, room * sizeof *forgotten);
    if (!forgotten)
        return -ENOMEM;
    t->forgotten = forgotten;
    t->room = room;
    return 0;
}

int truth_add(struct sensor_node *s, int64_t made)
{
    struct truth *t = &s->truth;
    if (t->n == t->room && grow(t) < 0)
        return -ENOMEM;
    t->made[t->n] = made;
    t->counted[t->n] = 0;
    t->forgotten[t->n] = 0;
    t->n++;
    return 0;
}

void truth_release(struct sensor_node *s)
{
    free(s->truth.made);
    free(s->truth.counted);
    free(s->truth.forgotten);
    free(s->declared);
}

static void declare(struct world *w, struct sensor_node *s, int64_t lo, int64_t hi)
{
    if (s->n_declared == s->room_declared) {
        size_t room = 2 * s->room_declared + 16;
        struct interval *declared = realloc(s->declared, room * sizeof *declared);
        if (!declared) {
            world_fail(w, "out of memory");
            return;
        }
        s->declared = declared;
        s->room_declared = room;
    }
    s->declared[s->n_declared++] = (struct interval){.lo = lo, .hi = hi};
}

static void count_row(struct world *w, uint32_t sensor, const struct row *row)
{
    struct sensor_node *s = &w->sensors[sensor];
    if (row->kind == ROW_UNKNOWN) {
        TRACE(w, "database: (%lld, %lld] of sensor %u is declared unknown", (long long)row->lo,
              (long long)row->hi, sensor);
        declare(w, s, row->lo, row->hi);
    } else if (row->kind != ROW_NONE && row->kind != ROW_KNOWN &&
               ++s->truth.counted[row->content - 1] > 1) {
        world_fail(w, "sensor %u: batch %u is in the database twice", sensor, row->content);
    }
}

void truth_committed(struct world *w, const struct tx *t)
{
    for (size_t i = 0; i < t->n_rows && !w->unchecked; i++)
        count_row(w, t->rows[i].sensor, &t->rows[i].row);
}

void truth_restored(struct world *w)
{
    for (uint32_t i = 0; i < w->n_sensors; i++) {
        struct sensor_node *s = &w->sensors[i];
        if (s->truth.n > 0)
            memset(s->truth.counted, 0, s->truth.n * sizeof *s->truth.counted);
        s->n_declared = 0;
        const struct ledger_sensor *l = &w->db.ledger->sensors[i];
        for (size_t k = 0; k < l->n; k++) {
            for (uint64_t seq = 1; l->streams[k].exists && seq < l->streams[k].next_seq; seq++)
                count_row(w, i, &l->streams[k].rows[seq - 1]);
        }
    }
}

static bool is_declared(const struct sensor_node *s, int64_t t)
{
    for (size_t i = s->n_declared; i-- > 0;) {
        if (s->declared[i].lo < t && t <= s->declared[i].hi)
            return true;
    }
    return false;
}

static bool batch_held(const struct sensor_node *s, uint32_t content)
{
    return s->truth.counted[content - 1] > 0 || is_declared(s, s->truth.made[content - 1]);
}

uint32_t truth_missing(const struct sensor_node *s, const struct entry *e)
{
    if (e->kind != ENTRY_UNKNOWN)
        return batch_held(s, e->content) ? 0 : e->content;
    // Batches are in order of time: from the last before hi back to lo.
    for (uint32_t n = s->truth.n; n > 0 && s->truth.made[n - 1] > e->lo; n--) {
        if (s->truth.made[n - 1] <= e->hi && !batch_held(s, n) && s->truth.forgotten[n - 1] == 0)
            return n;
    }
    return 0;
}

static void check_batch(struct world *w, const struct sensor_node *s, uint32_t n)
{
    const struct truth *t = &s->truth;
    if (t->counted[n - 1] > 0)
        return;
    if (is_declared(s, t->made[n - 1]))
        w->tally->unknown++;
    else if (t->forgotten[n - 1] > 0 && w->db.epoch >= t->forgotten[n - 1])
        w->tally->forgotten++;
    else
        world_fail(w, "sensor %u: batch %u of %lld is neither in the database nor declared",
                   s->number, n, (long long)t->made[n - 1]);
}

void truth_check_end(struct world *w)
{
    for (uint32_t i = 0; i < w->n_sensors; i++) {
        const struct sensor_node *s = &w->sensors[i];
        for (uint32_t n = 1; n <= s->truth.n; n++)
            check_batch(w, s, n);
        w->tally->batches += s->truth.n;
        w->tally->evicted += s->spool.evicted;
        w->tally->merged += s->spool.merged;
        const struct ledger_sensor *l = &w->db.ledger->sensors[i];
        for (size_t k = 0; k < l->n; k++) {
            for (uint64_t seq = 1; l->streams[k].exists && seq < l->streams[k].next_seq; seq++) {
                w->tally->committed += l->streams[k].rows[seq - 1].kind == ROW_COMMITTED;
                w->tally->lost += l->streams[k].rows[seq - 1].kind == ROW_LOST;
            }
        }
    }
}
