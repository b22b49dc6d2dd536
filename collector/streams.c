#include "collector/streams.h"

#include <endian.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "collector/array.h"
#include "collector/map.h"

struct stream_key {
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    int32_t sensor_id;
};

struct streams {
    struct map *index; // stream_key -> position
    struct stream **list;
    size_t n;
};

int streams_new(struct streams **ret)
{
    struct streams *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    if (map_new(sizeof(struct stream_key), &s->index) < 0) {
        free(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

void streams_clear(struct streams *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->list[i]);
    s->n = 0;
    map_clear(s->index);
}

void streams_free(struct streams *s)
{
    if (!s)
        return;
    streams_clear(s);
    map_free(s->index);
    free(s->list);
    free(s);
}

size_t streams_count(const struct streams *s)
{
    return s->n;
}

struct stream_words stream_words(const struct stream *stream)
{
    struct stream_words words;
    snprintf(words.sensor, sizeof words.sensor, "%d", stream->sensor_id);
    sodium_bin2hex(words.spool, sizeof words.spool, stream->spool_id, WIRE_SPOOL_ID_SIZE);
    return words;
}

int stream_load(struct db *db, struct stream *stream, struct errmsg *e)
{
    const struct stream_words words = stream_words(stream);
    const char *values[] = {words.sensor, words.spool};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select coalesce((select next_seq from hirundo.ledger where sensor_id = "
                     "$1::smallint and spool_id = $2::uuid), 1), exists (select from "
                     "hirundo.sensor where sensor_id = $1::smallint and revoked_at is null)",
                     2, values, &result, e);
    if (r != 0)
        return r;
    receiver_reload(&stream->receiver, strtoull(PQgetvalue(result, 0, 0), NULL, 10));
    stream->revoked = *PQgetvalue(result, 0, 1) == 'f';
    stream->stale = false;
    return 0;
}

static int add_stream(struct streams *s, const struct stream_key *key, struct stream *stream)
{
    struct stream **list = realloc(s->list, (s->n + 1) * sizeof(struct stream *));
    if (!list)
        return -ENOMEM;
    s->list = list;
    int r = map_put(s->index, key, (uint32_t)s->n);
    if (r == 0)
        list[s->n++] = stream;
    return r;
}

static struct stream_key key_of(const struct message *m)
{
    struct stream_key key = {.sensor_id = m->sensor_id};
    memcpy(key.spool_id, m->header.spool_id, WIRE_SPOOL_ID_SIZE);
    return key;
}

// The stream of a message, made if it is not there: without its row yet, so stale.
static int find_stream(struct streams *s, const struct message *m, struct stream **ret)
{
    const struct stream_key key = key_of(m);
    const uint32_t *at = map_get(s->index, &key);
    if (at) {
        *ret = s->list[*at];
        return 0;
    }
    _cleanup_(freep) struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return -ENOMEM;
    stream->sensor_id = m->sensor_id;
    stream->stale = true;
    memcpy(stream->spool_id, m->header.spool_id, WIRE_SPOOL_ID_SIZE);
    int r = add_stream(s, &key, stream);
    if (r < 0)
        return r;
    *ret = stream;
    stream = NULL;
    return 0;
}

int streams_get(struct streams *s, struct db *db, const struct message *m, struct stream **ret,
                struct errmsg *e)
{
    struct stream *stream;
    int r = find_stream(s, m, &stream);
    if (r == 0 && stream->stale)
        r = stream_load(db, stream, e);
    if (r == 0)
        *ret = stream;
    return r;
}

// ---- many at once

static const struct db_statement load_many = {
    "streams",
    "select coalesce(l.next_seq, 1), x.sensor_id is not null, "
    "coalesce(k.spools, 0) > case when l.next_seq is null then 0 else 1 end from "
    "unnest($1::smallint[], $2::uuid[]) with ordinality u(s, p, i) "
    "left join hirundo.ledger l on l.sensor_id = u.s and l.spool_id = u.p "
    "left join (select sensor_id, count(*) as spools from hirundo.ledger "
    "where sensor_id = any ($1::smallint[]) group by sensor_id) k on k.sensor_id = u.s "
    "left join hirundo.sensor x on x.sensor_id = u.s and x.revoked_at is null order by u.i",
    true};

static int load_streams(struct db *db, struct stream *const *wanted, size_t n,
                        struct array columns[2], struct errmsg *e)
{
    const char *values[2];
    int lengths[2];
    array_begin(&columns[0], ARRAY_INT2);
    array_begin(&columns[1], ARRAY_UUID);
    for (size_t i = 0; i < n; i++) {
        array_int2(&columns[0], wanted[i]->sensor_id);
        array_uuid(&columns[1], wanted[i]->spool_id);
    }
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = array_end(columns, 2, values, lengths);
    if (r == 0)
        r = db_execute(db, &load_many, 2, values, lengths, &result, e);
    for (size_t i = 0; r == 0 && i < MIN((size_t)PQntuples(result), n) && wanted[i]; i++) {
        uint64_t next_seq;
        memcpy(&next_seq, PQgetvalue(result, (int)i, 0), sizeof next_seq);
        receiver_reload(&wanted[i]->receiver, be64toh(next_seq));
        wanted[i]->revoked = *PQgetvalue(result, (int)i, 1) == 0;
        wanted[i]->siblings |= *PQgetvalue(result, (int)i, 2) != 0;
        wanted[i]->stale = false;
    }
    return r;
}

int streams_prefetch(struct streams *s, struct db *db, struct message *const *messages, size_t n,
                     struct stream **ret, struct errmsg *e)
{
    _cleanup_(freep) struct stream **wanted = calloc(n + 1, sizeof(struct stream *));
    size_t n_wanted = 0;
    if (!wanted)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int r = find_stream(s, messages[i], &ret[i]);
        if (r < 0)
            return r;
        if (ret[i]->stale && !ret[i]->listed) {
            ret[i]->listed = true;
            wanted[n_wanted++] = ret[i];
        }
    }
    for (size_t i = 0; i < n_wanted; i++)
        wanted[i]->listed = false;
    if (n_wanted < 2)
        return 0; // streams_get does as well
    struct array columns[2] = {0};
    int r = load_streams(db, wanted, n_wanted, columns, e);
    array_release(columns, 2);
    return r;
}

// ---- what is kept

static const struct db_statement kept_many = {
    "kept",
    "select b.digest from "
    "unnest($1::smallint[], $2::uuid[], $3::bigint[]) with ordinality u(s, p, q, i) "
    "left join hirundo.batch b on b.sensor_id = u.s and b.spool_id = u.p and b.seq = u.q "
    "and b.outcome in ('committed', 'quarantined') order by u.i",
    true};

static int compare_digests(struct db *db, struct array columns[3], struct message *const *messages,
                           size_t n, bool *ret_compared, bool *ret_other, struct errmsg *e)
{
    const char *values[3];
    int lengths[3];
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = array_end(columns, 3, values, lengths);
    if (r == 0)
        r = db_execute(db, &kept_many, 3, values, lengths, &result, e);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct receiver_kept kept = {.found = true, .is_batch = true};
        ret_compared[i] = i < (size_t)PQntuples(result) && !PQgetisnull(result, (int)i, 0) &&
                          PQgetlength(result, (int)i, 0) == WIRE_SHA256_SIZE;
        ret_other[i] = false;
        if (!ret_compared[i])
            continue;
        memcpy(kept.digest, PQgetvalue(result, (int)i, 0), WIRE_SHA256_SIZE);
        ret_other[i] = receiver_batch_is_other(&kept, &messages[i]->header);
    }
    return r;
}

static void list_numbers(struct array columns[3], struct stream *const *streams,
                         struct message *const *messages, size_t n)
{
    array_begin(&columns[0], ARRAY_INT2);
    array_begin(&columns[1], ARRAY_UUID);
    array_begin(&columns[2], ARRAY_INT8);
    for (size_t i = 0; i < n; i++) {
        array_int2(&columns[0], streams[i]->sensor_id);
        array_uuid(&columns[1], streams[i]->spool_id);
        array_int8(&columns[2], (int64_t)messages[i]->header.seq);
    }
}

int streams_compare(struct db *db, struct stream *const *streams, struct message *const *messages,
                    size_t n, bool *ret_compared, bool *ret_other, struct errmsg *e)
{
    struct array columns[3] = {0};
    list_numbers(columns, streams, messages, n);
    int r = compare_digests(db, columns, messages, n, ret_compared, ret_other, e);
    array_release(columns, 3);
    return r;
}

static const struct db_statement aside_many = {
    "aside",
    "select u.i, q.reason from "
    "unnest($1::smallint[], $2::uuid[], $3::bigint[]) with ordinality u(s, p, q, i) "
    "join hirundo.batch b on b.sensor_id = u.s and b.spool_id = u.p and b.seq = u.q "
    "and b.outcome = 'quarantined' join hirundo.quarantine q on q.sensor_id = b.sensor_id "
    "and q.spool_id = b.spool_id and q.seq = b.seq order by u.i, q.quarantine_id",
    true};

int streams_aside(struct db *db, struct stream *const *streams, struct message *const *messages,
                  size_t n, streams_aside_fn found, void *context, struct errmsg *e)
{
    const char *values[3];
    int lengths[3];
    struct array columns[3] = {0};
    list_numbers(columns, streams, messages, n);
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = array_end(columns, 3, values, lengths);
    if (r == 0)
        r = db_execute(db, &aside_many, 3, values, lengths, &result, e);
    for (int k = 0; r == 0 && k < PQntuples(result); k++) {
        uint64_t i;
        memcpy(&i, PQgetvalue(result, k, 0), sizeof i);
        i = be64toh(i);
        if (i >= 1 && i <= n)
            found(context, i - 1, PQgetvalue(result, k, 1));
    }
    array_release(columns, 3);
    return r;
}

static int64_t number_at(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10); // "" of null: 0
}

