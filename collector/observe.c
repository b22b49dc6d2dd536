#include "collector/observe.h"

#include <string.h>

#include "collector/array.h"
#include "collector/map.h"

#define HOUR_MS 3600000LL

enum {
    COVERED,
    FRAMES,
    ROWS,
    FLOOD,
    NON_IP,
    MALFORMED,
    QUARANTINED,
    LOST,
    KERNEL,
    INTERFACE,
    COUNTS
};

struct slot_key {
    int64_t slot_ms;
    int64_t sensor_id;
};

struct slot {
    struct slot_key key;
    int64_t counts[COUNTS];
};

struct observations {
    struct slot *slots;
    size_t n, size;
    struct map *index; // slot_key -> position
    struct array columns[COUNTS + 2];
};

int observations_new(struct observations **ret)
{
    struct observations *o = calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    if (map_new(sizeof(struct slot_key), &o->index) < 0) {
        free(o);
        return -ENOMEM;
    }
    *ret = o;
    return 0;
}

void observations_free(struct observations *o)
{
    if (!o)
        return;
    map_free(o->index);
    array_release(o->columns, ARRAY_SIZE(o->columns));
    free(o->slots);
    free(o);
}

void observations_clear(struct observations *o)
{
    o->n = 0;
    map_clear(o->index);
}

size_t observations_count(const struct observations *o)
{
    return o->n;
}

int64_t slot_of(int64_t ms)
{
    int64_t rest = ms % SLOT_MS;
    return ms - (rest < 0 ? rest + SLOT_MS : rest);
}

static int64_t hour_of(int64_t ms)
{
    int64_t rest = ms % HOUR_MS;
    return ms - (rest < 0 ? rest + HOUR_MS : rest);
}

static int get_slot(struct observations *o, int16_t sensor_id, int64_t slot_ms, struct slot **ret)
{
    struct slot_key key = {slot_ms, sensor_id};
    const uint32_t *at = map_get(o->index, &key);
    if (at) {
        *ret = &o->slots[*at];
        return 0;
    }
    if (o->n == o->size) {
        size_t size = o->size ? o->size * 2 : 256;
        struct slot *slots = realloc(o->slots, size * sizeof *slots);
        if (!slots)
            return -ENOMEM;
        o->slots = slots;
        o->size = size;
    }
    int r = map_put(o->index, &key, (uint32_t)o->n);
    if (r < 0)
        return r;
    *ret = &o->slots[o->n++];
    **ret = (struct slot){.key = key};
    return 0;
}

// Covered time of a run, slot by slot, in proportion to how much of the run lies in each.
static int spread_run(struct observations *o, int16_t sensor_id, const struct window_record *r,
                      uint32_t window_ms)
{
    int64_t length = (int64_t)r->windows * window_ms;
    int64_t end = r->start_ms + length;
    int64_t given = 0;
    for (int64_t slot_ms = slot_of(r->start_ms); slot_ms < end; slot_ms += SLOT_MS) {
        int64_t passed = MIN(slot_ms + SLOT_MS, end) - r->start_ms;
        int64_t due = (int64_t)((__int128)r->covered_ms * passed / length);
        struct slot *slot;
        int bad = get_slot(o, sensor_id, slot_ms, &slot);
        if (bad < 0)
            return bad;
        slot->counts[COVERED] += due - given;
        given = due;
    }
    return 0;
}

int observations_add(struct observations *o, int16_t sensor_id, const struct window_record *r,
                     uint32_t window_ms)
{
    if (r->windows > 1)
        return spread_run(o, sensor_id, r, window_ms);
    struct slot *slot;
    int bad = get_slot(o, sensor_id, slot_of(r->start_ms), &slot);
    if (bad < 0)
        return bad;
    slot->counts[COVERED] += r->covered_ms;
    slot->counts[FRAMES] += (int64_t)r->frames;
    slot->counts[ROWS] += (int64_t)r->row_packets;
    slot->counts[FLOOD] += (int64_t)r->flood_packets;
    slot->counts[NON_IP] += (int64_t)r->non_ip;
    slot->counts[MALFORMED] += (int64_t)r->malformed;
    slot->counts[KERNEL] += (int64_t)r->kernel_dropped;
    slot->counts[INTERFACE] += (int64_t)r->interface_dropped;
    return 0;
}

int observations_add_lost(struct observations *o, int16_t sensor_id, const struct window_record *r)
{
    if (r->frames == 0 && r->kernel_dropped == 0 && r->interface_dropped == 0)
        return 0; // a run of empty windows, too
    struct slot *slot;
    int bad = get_slot(o, sensor_id, slot_of(r->start_ms), &slot);
    if (bad < 0)
        return bad;
    slot->counts[FRAMES] += (int64_t)r->frames;
    slot->counts[LOST] += (int64_t)r->frames;
    slot->counts[KERNEL] += (int64_t)r->kernel_dropped;
    slot->counts[INTERFACE] += (int64_t)r->interface_dropped;
    return 0;
}

