// The messages of one commit: what collector/streams.c and group.c do.
#include <string.h>

#include "tests/sim/world.h"

// ---- streams

struct sim_stream *group_stream(const struct collector_node *c, const struct item *item)
{
    return &c->streams[item->stream];
}

void group_load(struct world *w, struct sim_stream *s)
{
    receiver_reload(&s->receiver, ledger_next_seq(w->db.ledger, s->sensor, s->spool));
    s->stale = false;
}

int group_get(struct world *w, struct collector_node *c, const struct sim_message *m, uint32_t *ret)
{
    for (uint32_t i = c->n_streams; i-- > 0;) {
        struct sim_stream *s = &c->streams[i];
        if (s->sensor != m->sensor || s->spool != m->spool)
            continue;
        if (s->stale)
            group_load(w, s);
        *ret = i;
        return 0;
    }
    if (c->n_streams == c->room_streams) {
        uint32_t room = 2 * c->room_streams + 8;
        struct sim_stream *streams = realloc(c->streams, room * sizeof *streams);
        if (!streams)
            return -ENOMEM;
        c->streams = streams;
        c->room_streams = room;
    }
    struct sim_stream *s = &c->streams[c->n_streams];
    *s = (struct sim_stream){.sensor = m->sensor, .spool = m->spool};
    receiver_start(&s->receiver, 1);
    group_load(w, s);
    *ret = c->n_streams++;
    return 0;
}

// ---- the group

void group_clear(struct collector_node *c)
{
    for (uint32_t i = 0; i < c->n_streams; i++) {
        c->streams[i].from = 0;
        c->streams[i].last = NULL;
    }
    c->grouped = 0;
    if (c->tx)
        tx_clear(c->tx);
}

static int add_row(struct collector_node *c, const struct sim_stream *s, uint64_t seq,
                   struct row row)
{
    if (!c->tx)
        c->tx = calloc(1, sizeof *c->tx);
    if (!c->tx)
        return -ENOMEM;
    return tx_add_row(c->tx, (struct tx_row){s->sensor, s->spool, seq, row});
}

static enum row_kind unless_known(const struct world *w, const struct sim_stream *s,
                                  uint32_t content, enum row_kind kind)
{
    return ledger_knows(w->db.ledger, s->sensor, s->spool, content) ? ROW_KNOWN : kind;
}

static int add_loss_part(const struct world *w, struct collector_node *c,
                         const struct sim_stream *s, const struct loss_part *p)
{
    const struct loss_item item = {.seq_first = p->first, .seq_last = p->last};
    enum receiver_loss what = receiver_loss_item(s->receiver.pending_seq, &item);
    if (what == RECEIVER_LOSS_KNOWN)
        return 0;
    struct row row = {.kind = ROW_LOST, .content = p->content, .lo = p->lo, .hi = p->hi};
    if (p->unknown || what == RECEIVER_LOSS_SPLIT)
        row = (struct row){.kind = ROW_UNKNOWN, .lo = p->lo, .hi = p->hi};
    else
        row.kind = unless_known(w, s, p->content, ROW_LOST);
    return add_row(c, s, MAX(p->first, s->receiver.pending_seq), row);
}

int group_add(const struct world *w, struct collector_node *c, struct item *item)
{
    const struct sim_message *m = item->m;
    struct sim_stream *s = group_stream(c, item);
    int r = 0;
    if (m->kind == MESSAGE_BATCH)
        r = add_row(c, s, m->first,
                    (struct row){.kind = unless_known(w, s, m->content, ROW_COMMITTED),
                                 .content = m->content,
                                 .lo = m->first_window,
                                 .hi = m->last_window});
    for (uint32_t i = 0; i < m->parts_n && r == 0; i++)
        r = add_loss_part(w, c, s, &m->parts[i]);
    if (r < 0)
        return r;
    if (s->from == 0)
        s->from = s->receiver.pending_seq;
    s->through = m->last;
    s->last = m;
    receiver_take(&s->receiver, m->last);
    c->grouped++;
    return 0;
}

// ---- what came again, against what is kept of its number

static void put_content(uint8_t digest[WIRE_SHA256_SIZE], uint32_t content)
{
    memset(digest, 0, WIRE_SHA256_SIZE);
    memcpy(digest, &content, sizeof content);
}

// What is kept of numbers first..last.
static void read_kept(const struct world *w, const struct sim_message *m, uint64_t first,
                      uint64_t last, struct receiver_kept *ret)
{
    *ret = (struct receiver_kept){0};
    const struct row *row = NULL;
    uint64_t seq = first;
    for (; seq > 0 && !row; seq--)
        row = ledger_row(w->db.ledger, m->sensor, m->spool, seq);
    if (!row)
        return;
    ret->found = seq + 1 == first || row->kind == ROW_UNKNOWN;
    ret->is_batch = row->kind == ROW_COMMITTED || row->kind == ROW_KNOWN;
    put_content(ret->digest, row->content);
    ret->first_ms = row->lo;
    ret->last_ms = ret->latest_ms = row->hi;
    for (seq = first + 1; seq <= last; seq++) {
        row = ledger_row(w->db.ledger, m->sensor, m->spool, seq);
        ret->latest_ms = row ? MAX(ret->latest_ms, row->hi) : ret->latest_ms;
    }
}

static bool batch_is_other(const struct world *w, const struct sim_message *m)
{
    struct receiver_kept kept;
    struct wire_header h = {.first_window_ms = m->first_window, .last_window_ms = m->last_window};
    read_kept(w, m, m->first, m->first, &kept);
    put_content(h.sha256, m->content);
    return receiver_batch_is_other(&kept, &h);
}

static bool loss_is_other(const struct world *w, const struct sim_message *m,
                          const struct loss_part *p)
{
    struct receiver_kept kept;
    const struct loss_item item = {.seq_first = p->first,
                                   .seq_last = p->last,
                                   .unknown = p->unknown,
                                   .first_ms = p->lo,
                                   .last_ms = p->hi};
    read_kept(w, m, p->first, p->last, &kept);
    return receiver_loss_is_other(&kept, &item);
}

// The first number of the message that the ledger holds with another content; 0: none.
uint64_t group_find_fork(const struct world *w, const struct sim_message *m)
{
    uint64_t next = ledger_next_seq(w->db.ledger, m->sensor, m->spool);
    if (m->kind == MESSAGE_BATCH)
        return m->first < next && batch_is_other(w, m) ? m->first : 0;
    for (uint32_t i = 0; i < m->parts_n && m->parts[i].last < next; i++) {
        if (loss_is_other(w, m, &m->parts[i]))
            return m->parts[i].first;
    }
    return 0;
}
