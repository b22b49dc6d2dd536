#include "collector/ledger.h"

#include <endian.h>
#include <string.h>

#include "collector/array.h"

enum { SENSOR, SPOOL, FROM, NEXT, WINDOW, RUN, FRAMES, KERNEL, INTERFACE, COLUMNS };

struct ledger {
    struct array columns[COLUMNS];
};

int ledger_new(struct ledger **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    array_release(l->columns, COLUMNS);
    free(l);
}

static int64_t to_bigint(uint64_t v)
{
    return (int64_t)MIN(v, (uint64_t)INT64_MAX);
}

static int by_stream(const void *a, const void *b)
{
    const struct stream *x = *(struct stream *const *)a, *y = *(struct stream *const *)b;
    if (x->sensor_id != y->sensor_id)
        return x->sensor_id < y->sensor_id ? -1 : 1;
    return memcmp(x->spool_id, y->spool_id, WIRE_SPOOL_ID_SIZE);
}

static void add_move(struct array columns[COLUMNS], const struct stream *s)
{
    const struct wire_header *h = &s->last->header;
    array_int2(&columns[SENSOR], s->sensor_id);
    array_uuid(&columns[SPOOL], s->spool_id);
    array_int8(&columns[FROM], (int64_t)s->from);
    array_int8(&columns[NEXT], (int64_t)s->through + 1);
    if (message_has_windows(s->last))
        array_int8(&columns[WINDOW], h->last_window_ms);
    else
        array_null(&columns[WINDOW]);
    array_int8(&columns[RUN], (int64_t)h->run_id);
    array_int8(&columns[FRAMES], to_bigint(h->counters.frames));
    array_int8(&columns[KERNEL], to_bigint(h->counters.kernel_dropped));
    array_int8(&columns[INTERFACE], to_bigint(h->counters.interface_dropped));
}

// Advances a row only where it still says what we think, in key order, and never for a revoked
// sensor.
static const struct db_statement advance = {
    "advance",
    "insert into hirundo.ledger as l (sensor_id, spool_id, from_seq, next_seq, first_at, "
    "last_batch_at, last_window, run_id, frames, kernel_dropped, if_dropped) "
    "select u.s, u.p, u.f, u.n, now(), now(), timestamptz 'epoch' + u.w * interval '1 ms', u.r, "
    "u.c, u.k, u.i from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::bigint[], "
    "$5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) "
    "u(s, p, f, n, w, r, c, k, i) join hirundo.sensor x on x.sensor_id = u.s and x.revoked_at is "
    "null order by u.s, u.p "
    "on conflict (sensor_id, spool_id) do update set from_seq = excluded.from_seq, "
    "next_seq = excluded.next_seq, last_batch_at = excluded.last_batch_at, "
    "last_window = coalesce(excluded.last_window, l.last_window), run_id = excluded.run_id, "
    "frames = excluded.frames, kernel_dropped = excluded.kernel_dropped, "
    "if_dropped = excluded.if_dropped where l.next_seq = excluded.from_seq "
    "returning l.sensor_id, l.spool_id, l.xmax = 0",
    true};

// Which streams the database did advance; a new row must begin at 1.
static int check_moves(struct stream **moves, size_t n, const PGresult *result)
{
    size_t good = 0;
    for (size_t i = 0; i < n; i++)
        moves[i]->stale = true;
    for (int k = 0; k < PQntuples(result); k++) {
        struct stream wanted = {0};
        uint16_t sensor;
        memcpy(&sensor, PQgetvalue(result, k, 0), sizeof sensor);
        wanted.sensor_id = (int16_t)be16toh(sensor);
        memcpy(wanted.spool_id, PQgetvalue(result, k, 1), WIRE_SPOOL_ID_SIZE);
        const struct stream *key = &wanted;
        struct stream **found = bsearch(&key, moves, n, sizeof(struct stream *), by_stream);
        bool is_new = *PQgetvalue(result, k, 2) != 0;
        if (!found || (is_new && (*found)->from != 1))
            continue;
        (*found)->stale = false;
        good++;
    }
    return good == n ? 0 : GROUP_STALE;
}

int ledger_advance(struct ledger *l, struct stream **moves, size_t n, struct db *db,
                   struct errmsg *e)
{
    const char *values[COLUMNS];
    int lengths[COLUMNS];
    qsort(moves, n, sizeof(struct stream *), by_stream);
    for (size_t k = 0; k < COLUMNS; k++)
        array_begin(&l->columns[k], k == SENSOR  ? ARRAY_INT2
                                    : k == SPOOL ? ARRAY_UUID
                                                 : ARRAY_INT8);
    for (size_t i = 0; i < n; i++)
        add_move(l->columns, moves[i]);
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = array_end(l->columns, COLUMNS, values, lengths);
    if (r == 0)
        r = db_execute(db, &advance, COLUMNS, values, lengths, &result, e);
    return r == 0 ? check_moves(moves, n, result) : r;
}
