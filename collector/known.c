#include "collector/known.h"

#include <inttypes.h>
#include <string.h>

struct words {
    char sensor[16], spool[2 * WIRE_SPOOL_ID_SIZE + 1];
};

static void to_hex(const uint8_t *p, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", p[i]);
}

static struct words words_of(const struct stream *stream)
{
    struct words words;
    snprintf(words.sensor, sizeof words.sensor, "%d", stream->sensor_id);
    to_hex(stream->spool_id, WIRE_SPOOL_ID_SIZE, words.spool);
    return words;
}

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
    const struct words words = words_of(stream);
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
    const struct words words = words_of(stream);
    char hex[2 * WIRE_SHA256_SIZE + 1], last[24];
    to_hex(digest, WIRE_SHA256_SIZE, hex);
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
