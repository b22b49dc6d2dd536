#include "collector/known.h"

#include <inttypes.h>
#include <sodium.h>

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

int known_has_siblings(struct db *db, const struct stream *stream, bool *ret, struct errmsg *e)
{
    const struct stream_words words = stream_words(stream);
    const char *values[] = {words.sensor, words.spool};
    return ask(db,
               "select exists (select from hirundo.ledger where sensor_id = $1::smallint and "
               "spool_id <> $2::uuid)",
               2, values, ret, e);
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
               "select exists (select from hirundo.batch where sensor_id = $1::smallint and "
               "last_window = timestamptz 'epoch' + $4::bigint * interval '1 ms' and digest = "
               "decode($3, 'hex') and spool_id <> $2::uuid and outcome in ('committed', "
               "'quarantined', 'lost'))",
               4, values, ret, e);
}
