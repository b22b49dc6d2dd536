#include "collector/group.h"

#include <ctype.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "collector/copy_row.h"
#include "collector/known.h"
#include "collector/ledger.h"
#include "collector/observe.h"
#include "common/clock.h"

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
    struct sha256 *sha256;
    struct wire_decoder *decoder;
    struct copy_buffer flows, floods, batches;
    struct batch_row *batch_rows; // become `batches`, in key order
    size_t n_batch_rows, batch_rows_size;
    struct observations *observations;
    struct ledger *ledger;
    struct stream **moves; // streams with a ledger move, GROUP_MESSAGES
    size_t n_moves;
    struct poison *poisons; // grows
    size_t n_poisons;
    struct loss_row *losses;
    size_t n_losses;
    size_t messages;
    int64_t clock_offset_ms;          // the clock of group_set_clock less CLOCK_MONOTONIC
    struct dims_ids ids;              // scratch
    uint8_t spools_of[INT16_MAX + 1]; // how many streams with a ledger move each sensor has
};

void group_set_clock(struct group *g, int64_t now_ms)
{
    g->clock_offset_ms = now_ms - mono_ms();
}

int group_new(struct group **ret)
{
    _cleanup_(group_freep) struct group *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    group_set_clock(g, wall_ms());
    g->moves = calloc(GROUP_MESSAGES, sizeof *g->moves);
    g->ids.flow_dst = calloc(BATCH_FLOWS_MAX, sizeof *g->ids.flow_dst);
    g->ids.flow_options = calloc(BATCH_FLOWS_MAX, sizeof *g->ids.flow_options);
    g->ids.flood_dst = calloc(BATCH_FLOODS_MAX, sizeof *g->ids.flood_dst);
    if (!g->moves || !g->ids.flow_dst || !g->ids.flow_options || !g->ids.flood_dst ||
        sha256_new(&g->sha256) < 0 || wire_decoder_new(&g->decoder) < 0 ||
        observations_new(&g->observations) < 0 || ledger_new(&g->ledger) < 0)
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
    sha256_free(g->sha256);
    wire_decoder_free(g->decoder);
    observations_free(g->observations);
    ledger_free(g->ledger);
    free(g->batch_rows);
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
        g->spools_of[g->moves[i]->sensor_id] = 0;
    }
    g->n_moves = 0;
    g->n_poisons = 0;
    g->n_losses = 0;
    g->messages = 0;
    g->n_batch_rows = 0;
    g->flows.rows = g->floods.rows = 0;
    observations_clear(g->observations);
}

