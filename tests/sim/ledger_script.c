// hirundo-sim-ledger: the simulation's collector and ledger fed from a script, so that the same
// messages can be given to the real ones (tests/sim/test_ledger.py).
//
// Lines: batch|loss|unknown SENSOR SPOOL FIRST LAST CONTENT LO HI; crash; backup; restore.
// Prints one line for each answer, `ack|gap|fork SENSOR SPOOL SEQ NUMBER`, and at the end
// `ledger SENSOR SPOOL NEXT_SEQ` and `row SENSOR SPOOL SEQ KIND CONTENT LO HI`.
#include <inttypes.h>
#include <string.h>

#include "tests/sim/world.h"

struct line {
    uint32_t sensor, spool, content;
    uint64_t first, last;
    int64_t lo, hi;
};

static struct sim_message *make_message(const char *kind, const struct line *l, uint32_t route)
{
    bool batch = strcmp(kind, "batch") == 0;
    struct sim_message *m = calloc(1, sizeof *m + sizeof m->parts[0]);
    if (!m)
        return NULL;
    m->kind = batch ? MESSAGE_BATCH : MESSAGE_LOSS;
    m->sensor = l->sensor;
    m->route = route;
    m->spool = l->spool;
    m->first = l->first;
    m->last = l->last;
    m->content = l->content;
    m->first_window = l->lo;
    m->last_window = l->hi;
    m->bytes = 100;
    if (batch)
        return m;
    m->parts_n = 1;
    m->parts[0] = (struct loss_part){.first = l->first,
                                     .last = l->last,
                                     .unknown = strcmp(kind, "unknown") == 0,
                                     .content = l->content,
                                     .lo = l->lo,
                                     .hi = l->hi};
    return m;
}

static void print_reply(struct world *w, uint32_t sensor, const struct sim_reply *r)
{
    static const char *const names[] = {"pong", "ack", "gap", "fork"};
    printf("%s %u %u %" PRIu64 " %" PRIu64 "\n", names[r->kind], sensor, r->spool, r->seq,
           r->number);
    if (r->kind == REPLY_FORK) // a sensor connects anew then
        w->sensors[sensor].route += SENSORS_MAX;
}

// Lets the writer come to rest.
static void settle(struct world *w)
{
    while (w->heap.n > 0 && !w->failed) {
        struct event e = heap_pop(&w->heap);
        w->now = e.at;
        if (e.kind == EVENT_WRITER && e.epoch == w->collectors[0].epoch)
            writer_step(w, &w->collectors[0]);
        else if (e.kind == EVENT_TO_SENSOR)
            print_reply(w, e.who, e.data);
        free(e.data);
    }
    w->now += 2000; // a gap is told again
}

static int restore(struct world *w, const struct ledger *backup)
{
    struct ledger *back;
    if (!backup || ledger_copy(backup, &back) < 0)
        return -EINVAL;
    ledger_free(w->db.ledger);
    w->db.ledger = back;
    return 0;
}

static void crash(struct world *w)
{
    collector_crash(w, &w->collectors[0], 0);
    collector_start(w, &w->collectors[0]);
    settle(w);
}

static int take_line(struct world *w, const char *text)
{
    char kind[16];
    struct line l;
    int n = sscanf(text, "%15s %u %u %" SCNu64 " %" SCNu64 " %u %" SCNd64 " %" SCNd64, kind,
                   &l.sensor, &l.spool, &l.first, &l.last, &l.content, &l.lo, &l.hi);
    if (n == 1 && strcmp(kind, "crash") == 0) {
        crash(w);
    } else if (n == 1 && strcmp(kind, "backup") == 0) {
        ledger_free(w->db.backup);
        w->db.backup = NULL;
        return ledger_copy(w->db.ledger, &w->db.backup);
    } else if (n == 1 && strcmp(kind, "restore") == 0) {
        int r = restore(w, w->db.backup);
        crash(w);
        return r;
    } else if (n == 8 && l.sensor < SENSORS_MAX) {
        struct sim_message *m = make_message(kind, &l, w->sensors[l.sensor].route);
        if (!m)
            return -ENOMEM;
        collector_receive(w, &w->collectors[0], m);
        settle(w);
    } else {
        return -EINVAL;
    }
    return 0;
}

static void print_ledger(const struct ledger *l)
{
    static const char *const kinds[] = {"none", "committed", "lost", "unknown", "known"};
    for (uint32_t i = 0; i < l->n_sensors; i++) {
        for (size_t k = 0; k < l->sensors[i].n; k++) {
            const struct ledger_stream *s = &l->sensors[i].streams[k];
            if (!s->exists)
                continue;
            printf("ledger %u %u %" PRIu64 "\n", i, s->spool, s->next_seq);
            for (uint64_t seq = 1; seq < s->next_seq; seq++) {
                const struct row *row = &s->rows[seq - 1];
                if (row->kind != ROW_NONE)
                    printf("row %u %u %" PRIu64 " %s %u %" PRId64 " %" PRId64 "\n", i, s->spool,
                           seq, kinds[row->kind], row->content, row->lo, row->hi);
            }
        }
    }
}

static int run(struct world *w)
{
    char text[256];
    int r = ledger_new(SENSORS_MAX, &w->db.ledger);
    w->n_sensors = SENSORS_MAX;
    w->n_collectors = 1;
    w->db.up = true;
    w->now = 1000;
    for (uint32_t i = 0; i < SENSORS_MAX; i++)
        w->sensors[i] = (struct sensor_node){.number = i, .route = i + 1};
    if (r == 0)
        r = collector_init(w, &w->collectors[0]);
    for (unsigned n = 1; r == 0 && fgets(text, sizeof text, stdin); n++) {
        r = take_line(w, text);
        if (r < 0)
            fprintf(stderr, "line %u: %s", n, text);
    }
    if (r == 0)
        print_ledger(w->db.ledger);
    return r;
}

int main(void)
{
    struct tally tally = {0};
    _cleanup_(freep) struct world *w = calloc(1, sizeof *w);
    if (!w)
        return 1;
    w->tally = &tally;
    w->unchecked = true;
    int r = run(w);
    collector_release(&w->collectors[0]);
    for (uint32_t i = 0; i < SENSORS_MAX; i++)
        truth_release(&w->sensors[i]);
    ledger_free(w->db.ledger);
    ledger_free(w->db.backup);
    free(w->heap.events);
    if (w->failed)
        fprintf(stderr, "%s\n", w->failure);
    return r < 0 || w->failed ? 1 : 0;
}
