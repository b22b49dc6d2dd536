#include "tests/sim/ledger.h"

#include <string.h>

#define UNSURE_MS (20 * 60 * 1000) // as in collector/group.c

int ledger_new(uint32_t n_sensors, struct ledger **ret)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->sensors = calloc(n_sensors, sizeof *l->sensors);
    if (!l->sensors) {
        free(l);
        return -ENOMEM;
    }
    l->n_sensors = n_sensors;
    *ret = l;
    return 0;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    for (uint32_t i = 0; i < l->n_sensors; i++) {
        for (size_t k = 0; k < l->sensors[i].n; k++)
            free(l->sensors[i].streams[k].rows);
        free(l->sensors[i].streams);
        free(l->sensors[i].holders);
    }
    free(l->sensors);
    free(l);
}

static int copy_stream(const struct ledger_stream *from, struct ledger_stream *to)
{
    *to = *from;
    to->locked_by = 0;
    to->rows = NULL;
    to->room = from->next_seq - 1;
    if (to->room == 0)
        return 0;
    to->rows = malloc(to->room * sizeof *to->rows);
    if (!to->rows)
        return -ENOMEM;
    memcpy(to->rows, from->rows, to->room * sizeof *to->rows);
    return 0;
}

int ledger_copy(const struct ledger *l, struct ledger **ret)
{
    _cleanup_(ledger_freep) struct ledger *copy = NULL;
    int r = ledger_new(l->n_sensors, &copy);
    if (r == 0)
        copy->commits = l->commits;
    for (uint32_t i = 0; i < l->n_sensors && r == 0; i++) {
        const struct ledger_sensor *from = &l->sensors[i];
        struct ledger_sensor *to = &copy->sensors[i];
        to->streams = calloc(from->n + 1, sizeof *to->streams);
        to->holders = calloc(from->n_holders + 1, sizeof *to->holders);
        if (!to->streams || !to->holders)
            return -ENOMEM;
        to->n_holders = from->n_holders;
        if (from->n_holders > 0)
            memcpy(to->holders, from->holders, from->n_holders * sizeof *to->holders);
        for (size_t k = 0; k < from->n && r == 0; k++) {
            if (from->streams[k].exists)
                r = copy_stream(&from->streams[k], &to->streams[to->n++]);
        }
    }
    if (r < 0)
        return r;
    *ret = copy;
    copy = NULL;
    return 0;
}

struct ledger_stream *ledger_find(const struct ledger *l, uint32_t sensor, uint32_t spool)
{
    const struct ledger_sensor *s = &l->sensors[sensor];
    for (size_t k = s->n; k-- > 0;) {
        if (s->streams[k].spool == spool)
            return &s->streams[k];
    }
    return NULL;
}

static int stream_for(struct ledger *l, uint32_t sensor, uint32_t spool, struct ledger_stream **ret)
{
    *ret = ledger_find(l, sensor, spool);
    if (*ret)
        return 0;
    struct ledger_sensor *s = &l->sensors[sensor];
    struct ledger_stream *streams = realloc(s->streams, (s->n + 1) * sizeof *streams);
    if (!streams)
        return -ENOMEM;
    s->streams = streams;
    *ret = &streams[s->n++];
    **ret = (struct ledger_stream){.spool = spool, .next_seq = 1};
    return 0;
}

uint64_t ledger_next_seq(const struct ledger *l, uint32_t sensor, uint32_t spool)
{
    const struct ledger_stream *s = ledger_find(l, sensor, spool);
    return s && s->exists ? s->next_seq : 1;
}

int64_t ledger_last_window(const struct ledger *l, uint32_t sensor, int64_t until)
{
    const struct ledger_stream *last = NULL;
    for (size_t k = 0; k < l->sensors[sensor].n; k++) {
        const struct ledger_stream *s = &l->sensors[sensor].streams[k];
        if (s->last_window != 0 &&
            (!last || s->commit > last->commit ||
             (s->commit == last->commit && s->last_window > last->last_window)))
            last = s;
    }
    if (!last)
        return 0;
    return last->last_window < until ? last->last_window : until - UNSURE_MS;
}

const struct row *ledger_row(const struct ledger *l, uint32_t sensor, uint32_t spool, uint64_t seq)
{
    const struct ledger_stream *s = ledger_find(l, sensor, spool);
    if (!s || !s->exists || seq == 0 || seq >= s->next_seq)
        return NULL;
    const struct row *row = &s->rows[seq - 1];
    return row->kind == ROW_NONE ? NULL : row;
}