void group_shrink(struct group *g)
{
    struct wire_decoder *decoder;
    if (wire_decoder_new(&decoder) == 0) { // the old one keeps what its largest batch took
        wire_decoder_free(g->decoder);
        g->decoder = decoder;
    }
    copy_buffer_release(&g->flows);
    copy_buffer_release(&g->floods);
    copy_buffer_release(&g->batches);
    free(g->batch_rows);
    free(g->poisons);
    free(g->losses);
    g->batch_rows = NULL;
    g->batch_rows_size = 0;
    g->poisons = NULL;
    g->losses = NULL;
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
    size_t rows = group_rows(g);
    return rows >= (g->messages < GROUP_FEW ? GROUP_ROWS : GROUP_ROWS_MAX) ||
           g->messages >= GROUP_MESSAGES || observations_count(g->observations) >= GROUP_SLOTS;
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
        if (g->spools_of[stream->sensor_id] < UINT8_MAX)
            g->spools_of[stream->sensor_id]++;
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

// The row, of a message; what a message's header says of a batch is filled in where the caller
// leaves it out.
static int add_batch_row(struct group *g, const struct message *m, struct batch_row row)
{
    if (g->n_batch_rows == g->batch_rows_size) {
        size_t size = g->batch_rows_size ? 2 * g->batch_rows_size : 256;
        struct batch_row *rows = realloc(g->batch_rows, size * sizeof *rows);
        if (!rows)
            return -ENOMEM;
        g->batch_rows = rows;
        g->batch_rows_size = size;
    }
    row.sensor_id = m->sensor_id;
    row.spool_id = m->header.spool_id;
    row.committed_ms = mono_ms() + g->clock_offset_ms;
    row.payload_bytes = (uint32_t)zmq_msg_size((zmq_msg_t *)&m->payload);
    if (m->header.kind == WIRE_BATCH) {
        memcpy(row.digest, m->header.sha256, sizeof row.digest);
        row.first_window_ms = m->header.first_window_ms;
        row.last_window_ms = m->header.last_window_ms;
    }
    g->batch_rows[g->n_batch_rows++] = row;
    return 0;
}

// ---- what is there already

static bool known_in_group(const struct group *g, const struct stream *s,
                           const uint8_t digest[WIRE_SHA256_SIZE])
{
    if (g->spools_of[s->sensor_id] <= (s->from != 0))
        return false; // no other one of the sensor is in the group
    for (size_t i = 0; i < g->n_batch_rows; i++) {
        const struct batch_row *row = &g->batch_rows[i];
        if (row->sensor_id == s->sensor_id &&
            memcmp(row->digest, digest, sizeof row->digest) == 0 &&
            memcmp(row->spool_id, s->spool_id, WIRE_SPOOL_ID_SIZE) != 0)
            return true;
    }
    return false;
}

static int find_known(const struct group *g, struct db *db, const struct stream *s,
                      enum elsewhere asked, const uint8_t digest[WIRE_SHA256_SIZE], int64_t last_ms,
                      bool *ret, struct errmsg *e)
{
    static const uint8_t none[WIRE_SHA256_SIZE];
    *ret = false;
    if (!s->siblings || memcmp(digest, none, sizeof none) == 0)
        return 0;
    *ret = asked == ELSEWHERE_YES || known_in_group(g, s, digest);
    return *ret || asked != ELSEWHERE_NOT_ASKED ? 0
                                                : known_elsewhere(db, s, digest, last_ms, ret, e);
}

static int add_known_batch(struct group *g, struct stream *stream, const struct message *m)
{
    int r = add_batch_row(
        g, m, (struct batch_row){.seq = m->header.seq, .has_windows = true, .outcome = "known"});
    if (r == 0)
        move_ledger(g, stream, m, m->header.seq);
    return r;
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
    int r = validate_payload(g->sha256, &m->header, payload, size, e);
    bool known = false;
    if (r == 0 && message_has_windows(m)) {
        r = find_known(g, db, stream, m->elsewhere, m->header.sha256, m->header.last_window_ms,
                       &known, e);
        if (r != 0 || known)
            return r != 0 ? r : add_known_batch(g, stream, m);
    }
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
        r = add_batch_row(g, m,
                          (struct batch_row){.seq = m->header.seq,
                                             .has_windows = true,
                                             .frames = to_bigint(m->header.frames),
                                             .flows = b.n_flows,
                                             .floods = b.n_floods,
                                             .outcome = "committed"});
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

static int add_loss_row(struct group *g, const struct stream *stream, const struct message *m,
                        const struct loss_item *item, bool unknown, uint64_t seq,
                        int64_t *ret_frames)
{
    struct loss_row *row = new_loss(g);
    if (!row)
        return -ENOMEM;
    row->stream = stream;
    row->seq = seq;
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
    *ret_frames = row->frames;
    return 0;
}

static int add_loss_item(struct group *g, struct db *db, const struct stream *stream,
                         const struct message *m, const struct loss_item *item, struct errmsg *e)
{
    enum receiver_loss what = receiver_loss_item(stream->receiver.pending_seq, item);
    if (what == RECEIVER_LOSS_KNOWN)
        return 0;
    bool unknown = item->unknown || what == RECEIVER_LOSS_SPLIT, known = false;
    int r = 0;
    struct batch_row batch = {.seq = MAX(item->seq_first, stream->receiver.pending_seq),
                              .outcome = "unknown"};
    if (!unknown) { // by its digest it is known again
        batch.has_windows = true;
        batch.first_window_ms = item->first_ms;
        batch.last_window_ms = item->last_ms;
        memcpy(batch.digest, item->sha256, sizeof batch.digest);
        r = find_known(g, db, stream, ELSEWHERE_NOT_ASKED, item->sha256, item->last_ms, &known, e);
        batch.outcome = known ? "known" : "lost";
    }
    if (r == 0 && !known)
        r = add_loss_row(g, stream, m, item, unknown, batch.seq, &batch.frames);
    return r == 0 ? add_batch_row(g, m, batch) : r;
}

static int add_loss(struct group *g, struct db *db, struct stream *stream, const struct message *m,
                    const struct validate_limits *limits, struct errmsg *e)
{
    const uint8_t *payload = zmq_msg_data((zmq_msg_t *)&m->payload);
    size_t size = zmq_msg_size((zmq_msg_t *)&m->payload);
    _cleanup_(freep) struct loss_item *items = NULL;
    size_t n = 0;
    int r = validate_payload(g->sha256, &m->header, payload, size, e);
    if (r == 0)
        r = wire_loss_decode(payload, size, &items, &n, e);
    if (r == 0)
        r = validate_loss(&m->header, items, n, limits, e);
    if (r != 0)
        return r < 0 ? r : GROUP_POISON;
    for (size_t i = 0; i < n; i++) {
        r = add_loss_item(g, db, stream, m, &items[i], e);
        if (r != 0)
            return r;
    }
    move_ledger(g, stream, m, items[n - 1].seq_last);
    return 0;
}

int group_add(struct group *g, struct db *db, struct dims *dims, struct stream *stream,
              const struct message *m, const struct validate_limits *limits, struct errmsg *e)
{
    if (m->header.kind == WIRE_LOSS)
        return add_loss(g, db, stream, m, limits, e);
    return add_batch(g, db, dims, stream, m, limits, e);
}

// ---- quarantine

static int64_t booked_frames(const struct wire_header *h)
{
    return h->frames > VALIDATE_COUNT_MAX ? 0 : (int64_t)h->frames;
}

static int64_t booked_at(const struct message *m)
{
    return message_has_windows(m) ? m->header.first_window_ms : m->received_ms;
}

// The last row added stands under the digest of what came, not under the one its header names: a
// sound copy that comes later is another batch.
static void note_digest(struct group *g, const struct message *m)
{
    size_t size = zmq_msg_size((zmq_msg_t *)&m->payload);
    if (m->header.kind == WIRE_BATCH && size > 0)
        wire_sha256(zmq_msg_data((zmq_msg_t *)&m->payload), size,
                    g->batch_rows[g->n_batch_rows - 1].digest);
}

int group_add_poison(struct group *g, struct stream *stream, const struct message *m, uint64_t last,
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
        r = add_batch_row(g, m,
                          (struct batch_row){.seq = stream->receiver.pending_seq,
                                             .has_windows = message_has_windows(m),
                                             .first_window_ms = m->header.first_window_ms,
                                             .last_window_ms = m->header.last_window_ms,
                                             .frames = booked_frames(&m->header),
                                             .outcome = "quarantined"});
    if (r < 0)
        return errmsg_set(e, r, "out of memory");
    note_digest(g, m);
    g->n_poisons++;
    move_ledger(g, stream, m, MAX(last, stream->receiver.pending_seq));
    return 0;
}

static int write_poison(const struct poison *p, struct db *db, struct errmsg *e)
{
    const struct message *m = p->m;
    const struct wire_header *h = &m->header;
    char sensor[16], spool[33], seq[24], received[24], frames[24], first[24], slot[24];
    snprintf(sensor, sizeof sensor, "%d", m->sensor_id);
    sodium_bin2hex(spool, sizeof spool, h->spool_id, WIRE_SPOOL_ID_SIZE);
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
                            message_has_windows(m) ? first : NULL,
                            slot,
                            zmq_msg_data((zmq_msg_t *)&m->raw_header),
                            payload ? payload : ""};
    int lengths[ARRAY_SIZE(values)];
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        lengths[i] = -1;
    lengths[9] = (int)zmq_msg_size((zmq_msg_t *)&m->raw_header);
    lengths[10] = (int)zmq_msg_size((zmq_msg_t *)&m->payload);
    // Retention goes by received_at: a collector's wrong clock must not make it years old.
    return db_query_mixed(
        db,
        "insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, "
        "frames, first_window, booked_slot, header, payload) values ($1::smallint, $2::uuid, "
        "$3::bigint, least(greatest(timestamptz 'epoch' + $4::bigint * interval '1 ms', now() - "
        "interval '1 hour'), now()), $5, $6, $7::bigint, "
        "timestamptz 'epoch' + $8::bigint * interval '1 ms', timestamptz 'epoch' + $9::bigint * "
        "interval '1 ms', $10::bytea, $11::bytea)",
        ARRAY_SIZE(values), values, lengths, NULL, e);
}

static int write_loss(const struct loss_row *l, struct db *db, struct errmsg *e)
{
    char sensor[16], spool[33], seq[24], first[24], last[24], frames[24], received[24];
    snprintf(received, sizeof received, "%" PRId64, l->stream->received_ms);
    snprintf(sensor, sizeof sensor, "%d", l->stream->sensor_id);
    sodium_bin2hex(spool, sizeof spool, l->stream->spool_id, WIRE_SPOOL_ID_SIZE);
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
                            *l->reason ? l->reason : "no reason given",
                            l->stream->received_ms ? received : NULL};
    // Since the window delivered last, which an earlier commit wrote: this statement runs before
    // the ledger's upsert of this one. Not the greatest: the sensor's clock may have been wrong for
    // a while; one that lies ahead of the loss says only that it was set back. A sensor that never
    // delivered lost what it saw since it was enrolled. Out of quarantine: delivered before the
    // message came.
    return db_query(
        db,
        "insert into hirundo.loss (sensor_id, spool_id, seq, kind, first_window, last_window, "
        "frames, reason, declared_at) select $1::smallint, $2::uuid, $3::bigint, $4, "
        "least(coalesce("
        "timestamptz 'epoch' + $5::bigint * interval '1 ms', case when $9::bigint is null then "
        "(select case when l.last_window < t "
        "then l.last_window else t - interval '20 minutes' end from hirundo.ledger l where "
        "l.sensor_id = $1::smallint and l.last_window is not null order by l.last_batch_at desc, "
        "l.last_window desc limit 1) else (select max(b.last_window) from hirundo.batch b where "
        "b.sensor_id = $1::smallint and b.outcome = 'committed' and b.last_window < t and "
        "b.committed_at < timestamptz 'epoch' + $9::bigint * interval '1 ms') end, (select "
        "added_at from hirundo.sensor where sensor_id = "
        "$1::smallint), t), t), t, $7::bigint, $8, now() from (select timestamptz 'epoch' + "
        "$6::bigint * interval '1 ms' as t) u",
        9, values, NULL, e);
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

static int by_batch(const void *a, const void *b)
{
    const struct batch_row *x = a, *y = b;
    if (x->sensor_id != y->sensor_id)
        return x->sensor_id < y->sensor_id ? -1 : 1;
    int r = memcmp(x->spool_id, y->spool_id, WIRE_SPOOL_ID_SIZE);
    return r ? r : (x->seq > y->seq) - (x->seq < y->seq);
}

// In the order of their index, whose pages are then met one after the other.
static int write_batches(struct group *g, struct db *db, struct errmsg *e)
{
    qsort(g->batch_rows, g->n_batch_rows, sizeof *g->batch_rows, by_batch);
    int r = copy_begin(&g->batches);
    for (size_t i = 0; i < g->n_batch_rows && r == 0; i++)
        r = copy_batch(&g->batches, &g->batch_rows[i]);
    if (r < 0)
        return r;
    return write_copy(&g->batches,
                      "copy hirundo.batch (" COPY_BATCH_COLUMNS ") from stdin (format binary)", db,
                      e);
}

static int write_losses(struct group *g, struct db *db, struct errmsg *e)
{
    int r = 0;
    for (size_t i = 0; i < g->n_losses && r == 0; i++)
        r = write_loss(&g->losses[i], db, e);
    return r;
}

static int write_copies(struct group *g, struct db *db, struct errmsg *e)
{
    int r = write_copy(
        &g->flows, "copy hirundo.flow (" COPY_FLOW_COLUMNS ") from stdin (format binary)", db, e);
    if (r == 0)
        r = write_copy(&g->floods,
                       "copy hirundo.flood (" COPY_FLOOD_COLUMNS ") from stdin (format binary)", db,
                       e);
    return r == 0 ? write_batches(g, db, e) : r;
}

static int write_group(struct group *g, struct db *db, struct errmsg *e)
{
    int r = write_losses(g, db, e);
    if (r == 0)
        r = ledger_advance(g->ledger, g->moves, g->n_moves, db, e);
    if (r == 0)
        r = write_copies(g, db, e);
    for (size_t i = 0; i < g->n_poisons && r == 0; i++)
        r = write_poison(&g->poisons[i], db, e);
    return r == 0 ? observations_write(g->observations, db, e) : r;
}

int group_take_back(struct group *g, int16_t sensor_id, int64_t at_ms, int64_t frames)
{
    return observations_add_quarantined(g->observations, sensor_id, at_ms, -frames);
}

int group_write_rows(struct group *g, struct db *db, struct errmsg *e)
{
    int r = write_losses(g, db, e);
    if (r == 0)
        r = write_copies(g, db, e);
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