// What is kept of numbers first..last.
static int read_kept(struct db *db, const struct stream *stream, uint64_t first, uint64_t last,
                     struct receiver_kept *ret, struct errmsg *e)
{
    _Static_assert(KEY_SIZE == WIRE_SHA256_SIZE, "both are read from hex alike");
    const struct stream_words words = stream_words(stream);
    char from[24], to[24];
    snprintf(from, sizeof from, "%" PRIu64, first);
    snprintf(to, sizeof to, "%" PRIu64, last);
    const char *values[] = {words.sensor, words.spool, from, to};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(
        db,
        "select b.seq, b.outcome in ('committed', 'quarantined', 'known'), b.outcome = 'unknown', "
        "encode(b.digest, 'hex'), "
        "(extract(epoch from coalesce(l.first_window, b.first_window)) * 1000)::bigint, "
        "(extract(epoch from coalesce(l.last_window, b.last_window)) * 1000)::bigint, "
        "(select (extract(epoch from max(coalesce(y.last_window, x.last_window))) * 1000)::bigint "
        "from hirundo.batch x left join hirundo.loss y using (sensor_id, spool_id, seq) where "
        "x.sensor_id = $1::smallint and x.spool_id = $2::uuid and x.seq between b.seq and "
        "$4::bigint) from hirundo.batch b left join hirundo.loss l using (sensor_id, spool_id, "
        "seq) where b.sensor_id = $1::smallint and b.spool_id = $2::uuid and b.seq <= $3::bigint "
        "order by b.seq desc limit 1",
        4, values, &result, e);
    if (r != 0)
        return r;
    *ret = (struct receiver_kept){0};
    if (PQntuples(result) != 1 || key_parse(PQgetvalue(result, 0, 3), ret->digest) != 0)
        return 0;
    // A row before it stands for it only when it is a range.
    ret->found = (uint64_t)number_at(result, 0) == first || *PQgetvalue(result, 0, 2) == 't';
    ret->is_batch = *PQgetvalue(result, 0, 1) == 't';
    ret->first_ms = number_at(result, 4);
    ret->last_ms = number_at(result, 5);
    ret->latest_ms = number_at(result, 6);
    return 0;
}

