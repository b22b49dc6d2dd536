#include "collector/group.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "collector/copy_row.h"
#include "collector/observe.h"
#include "collector/text.h"
#include "common/log.h"

struct poison {
    const struct message *m;
    char reason[WIRE_TEXT_MAX + 1];
};

struct loss_row {
    const struct stream *stream;
    uint64_t seq;
    bool unknown;
    int64_t first_ms, last_ms; // first 0: since the sensor's last window delivered
    int64_t frames;
    char reason[WIRE_TEXT_MAX + 1];
};

struct group {
    struct wire_decoder *decoder;
    struct copy_buffer flows, floods, batches;
    struct observations *observations;
    struct stream **moves; // streams with a ledger move, GROUP_MESSAGES
    size_t n_moves;
    struct poison *poisons; // grows
    size_t n_poisons;
    struct loss_row *losses;
    size_t n_losses;
    size_t messages;
    struct dims_ids ids; // scratch
};

int group_new(struct group **ret)
{
    _cleanup_(group_freep) struct group *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    g->moves = calloc(GROUP_MESSAGES, sizeof *g->moves);
    g->ids.flow_dst = calloc(BATCH_FLOWS_MAX, sizeof *g->ids.flow_dst);
    g->ids.flow_options = calloc(BATCH_FLOWS_MAX, sizeof *g->ids.flow_options);
    g->ids.flood_dst = calloc(BATCH_FLOODS_MAX, sizeof *g->ids.flood_dst);
    if (!g->moves || !g->ids.flow_dst || !g->ids.flow_options || !g->ids.flood_dst ||
        wire_decoder_new(&g->decoder) < 0 || observations_new(&g->observations) < 0)
        return -ENOMEM;
    group_clear(g);
    *ret = g;
    g = NULL;
    return 0;
}

void group_free(struct group *g)
{
    if (!g)
        return;
    wire_decoder_free(g->decoder);
    observations_free(g->observations);
    copy_buffer_release(&g->flows);
    copy_buffer_release(&g->floods);
    copy_buffer_release(&g->batches);
    free(g->moves);
    free(g->poisons);
    free(g->losses);
    free(g->ids.flow_dst);
    free(g->ids.flow_options);
    free(g->ids.flood_dst);
    free(g);
}

void group_clear(struct group *g)
{
    for (size_t i = 0; i < g->n_moves; i++) {
        g->moves[i]->from = 0;
        g->moves[i]->last = NULL;
    }
    g->n_moves = 0;
    g->n_poisons = 0;
    g->n_losses = 0;
    g->messages = 0;
    g->flows.rows = g->floods.rows = g->batches.rows = 0;
    observations_clear(g->observations);
}

bool group_is_empty(const struct group *g)
{
    return g->messages == 0;
}

size_t group_rows(const struct group *g)
{
    return g->flows.rows + g->floods.rows;
}