int observations_add_quarantined(struct observations *o, int16_t sensor_id, int64_t at_ms,
                                 int64_t frames)
{
    struct slot *slot;
    int bad = get_slot(o, sensor_id, slot_of(at_ms), &slot);
    if (bad < 0)
        return bad;
    slot->counts[FRAMES] += frames;
    slot->counts[QUARANTINED] += frames;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct slot_key *x = &((const struct slot *)a)->key, *y = &((const struct slot *)b)->key;
    if (x->sensor_id != y->sensor_id)
        return x->sensor_id < y->sensor_id ? -1 : 1;
    return x->slot_ms < y->slot_ms ? -1 : x->slot_ms > y->slot_ms;
}

static const struct db_statement upsert = {
    "observe",
    "insert into hirundo.observation as o (sensor_id, slot, covered_ms, frames, row_packets, "
    "flood_packets, non_ip, malformed, quarantined, lost, kernel_dropped, if_dropped) "
    "select s, timestamptz 'epoch' + t * interval '1 ms', c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 "
    "from unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
    "$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], "
    "$12::bigint[]) u(s, t, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9) order by s, t "
    "on conflict (sensor_id, slot) do update set "
    "covered_ms = o.covered_ms + excluded.covered_ms, frames = o.frames + excluded.frames, "
    "row_packets = o.row_packets + excluded.row_packets, "
    "flood_packets = o.flood_packets + excluded.flood_packets, "
    "non_ip = o.non_ip + excluded.non_ip, malformed = o.malformed + excluded.malformed, "
    "quarantined = o.quarantined + excluded.quarantined, lost = o.lost + excluded.lost, "
    "kernel_dropped = o.kernel_dropped + excluded.kernel_dropped, "
    "if_dropped = o.if_dropped + excluded.if_dropped",
    false};

// Sends the arrays.
static int execute(struct observations *o, const struct db_statement *statement, size_t n,
                   struct db *db, struct errmsg *e)
{
    const char *values[ARRAY_SIZE(o->columns)];
    int lengths[ARRAY_SIZE(o->columns)];
    int r = array_end(o->columns, n, values, lengths);
    return r == 0 ? db_execute(db, statement, (int)n, values, lengths, NULL, e) : r;
}

static int write_part(struct observations *o, size_t from, size_t n, struct db *db,
                      struct errmsg *e)
{
    for (size_t k = 0; k < ARRAY_SIZE(o->columns); k++)
        array_begin(&o->columns[k], k == 0 ? ARRAY_INT2 : ARRAY_INT8);
    for (size_t i = from; i < from + n; i++) {
        const struct slot *slot = &o->slots[i];
        array_int2(&o->columns[0], (int16_t)slot->key.sensor_id);
        array_int8(&o->columns[1], slot->key.slot_ms);
        for (size_t k = 0; k < COUNTS; k++)
            array_int8(&o->columns[k + 2], slot->counts[k]);
    }
    return execute(o, &upsert, ARRAY_SIZE(o->columns), db, e);
}

static const struct db_statement mark = {
    "mark",
    "insert into hirundo.dirty as d (sensor_id, hour, gen) "
    "select s, timestamptz 'epoch' + t * interval '1 ms', 1 "
    "from unnest($1::smallint[], $2::bigint[]) u(s, t) order by s, t "
    "on conflict (sensor_id, hour) do update set gen = d.gen + 1",
    false};

// Marks the hours of slots that brought rows or observed time; the slots are in key order. A missed
// mark would leave rollups wrong for ever, so this stands in the transaction that adds the rows.
static int write_marks(struct observations *o, struct db *db, struct errmsg *e)
{
    struct slot_key last = {0};
    size_t n = 0;
    array_begin(&o->columns[0], ARRAY_INT2);
    array_begin(&o->columns[1], ARRAY_INT8);
    for (size_t i = 0; i < o->n; i++) {
        const struct slot *slot = &o->slots[i];
        struct slot_key key = {hour_of(slot->key.slot_ms), slot->key.sensor_id};
        if (slot->counts[ROWS] == 0 && slot->counts[FLOOD] == 0 && slot->counts[COVERED] == 0)
            continue;
        if (n > 0 && key.slot_ms == last.slot_ms && key.sensor_id == last.sensor_id)
            continue;
        array_int2(&o->columns[0], (int16_t)key.sensor_id);
        array_int8(&o->columns[1], key.slot_ms);
        last = key;
        n++;
    }
    return n > 0 ? execute(o, &mark, 2, db, e) : 0;
}

int observations_write(struct observations *o, struct db *db, struct errmsg *e)
{
    enum { PART = 4096 };
    if (o->n == 0)
        return 0;
    qsort(o->slots, o->n, sizeof *o->slots, by_key);
    for (size_t i = 0; i < o->n; i += PART) {
        int r = write_part(o, i, MIN(o->n - i, (size_t)PART), db, e);
        if (r != 0)
            return r;
    }
    return write_marks(o, db, e);
}
