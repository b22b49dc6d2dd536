#include "collector/quarantine.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "collector/group.h"
#include "collector/known.h"

// Outcomes within this file.
#define NOT_THERE 22

struct retrier {
    struct group *group;
    struct dims *dims;
    struct keyring *keyring; // the settings
};

// A message in quarantine, as its row has it.
struct kept {
    struct message *m;
    uint64_t seq; // under which it stands in hirundo.batch
    bool in_batch;
    int64_t slot_ms; // where its frames are booked
    bool booked;
    int64_t frames;
};

static void kept_clear(struct kept *k)
{
    message_free(k->m);
}

int retrier_new(struct retrier **ret)
{
    _cleanup_(retrier_freep) struct retrier *r = calloc(1, sizeof *r);
    if (!r || group_new(&r->group) < 0 || dims_new(&r->dims) < 0 || keyring_new(&r->keyring) < 0)
        return -ENOMEM;
    *ret = r;
    r = NULL;
    return 0;
}

void retrier_free(struct retrier *r)
{
    if (!r)
        return;
    group_free(r->group);
    dims_free(r->dims);
    keyring_free(r->keyring);
    free(r);
}

int quarantine_select(struct db *db, const struct quarantine_choice *choice, const char *columns,
                      PGresult **ret, struct errmsg *e)
{
    const char *values[] = {choice->sensor, choice->reason, choice->ids,
                            choice->resolved ? "t" : "f"};
    char sql[1024];
    snprintf(sql, sizeof sql,
             "%s from hirundo.quarantine q left join hirundo.sensor s using (sensor_id) where "
             "($1::text is null or s.name = $1) and ($2::text is null or strpos(lower(q.reason), "
             "lower($2)) > 0) and ($3::bigint[] is null or q.quarantine_id = any($3)) and "
             "(q.resolved_at is null or $4::boolean) order by q.quarantine_id",
             columns);
    return db_query(db, sql, ARRAY_SIZE(values), values, ret, e);
}

// ---- reading

