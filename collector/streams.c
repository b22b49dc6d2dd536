#include "collector/streams.h"

#include <inttypes.h>
#include <string.h>

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

struct stream_words {
    char sensor[16], spool[2 * WIRE_SPOOL_ID_SIZE + 1];
};

static struct stream_words words_of(const struct stream *stream)
{
    struct stream_words words;
    snprintf(words.sensor, sizeof words.sensor, "%d", stream->sensor_id);
    for (size_t i = 0; i < WIRE_SPOOL_ID_SIZE; i++)
        snprintf(words.spool + 2 * i, 3, "%02x", stream->spool_id[i]);
    return words;
}

int stream_load(struct db *db, struct stream *stream, struct errmsg *e)
{
    const struct stream_words words = words_of(stream);
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

int streams_get(struct streams *s, struct db *db, const struct message *m, struct stream **ret,
                struct errmsg *e)
{
    struct stream_key key = {.sensor_id = m->sensor_id};
    memcpy(key.spool_id, m->header.spool_id, WIRE_SPOOL_ID_SIZE);
    const uint32_t *at = map_get(s->index, &key);
    if (at) {
        *ret = s->list[*at];
        return (*ret)->stale ? stream_load(db, *ret, e) : 0;
    }
    _cleanup_(freep) struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return -ENOMEM;
    stream->sensor_id = m->sensor_id;
    memcpy(stream->spool_id, m->header.spool_id, WIRE_SPOOL_ID_SIZE);
    int r = stream_load(db, stream, e);
    if (r == 0)
        r = add_stream(s, &key, stream);
    if (r != 0)
        return r;
    *ret = stream;
    stream = NULL;
    return 0;
}

int stream_digest(struct db *db, const struct stream *stream, uint64_t seq, bool *ret_found,
                  uint8_t ret_digest[WIRE_SHA256_SIZE], struct errmsg *e)
{
    _Static_assert(KEY_SIZE == WIRE_SHA256_SIZE, "both are read from hex alike");
    const struct stream_words words = words_of(stream);
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, seq);
    const char *values[] = {words.sensor, words.spool, number};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select encode(digest, 'hex') from hirundo.batch where sensor_id = "
                     "$1::smallint and spool_id = $2::uuid and seq = $3::bigint and outcome in "
                     "('committed', 'quarantined')",
                     3, values, &result, e);
    if (r == 0)
        *ret_found = PQntuples(result) == 1 && key_parse(PQgetvalue(result, 0, 0), ret_digest) == 0;
    return r;
}