static int find_lost_fork(struct db *db, const struct stream *stream, const struct loss_item *items,
                          size_t n, uint64_t *ret_seq, struct errmsg *e)
{
    for (size_t i = 0; i < n && items[i].seq_last < stream->receiver.next_seq; i++) {
        struct receiver_kept kept;
        int r = read_kept(db, stream, items[i].seq_first, items[i].seq_last, &kept, e);
        if (r != 0)
            return r;
        if (receiver_loss_is_other(&kept, &items[i])) {
            *ret_seq = items[i].seq_first;
            return 0;
        }
    }
    *ret_seq = 0;
    return 0;
}

int stream_find_fork(struct db *db, const struct stream *stream, const struct message *m,
                     uint64_t *ret_seq, struct errmsg *e)
{
    const struct wire_header *h = &m->header;
    if (h->kind == WIRE_LOSS) {
        _cleanup_(freep) struct loss_item *items = NULL;
        size_t n = 0;
        int r = wire_loss_decode(zmq_msg_data((zmq_msg_t *)&m->payload),
                                 zmq_msg_size((zmq_msg_t *)&m->payload), &items, &n, e);
        if (r < 0)
            return r;
        if (r != 0)
            n = 0;
        return find_lost_fork(db, stream, items, n, ret_seq, e);
    }
    struct receiver_kept kept;
    int r = read_kept(db, stream, h->seq, h->seq, &kept, e);
    if (r == 0)
        *ret_seq = receiver_batch_is_other(&kept, h) ? h->seq : 0;
    return r;
}