static int64_t number_at(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

// A bytea; free with PQfreemem.
static unsigned char *bytes_at(const PGresult *result, int column, size_t *ret_size)
{
    return PQunescapeBytea((const unsigned char *)PQgetvalue(result, 0, column), ret_size);
}

static int fill_frame(zmq_msg_t *frame, const unsigned char *p, size_t size)
{
    zmq_msg_close(frame);
    if (zmq_msg_init_size(frame, size) < 0) {
        zmq_msg_init(frame);
        return -ENOMEM;
    }
    memcpy(zmq_msg_data(frame), p, size);
    return 0;
}

static int fill_header(struct message *m, const unsigned char *p, size_t size, struct errmsg *e)
{
    if (size > WIRE_HEADER_MAX)
        return errmsg_set(e, GROUP_POISON, "its header is too large");
    int r = fill_frame(&m->raw_header, p, size);
    if (r == 0)
        r = wire_header_decode(p, size, &m->header, e);
    return r > 0 ? GROUP_POISON : r;
}

static int fill_message(struct message *m, const PGresult *result, struct errmsg *e)
{
    size_t header_size = 0, size = 0;
    unsigned char *header = bytes_at(result, 0, &header_size);
    unsigned char *payload = bytes_at(result, 1, &size);
    int r = header && payload ? fill_header(m, header, header_size, e) : -ENOMEM;
    if (r == 0)
        r = fill_frame(&m->payload, payload, size);
    PQfreemem(header);
    PQfreemem(payload);
    m->sensor_id = (int16_t)number_at(result, 2);
    snprintf(m->name, sizeof m->name, "%s", PQgetvalue(result, 0, 3));
    m->received_ms = number_at(result, 4);
    return r;
}

// The row, if it is to be dealt with yet; QUARANTINE_RESOLVED, -ENOENT.
static int read_kept(struct db *db, const char *id, struct kept *ret, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    const char *values[] = {id};
    int r = db_query(
        db,
        "select q.header, q.payload, q.sensor_id, coalesce(s.name, ''), (extract(epoch from "
        "q.received_at) * 1000)::bigint, q.frames, (extract(epoch from q.booked_slot) * "
        "1000)::bigint, q.booked_slot is not null, q.resolution, "
        "to_char(q.resolved_at, 'YYYY-MM-DD HH24:MI') || ' UTC', "
        // of a loss message the first number that was new
        "(select min(b.seq) from hirundo.batch b where b.sensor_id = q.sensor_id and b.spool_id = "
        "q.spool_id and b.seq >= q.seq and b.outcome = 'quarantined'), q.seq "
        "from hirundo.quarantine q left join hirundo.sensor s using (sensor_id) "
        "where q.quarantine_id = $1::bigint",
        1, values, &result, e);
    if (r != 0)
        return r;
    if (PQntuples(result) == 0)
        return errmsg_set(e, -ENOENT, "there is no message %s in quarantine: see quarantine list",
                          id);
    if (!PQgetisnull(result, 0, 8))
        return errmsg_set(e, QUARANTINE_RESOLVED, "message %s was %s at %s", id,
                          PQgetvalue(result, 0, 8), PQgetvalue(result, 0, 9));
    struct message *m = message_new_bare(0);
    if (!m)
        return -ENOMEM;
    ret->m = m;
    ret->frames = number_at(result, 5);
    ret->slot_ms = number_at(result, 6);
    ret->booked = *PQgetvalue(result, 0, 7) == 't';
    ret->in_batch = !PQgetisnull(result, 0, 10);
    ret->seq = (uint64_t)number_at(result, ret->in_batch ? 10 : 11);
    return fill_message(m, result, e);
}

// A loss covers its items' numbers, a batch one: does the row in hirundo.batch belong to it?
static int find_number(struct kept *k, struct errmsg *e)
{
    const struct message *m = k->m;
    uint64_t last = m->header.seq;
    if (m->header.kind == WIRE_LOSS) {
        _cleanup_(freep) struct loss_item *items = NULL;
        size_t n = 0;
        int r = wire_loss_decode(zmq_msg_data((zmq_msg_t *)&m->payload),
                                 zmq_msg_size((zmq_msg_t *)&m->payload), &items, &n, e);
        if (r != 0)
            return r < 0 ? r : GROUP_POISON;
        last = n > 0 ? items[n - 1].seq_last : last;
    }
    if (k->seq <= last)
        return 0;
    k->in_batch = false; // its own has gone
    k->seq = m->header.seq;
    return 0;
}

// ---- writing

// Locks the row; NOT_THERE: somebody else has dealt with it since.
static int lock_row(struct db *db, const char *id, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    const char *values[] = {id};
    int r = db_query(db,
                     "select 1 from hirundo.quarantine where quarantine_id = $1::bigint and "
                     "resolved_at is null for update",
                     1, values, &result, e);
    if (r != 0 || PQntuples(result) == 1)
        return r;
    return errmsg_set(e, NOT_THERE, "message %s was dealt with by another at the same time", id);
}

static int resolve(struct db *db, const char *id, const char *how, struct errmsg *e)
{
    const char *values[] = {id, how};
    return db_query(db,
                    "update hirundo.quarantine set resolved_at = now(), resolution = $2, payload = "
                    "'' where quarantine_id = $1::bigint",
                    2, values, NULL, e);
}

static int remove_batch_row(struct db *db, const struct kept *k, struct errmsg *e)
{
    char sensor[16], spool[2 * WIRE_SPOOL_ID_SIZE + 1], seq[24];
    if (!k->in_batch)
        return 0;
    snprintf(sensor, sizeof sensor, "%d", k->m->sensor_id);
    sodium_bin2hex(spool, sizeof spool, k->m->header.spool_id, WIRE_SPOOL_ID_SIZE);
    snprintf(seq, sizeof seq, "%" PRIu64, k->seq);
    const char *values[] = {sensor, spool, seq};
    return db_query(db,
                    "delete from hirundo.batch where sensor_id = $1::smallint and spool_id = "
                    "$2::uuid and seq = $3::bigint and outcome = 'quarantined'",
                    3, values, NULL, e);
}

static int write_retried(struct retrier *r, struct db *db, const char *id, const struct kept *k,
                         struct errmsg *e)
{
    int bad = lock_row(db, id, e);
    if (bad == 0)
        bad = remove_batch_row(db, k, e);
    if (bad == 0)
        bad = group_write_rows(r->group, db, e);
    return bad == 0 ? resolve(db, id, "retried", e) : bad;
}

// Runs in a transaction; NOT_THERE becomes QUARANTINE_RESOLVED.
static int end_transaction(struct db *db, int r, struct errmsg *e)
{
    if (r == 0)
        return db_exec(db, "commit", e);
    if (db_is_open(db)) {
        int rolled = db_exec(db, "rollback", NULL);
        if (rolled < 0)
            return errmsg_set(e, rolled, "database: lost while rolling back");
    }
    return r == NOT_THERE ? QUARANTINE_RESOLVED : r;
}

// What the message becomes, in memory. GROUP_POISON: it still cannot be taken.
static int fill_group(struct retrier *r, struct db *db, const struct kept *k, struct stream *stream,
                      struct errmsg *e)
{
    struct validate_limits limits;
    struct timespec now;
    int bad = keyring_refresh(r->keyring, db, e);
    if (bad != 0)
        return bad;
    clock_gettime(CLOCK_REALTIME, &now);
    keyring_limits(r->keyring, now.tv_sec * 1000LL, &limits);
    *stream = (struct stream){.sensor_id = k->m->sensor_id, .received_ms = k->m->received_ms};
    memcpy(stream->spool_id, k->m->header.spool_id, WIRE_SPOOL_ID_SIZE);
    receiver_start(&stream->receiver, k->seq);
    bad = known_has_siblings(db, stream, &stream->siblings, e); // since it came, perhaps
    if (bad == 0)
        bad = group_add(r->group, db, r->dims, stream, k->m, &limits, e);
    if (bad == 0 && k->booked)
        bad = group_take_back(r->group, k->m->sensor_id, k->slot_ms, k->frames);
    return bad;
}

static int note_reason(struct db *db, const char *id, const char *reason, struct errmsg *e)
{
    const char *values[] = {id, reason};
    struct errmsg own;
    int r = db_query(db,
                     "update hirundo.quarantine set reason = $2 where quarantine_id = $1::bigint "
                     "and resolved_at is null",
                     2, values, NULL, &own);
    if (r != 0)
        *e = own;
    return r < 0 ? r : QUARANTINE_REFUSED;
}

static int retry_kept(struct retrier *r, struct db *db, const char *id, struct kept *k,
                      struct stream *stream, struct errmsg *e)
{
    int bad = fill_group(r, db, k, stream, e);
    if (bad != 0)
        return bad;
    bad = db_exec(db, "begin", e);
    if (bad == 0)
        bad = end_transaction(db, write_retried(r, db, id, k, e), e);
    return bad;
}

int quarantine_retry(struct retrier *r, struct db *db, const char *id, struct errmsg *e)
{
    _cleanup_(kept_clear) struct kept k = {0};
    struct stream stream; // the group refers to it until it is cleared
    int bad = read_kept(db, id, &k, e);
    if (bad == 0) // it is there: clang's analyzer cannot tell
        bad = k.m ? find_number(&k, e) : -ENOENT;
    if (bad == 0)
        bad = retry_kept(r, db, id, &k, &stream, e);
    group_clear(r->group);
    if (bad == DB_REFUSED)
        dims_clear(r->dims); // what it thinks is there may have gone
    // A full disk or a lock says nothing about the message: its reason stays.
    bool refused = bad == GROUP_POISON || (bad == DB_REFUSED && db_is_data_error(db));
    return refused ? note_reason(db, id, e->text, e) : bad;
}

int quarantine_drop(struct db *db, const char *id, struct errmsg *e)
{
    _cleanup_(kept_clear) struct kept k = {0};
    int r = read_kept(db, id, &k, e);
    if (r < 0 || r == QUARANTINE_RESOLVED || r == DB_REFUSED)
        return r; // what does not decode is dropped all the same
    r = db_exec(db, "begin", e);
    if (r != 0)
        return r;
    r = lock_row(db, id, e);
    if (r == 0)
        r = resolve(db, id, "dropped", e);
    return end_transaction(db, r, e);
}
