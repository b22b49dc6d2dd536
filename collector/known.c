#include "collector/known.h"

#include <inttypes.h>
#include <sodium.h>

#include "collector/array.h"
#include "collector/streams.h"

// *ret: whether the query, of one boolean, says so.
static int ask(struct db *db, const char *sql, int n, const char *const *values, bool *ret,
               struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, sql, n, values, &result, e);
    if (r == 0)
        *ret = *PQgetvalue(result, 0, 0) == 't';
    return r;
}

static int ask_ledger(struct db *db, const struct stream *stream, const char *sql, bool *ret,
                      struct errmsg *e)
{
    const struct stream_words words = stream_words(stream);
    const char *values[] = {words.sensor, words.spool};
    return ask(db, sql, 2, values, ret, e);
}

int known_has_siblings(struct db *db, const struct stream *stream, bool *ret, struct errmsg *e)
{
    return ask_ledger(db, stream,
                      "select exists (select 1 from hirundo.ledger where sensor_id = $1::smallint "
                      "and spool_id <> $2::uuid)",
                      ret, e);
}

int known_is_foreign(struct db *db, const struct stream *stream, bool *ret, struct errmsg *e)
{
    return ask_ledger(db, stream,
                      "select exists (select 1 from hirundo.ledger where spool_id = $2::uuid and "
                      "sensor_id <> $1::smallint)",
                      ret, e);
}

int known_elsewhere(struct db *db, const struct stream *stream,
                    const uint8_t digest[WIRE_SHA256_SIZE], int64_t last_ms, bool *ret,
                    struct errmsg *e)
{
    const struct stream_words words = stream_words(stream);
    char hex[2 * WIRE_SHA256_SIZE + 1], last[24];
    sodium_bin2hex(hex, sizeof hex, digest, WIRE_SHA256_SIZE);
    snprintf(last, sizeof last, "%" PRId64, last_ms);
    const char *values[] = {words.sensor, words.spool, hex, last};
    // By the index on last_window: few batches of a sensor end at the same time.
    return ask(db,
               "select exists (select 1 from hirundo.batch where sensor_id = $1::smallint and "
               "last_window = timestamptz 'epoch' + $4::bigint * interval '1 ms' and digest = "
               "decode($3, 'hex') and spool_id <> $2::uuid and outcome in ('committed', "
               "'quarantined', 'lost'))",
               4, values, ret, e);
}

// ---- many at once

enum { SENSOR, SPOOL, DIGEST_HEAD, DIGEST_TAIL, LAST, COLUMNS };

// The index on last_window is looked through once for each time, not once for each batch. Without a
// condition on sensor_id, by which all batches ever of these sensors would be read.
static const struct db_statement elsewhere_many = {
    "elsewhere",
    "with u as materialized (select s, p, uuid_send(x) || uuid_send(y) as digest, timestamptz "
    "'epoch' + t * interval '1 ms' as last_window, i from unnest($1::smallint[], $2::uuid[], "
    "$3::uuid[], $4::uuid[], $5::bigint[]) with ordinality u(s, p, x, y, t, i)), "
    "b as materialized (select sensor_id, spool_id, digest, last_window from hirundo.batch where "
    "last_window = any (array(select last_window from u group by 1)) and outcome in "
    "('committed', 'quarantined', 'lost')) "
    "select bool_or(b.digest is not null) from u left join b on b.sensor_id = u.s and b.digest = "
    "u.digest and b.last_window = u.last_window and b.spool_id <> u.p group by u.i order by u.i",
    true};

int known_elsewhere_many(struct db *db, struct stream *const *streams,
                         struct message *const *messages, size_t n, struct errmsg *e)
{
    _Static_assert(WIRE_SHA256_SIZE == 32, "a digest travels as two UUIDs of 16 bytes");
    struct array columns[COLUMNS] = {0};
    const char *values[COLUMNS];
    int lengths[COLUMNS];
    for (size_t k = 0; k < COLUMNS; k++)
        array_begin(&columns[k], k == SENSOR ? ARRAY_INT2 : k == LAST ? ARRAY_INT8 : ARRAY_UUID);
    for (size_t i = 0; i < n; i++) {
        const struct wire_header *h = &messages[i]->header;
        array_int2(&columns[SENSOR], streams[i]->sensor_id);
        array_uuid(&columns[SPOOL], streams[i]->spool_id);
        array_uuid(&columns[DIGEST_HEAD], h->sha256);
        array_uuid(&columns[DIGEST_TAIL], h->sha256 + WIRE_SHA256_SIZE / 2);
        array_int8(&columns[LAST], h->last_window_ms);
    }
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = array_end(columns, COLUMNS, values, lengths);
    if (r == 0)
        r = db_execute(db, &elsewhere_many, COLUMNS, values, lengths, &result, e);
    array_release(columns, COLUMNS);
    for (size_t i = 0; r == 0 && i < MIN((size_t)PQntuples(result), n); i++)
        messages[i]->elsewhere = *PQgetvalue(result, (int)i, 0) ? ELSEWHERE_YES : ELSEWHERE_NO;
    return r;
}