bool group_is_full(const struct group *g)
{
    return group_rows(g) >= GROUP_ROWS || g->messages >= GROUP_MESSAGES ||
           observations_count(g->observations) >= GROUP_SLOTS;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int64_t to_bigint(uint64_t v)
{
    return (int64_t)MIN(v, (uint64_t)INT64_MAX);
}

// The numbers up to `last` of this stream are in the group now.
static void move_ledger(struct group *g, struct stream *stream, const struct message *m,
                        uint64_t last)
{
    if (stream->from == 0) {
        stream->from = stream->receiver.pending_seq;
        g->moves[g->n_moves++] = stream;
    }
    stream->through = last;
    stream->last = m;
    receiver_take(&stream->receiver, last);
    g->messages++;
}

// A COPY buffer's state before a message, to go back to when the message turns out bad.
struct mark {
    size_t used, rows;
};

static int mark_buffer(struct copy_buffer *b, struct mark *ret)
{
    int r = b->rows == 0 ? copy_begin(b) : 0;
    *ret = (struct mark){b->used, b->rows};
    return r;
}

static void return_to(struct copy_buffer *b, struct mark mark)
{
    b->used = mark.used;
    b->rows = mark.rows;
}

static int add_batch_row(struct group *g, const struct message *m, uint64_t seq, uint32_t flows,
                         uint32_t floods, bool has_windows, int64_t frames, const char *outcome)
{
    static const uint8_t none[WIRE_SHA256_SIZE];
    struct batch_row row = {
        .sensor_id = m->sensor_id,
        .spool_id = m->header.spool_id,
        .seq = seq,
        .digest = m->header.kind == WIRE_BATCH ? m->header.sha256 : none,
        .committed_ms = now_ms(),
        .has_windows = has_windows,
        .first_window_ms = m->header.first_window_ms,
        .last_window_ms = m->header.last_window_ms,
        .frames = frames,
        .flows = flows,
        .floods = floods,
        .payload_bytes = (uint32_t)zmq_msg_size((zmq_msg_t *)&m->payload),
        .outcome = outcome,
    };
    int r = g->batches.rows == 0 ? copy_begin(&g->batches) : 0;
    return r < 0 ? r : copy_batch(&g->batches, &row);
}

static int add_rows(struct group *g, int16_t sensor_id, const struct batch *b)
{
    for (uint32_t i = 0; i < b->n_flows; i++) {
        int r = copy_flow(&g->flows, &b->flows[i], sensor_id, g->ids.flow_dst[i],
                          g->ids.flow_options[i]);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < b->n_floods; i++) {
        int r = copy_flood(&g->floods, &b->floods[i], sensor_id, g->ids.flood_dst[i]);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < b->n_windows; i++) {
        int r = observations_add(g->observations, sensor_id, &b->windows[i], b->window_ms);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_batch(struct group *g, struct db *db, struct dims *dims, struct stream *stream,
                     const struct message *m, const struct validate_limits *limits,
                     struct errmsg *e)
{
    struct batch b;
    const uint8_t *payload = zmq_msg_data((zmq_msg_t *)&m->payload);
    size_t size = zmq_msg_size((zmq_msg_t *)&m->payload);
    int r = validate_payload(&m->header, payload, size, e);
    if (r == 0)
        r = wire_batch_decode(g->decoder, payload, size, &b, e);
    if (r == 0)
        r = validate_batch(&m->header, &b, limits, e);
    if (r != 0)
        return r < 0 ? r : GROUP_POISON;
    r = dims_resolve(dims, db, m->sensor_id, &b, &g->ids, e);
    struct mark flows, floods;
    if (r != 0 || (r = mark_buffer(&g->flows, &flows)) < 0 ||
        (r = mark_buffer(&g->floods, &floods)) < 0)
        return r;
    r = add_rows(g, m->sensor_id, &b);
    if (r == 0)
        r = add_batch_row(g, m, m->header.seq, b.n_flows, b.n_floods, true,
                          to_bigint(m->header.frames), "committed");
    if (r < 0) {
        return_to(&g->flows, flows);
        return_to(&g->floods, floods);
        return r;
    }
    move_ledger(g, stream, m, m->header.seq);
    return 0;
}

// ---- losses

static struct loss_row *new_loss(struct group *g)
{
    struct loss_row *losses = realloc(g->losses, (g->n_losses + 1) * sizeof *losses);
    if (!losses)
        return NULL;
    g->losses = losses;
    losses[g->n_losses] = (struct loss_row){0};
    return &losses[g->n_losses++];
}

// Printable ASCII: what a peer wrote goes into logs and text columns.
static void clean_text(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; from[i] && i + 1 < size; i++)
        to[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
    to[i] = '\0';
}

static int add_loss_item(struct group *g, const struct stream *stream, const struct message *m,
                         const struct loss_item *item)
{
    enum receiver_loss what = receiver_loss_item(stream->receiver.pending_seq, item);
    if (what == RECEIVER_LOSS_KNOWN)
        return 0;
    struct loss_row *row = new_loss(g);
    if (!row)
        return -ENOMEM;
    bool unknown = item->unknown || what == RECEIVER_LOSS_SPLIT;
    row->stream = stream;
    row->seq = MAX(item->seq_first, stream->receiver.pending_seq);
    row->unknown = unknown;
    row->first_ms = item->first_ms;
    row->last_ms = item->last_ms;
    clean_text(row->reason, sizeof row->reason, item->reason);
    for (uint32_t i = 0; !unknown && i < item->n_records; i++) {
        int r = observations_add_lost(g->observations, m->sensor_id, &item->records[i]);
        if (r < 0)
            return r;
        row->frames += to_bigint(item->records[i].frames);
    }
    return add_batch_row(g, m, row->seq, 0, 0, false, row->frames, unknown ? "unknown" : "lost");
}

static int add_loss(struct group *g, struct stream *stream, const struct message *m,
                    const struct validate_limits *limits, struct errmsg *e)
{
    const uint8_t *payload = zmq_msg_data((zmq_msg_t *)&m->payload);
    size_t size = zmq_msg_size((zmq_msg_t *)&m->payload);
    _cleanup_(freep) struct loss_item *items = NULL;
    size_t n = 0;
    int r = validate_payload(&m->header, payload, size, e);
    if (r == 0)
        r = wire_loss_decode(payload, size, &items, &n, e);
    if (r == 0)
        r = validate_loss(&m->header, items, n, limits, e);
    if (r != 0)
        return r < 0 ? r : GROUP_POISON;
    for (size_t i = 0; i < n; i++) {
        r = add_loss_item(g, stream, m, &items[i]);
        if (r < 0)
            return r;
    }
    move_ledger(g, stream, m, items[n - 1].seq_last);
    return 0;
}

int group_add(struct group *g, struct db *db, struct dims *dims, struct stream *stream,
              const struct message *m, const struct validate_limits *limits, struct errmsg *e)
{
    if (m->header.kind == WIRE_LOSS)
        return add_loss(g, stream, m, limits, e);
    return add_batch(g, db, dims, stream, m, limits, e);
}

// ---- quarantine

// Whether the windows that the header claims can be believed: a message that decoded has passed
// sharper tests, for the others this keeps nonsense out of timestamps.
static bool sane_windows(const struct message *m)
{
    const int64_t day = 86400000;
    return m->header.first_window_ms > 0 && m->header.first_window_ms <= m->header.last_window_ms &&
           m->header.last_window_ms <= m->received_ms + day;
}

static int64_t booked_frames(const struct wire_header *h)
{
    return h->frames > VALIDATE_COUNT_MAX ? 0 : (int64_t)h->frames;
}

static int64_t booked_at(const struct message *m)
{
    return sane_windows(m) ? m->header.first_window_ms : m->received_ms;
}

int group_add_poison(struct group *g, struct stream *stream, const struct message *m,
                     const char *reason, struct errmsg *e)
{
    struct poison *poisons = realloc(g->poisons, (g->n_poisons + 1) * sizeof *poisons);
    if (!poisons)
        return errmsg_set(e, -ENOMEM, "out of memory");
    g->poisons = poisons;
    struct poison *p = &poisons[g->n_poisons];
    p->m = m;
    clean_text(p->reason, sizeof p->reason, reason);
    int r = observations_add_quarantined(g->observations, m->sensor_id, booked_at(m),
                                         booked_frames(&m->header));
    if (r == 0)
        r = add_batch_row(g, m, stream->receiver.pending_seq, 0, 0, sane_windows(m),
                          booked_frames(&m->header), "quarantined");
    if (r < 0)
        return errmsg_set(e, r, "out of memory");
    g->n_poisons++;
    move_ledger(g, stream, m, stream->receiver.pending_seq);
    return 0;
}

static void format_uuid(const uint8_t id[WIRE_SPOOL_ID_SIZE], char text[33])
{
    for (size_t i = 0; i < WIRE_SPOOL_ID_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static int write_poison(const struct poison *p, struct db *db, struct errmsg *e)
{
    const struct message *m = p->m;
    const struct wire_header *h = &m->header;
    char sensor[16], spool[33], seq[24], received[24], frames[24], first[24], slot[24];
    snprintf(sensor, sizeof sensor, "%d", m->sensor_id);
    format_uuid(h->spool_id, spool);
    snprintf(seq, sizeof seq, "%" PRIu64, h->seq);
    snprintf(received, sizeof received, "%" PRId64, m->received_ms);
    snprintf(frames, sizeof frames, "%" PRId64, booked_frames(h));
    snprintf(first, sizeof first, "%" PRId64, h->first_window_ms);
    snprintf(slot, sizeof slot, "%" PRId64, slot_of(booked_at(m)));
    const char *payload = zmq_msg_data((zmq_msg_t *)&m->payload);
    const char *values[] = {sensor,
                            spool,
                            seq,
                            received,
                            m->peer,
                            p->reason,
                            frames,
                            sane_windows(m) ? first : NULL,
                            slot,
                            (const char *)m->raw_header,
                            payload ? payload : ""};
    int lengths[ARRAY_SIZE(values)];
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        lengths[i] = -1;
    lengths[9] = (int)m->raw_header_size;
    lengths[10] = (int)zmq_msg_size((zmq_msg_t *)&m->payload);
    return db_query_mixed(
        db,
        "insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, "
        "frames, first_window, booked_slot, header, payload) values ($1::smallint, $2::uuid, "
        "$3::bigint, timestamptz 'epoch' + $4::bigint * interval '1 ms', $5, $6, $7::bigint, "
        "timestamptz 'epoch' + $8::bigint * interval '1 ms', timestamptz 'epoch' + $9::bigint * "
        "interval '1 ms', $10::bytea, $11::bytea)",
        ARRAY_SIZE(values), values, lengths, NULL, e);
}

static int write_loss(const struct loss_row *l, struct db *db, struct errmsg *e)
{
    char sensor[16], spool[33], seq[24], first[24], last[24], frames[24];
    snprintf(sensor, sizeof sensor, "%d", l->stream->sensor_id);
    format_uuid(l->stream->spool_id, spool);
    snprintf(seq, sizeof seq, "%" PRIu64, l->seq);
    snprintf(first, sizeof first, "%" PRId64, l->first_ms);
    snprintf(last, sizeof last, "%" PRId64, l->last_ms);
    snprintf(frames, sizeof frames, "%" PRId64, l->frames);
    const char *values[] = {sensor,
                            spool,
                            seq,
                            l->unknown ? "unknown" : "lost",
                            l->first_ms == 0 && l->unknown ? NULL : first,
                            last,
                            frames,
                            *l->reason ? l->reason : "no reason given"};
    // Since the window delivered last, which an earlier commit wrote: this statement runs before
    // the ledger's upsert of this one. Not the greatest: the sensor's clock may have been wrong for
    // a while; one that lies ahead of the loss says only that it was set back. A sensor that never
    // delivered lost what it saw since it was enrolled.
    return db_query(
        db,
        "insert into hirundo.loss (sensor_id, spool_id, seq, kind, first_window, last_window, "
        "frames, reason, declared_at) select $1::smallint, $2::uuid, $3::bigint, $4, "
        "least(coalesce("
        "timestamptz 'epoch' + $5::bigint * interval '1 ms', (select case when l.last_window < t "
        "then l.last_window else t - interval '20 minutes' end from hirundo.ledger l where "
        "l.sensor_id = $1::smallint and l.last_window is not null order by l.last_batch_at desc, "
        "l.last_window desc limit 1), (select added_at from hirundo.sensor where sensor_id = "
        "$1::smallint), t), t), t, $7::bigint, $8, now() from (select timestamptz 'epoch' + "
        "$6::bigint * interval '1 ms' as t) u",
        8, values, NULL, e);
}

// ---- the ledger

static int by_stream(const void *a, const void *b)
{
    const struct stream *x = *(struct stream *const *)a, *y = *(struct stream *const *)b;
    if (x->sensor_id != y->sensor_id)
        return x->sensor_id < y->sensor_id ? -1 : 1;
    return memcmp(x->spool_id, y->spool_id, WIRE_SPOOL_ID_SIZE);
}

enum { L_SENSOR, L_SPOOL, L_FROM, L_NEXT, L_WINDOW, L_RUN, L_FRAMES, L_KERNEL, L_IF, L_COLUMNS };

static void add_move(struct text columns[L_COLUMNS], const struct stream *s)
{
    const struct wire_header *h = &s->last->header;
    char spool[33];
    format_uuid(s->spool_id, spool);
    text_array_int(&columns[L_SENSOR], s->sensor_id);
    text_array_word(&columns[L_SPOOL], spool);
    text_array_int(&columns[L_FROM], (int64_t)s->from);
    text_array_int(&columns[L_NEXT], (int64_t)s->through + 1);
    if (sane_windows(s->last))
        text_array_int(&columns[L_WINDOW], h->last_window_ms);
    else
        text_array_null(&columns[L_WINDOW]);
    text_array_int(&columns[L_RUN], (int64_t)h->run_id);
    text_array_int(&columns[L_FRAMES], to_bigint(h->counters.frames));
    text_array_int(&columns[L_KERNEL], to_bigint(h->counters.kernel_dropped));
    text_array_int(&columns[L_IF], to_bigint(h->counters.interface_dropped));
}

// Advances a row only where it still says what we think, in key order, and never for a revoked
// sensor.
static const char advance[] =
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
    "returning l.sensor_id, replace(l.spool_id::text, '-', ''), l.xmax = 0";

// Which streams the database did advance; a new row must begin at 1.
static int check_moves(struct group *g, const PGresult *result)
{
    size_t good = 0;
    for (size_t i = 0; i < g->n_moves; i++)
        g->moves[i]->stale = true;
    for (int k = 0; k < PQntuples(result); k++) {
        struct stream wanted = {.sensor_id = (int16_t)atoi(PQgetvalue(result, k, 0))};
        const char *hex = PQgetvalue(result, k, 1);
        for (size_t i = 0; i < WIRE_SPOOL_ID_SIZE; i++) {
            char two[] = {hex[2 * i], hex[2 * i + 1], '\0'};
            wanted.spool_id[i] = (uint8_t)strtoul(two, NULL, 16);
        }
        const struct stream *key = &wanted;
        struct stream **found =
            bsearch(&key, g->moves, g->n_moves, sizeof(struct stream *), by_stream);
        bool is_new = *PQgetvalue(result, k, 2) == 't';
        if (!found || (is_new && (*found)->from != 1))
            continue;
        (*found)->stale = false;
        good++;
    }
    return good == g->n_moves ? 0 : GROUP_STALE;
}

static int write_ledger(struct group *g, struct db *db, struct errmsg *e)
{
    struct text columns[L_COLUMNS] = {0};
    const char *values[L_COLUMNS];
    bool bad = false;
    qsort(g->moves, g->n_moves, sizeof(struct stream *), by_stream);
    for (size_t i = 0; i < g->n_moves; i++)
        add_move(columns, g->moves[i]);
    for (size_t k = 0; k < L_COLUMNS; k++) {
        text_array_end(&columns[k]);
        values[k] = columns[k].p;
        bad |= columns[k].bad;
    }
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = bad ? -ENOMEM : db_query(db, advance, L_COLUMNS, values, &result, e);
    for (size_t k = 0; k < L_COLUMNS; k++)
        text_release(&columns[k]);
    return r == 0 ? check_moves(g, result) : r;
}

// ---- the transaction

static int write_copy(struct copy_buffer *b, const char *sql, struct db *db, struct errmsg *e)
{
    if (b->rows == 0)
        return 0;
    int r = copy_end(b);
    if (r == 0)
        r = db_copy_begin(db, sql, e);
    if (r == 0)
        r = db_copy_put(db, b->p, b->used, e);
    return r == 0 ? db_copy_end(db, e) : r;
}

static int write_group(struct group *g, struct db *db, struct errmsg *e)
{
    int r = 0;
    for (size_t i = 0; i < g->n_losses && r == 0; i++)
        r = write_loss(&g->losses[i], db, e);
    if (r == 0)
        r = write_ledger(g, db, e);
    if (r == 0)
        r = write_copy(&g->flows,
                       "copy hirundo.flow (" COPY_FLOW_COLUMNS ") from stdin (format binary)", db,
                       e);
    if (r == 0)
        r = write_copy(&g->floods,
                       "copy hirundo.flood (" COPY_FLOOD_COLUMNS ") from stdin (format binary)", db,
                       e);
    if (r == 0)
        r = write_copy(&g->batches,
                       "copy hirundo.batch (" COPY_BATCH_COLUMNS ") from stdin (format binary)", db,
                       e);
    for (size_t i = 0; i < g->n_poisons && r == 0; i++)
        r = write_poison(&g->poisons[i], db, e);
    return r == 0 ? observations_write(g->observations, db, e) : r;
}

int group_commit(struct group *g, struct db *db, struct errmsg *e)
{
    int r = db_exec(db, "begin", e);
    if (r == 0)
        r = write_group(g, db, e);
    if (r == 0)
        return db_exec(db, "commit", e);
    if (db_is_open(db)) {
        int rolled = db_exec(db, "rollback", NULL);
        if (rolled < 0)
            return errmsg_set(e, rolled, "database: lost while rolling back");
    }
    return r;
}