bool ledger_knows(const struct ledger *l, uint32_t sensor, uint32_t spool, uint32_t content)
{
    const struct ledger_sensor *s = &l->sensors[sensor];
    return content > 0 && content <= s->n_holders && s->holders[content - 1] != 0 &&
           s->holders[content - 1] != spool;
}

static int hold(struct ledger_sensor *s, uint32_t spool, const struct row *row)
{
    if (row->kind != ROW_COMMITTED && row->kind != ROW_LOST)
        return 0;
    if (row->content > s->n_holders) {
        size_t n = MAX(2 * s->n_holders, row->content + 15);
        uint32_t *holders = realloc(s->holders, n * sizeof *holders);
        if (!holders)
            return -ENOMEM;
        memset(holders + s->n_holders, 0, (n - s->n_holders) * sizeof *holders);
        s->holders = holders;
        s->n_holders = n;
    }
    if (row->content > 0)
        s->holders[row->content - 1] = spool;
    return 0;
}

// ---- transactions

void tx_clear(struct tx *t)
{
    t->n_moves = t->n_rows = t->n_locked = 0;
}

void tx_release(struct tx *t)
{
    free(t->moves);
    free(t->rows);
}

int tx_add_move(struct tx *t, struct ledger_move move)
{
    if (t->n_moves == t->room_moves) {
        size_t room = 2 * t->room_moves + 4;
        struct ledger_move *moves = realloc(t->moves, room * sizeof *moves);
        if (!moves)
            return -ENOMEM;
        t->moves = moves;
        t->room_moves = room;
    }
    t->moves[t->n_moves++] = move;
    return 0;
}

int tx_add_row(struct tx *t, struct tx_row row)
{
    if (t->n_rows == t->room_rows) {
        size_t room = 2 * t->room_rows + 16;
        struct tx_row *rows = realloc(t->rows, room * sizeof *rows);
        if (!rows)
            return -ENOMEM;
        t->rows = rows;
        t->room_rows = room;
    }
    t->rows[t->n_rows++] = row;
    return 0;
}

int tx_upsert(struct tx *t, struct ledger *l)
{
    bool stale = false;
    for (; t->n_locked < t->n_moves; t->n_locked++) {
        struct ledger_move *m = &t->moves[t->n_locked];
        struct ledger_stream *s;
        int r = stream_for(l, m->sensor, m->spool, &s);
        if (r < 0)
            return r;
        if (s->locked_by != 0 && s->locked_by != t->id)
            return TX_WAIT;
        s->locked_by = t->id;
        m->advanced = s->exists ? s->next_seq == m->from : m->from == 1;
    }
    for (size_t i = 0; i < t->n_moves; i++)
        stale |= !t->moves[i].advanced;
    return stale ? TX_STALE : 0;
}

static int make_room(struct ledger_stream *s, uint64_t next)
{
    if (next - 1 <= s->room)
        return 0;
    size_t room = MAX(2 * s->room, next + 15);
    struct row *rows = realloc(s->rows, room * sizeof *rows);
    if (!rows)
        return -ENOMEM;
    s->rows = rows;
    s->room = room;
    return 0;
}

int tx_commit(struct tx *t, struct ledger *l)
{
    l->commits++;
    for (size_t i = 0; i < t->n_moves; i++) {
        struct ledger_move *m = &t->moves[i];
        struct ledger_stream *s = ledger_find(l, m->sensor, m->spool);
        int r = make_room(s, m->next);
        if (r < 0)
            return r;
        memset(&s->rows[m->from - 1], 0, (m->next - m->from) * sizeof *s->rows);
        s->exists = true;
        s->next_seq = m->next;
        s->last_window = m->last_window;
        s->commit = l->commits;
        s->locked_by = 0;
    }
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct tx_row *row = &t->rows[i];
        ledger_find(l, row->sensor, row->spool)->rows[row->seq - 1] = row->row;
        int r = hold(&l->sensors[row->sensor], row->spool, &row->row);
        if (r < 0)
            return r;
    }
    t->n_locked = 0;
    return 0;
}

void tx_rollback(struct tx *t, struct ledger *l)
{
    for (size_t i = 0; i < t->n_moves; i++) {
        struct ledger_stream *s = ledger_find(l, t->moves[i].sensor, t->moves[i].spool);
        if (s && s->locked_by == t->id)
            s->locked_by = 0;
    }
    t->n_locked = 0;
}
