#include "collector/writer.h"

#include <string.h>

#include "collector/writer_internal.h"
#include "common/log.h"

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS   10000
#define IDLE_MS          200
#define SLOW_MS          10000 // a database that needs longer for one step takes nothing for now
#define BURST_ITEMS      256   // messages at once after which memory is given back
#define REST_MS          5000  // and when: at rest, or so long after the last such burst
#define GATHER_FROM      128
#define GATHER_MORE      32
#define GATHER_FULL      4096 // messages, with which a commit's own costs are small beside theirs
#define GATHER_STEP_MS   4
#define GATHER_STEPS     20

static void forget_streams(struct writer *w)
{
    group_clear(w->group);
    streams_clear(w->streams);
    for (size_t i = 0; i < w->n_items; i++)
        w->items[i].stream = NULL;
}

// ---- the database

static int check_durability(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select current_setting('fsync')", 0, NULL, &result, e);
    if (r == 0 && strcmp(PQgetvalue(result, 0, 0), "on") != 0)
        log_error("alarm: the database runs with fsync = off: a crash of its host loses "
                  "acknowledged data");
    return r;
}

static int read_clock(struct writer *w, struct db *db, struct errmsg *e)
{
    int64_t now_ms;
    int r = db_query_number(db, "select (extract(epoch from clock_timestamp()) * 1000)::bigint", 0,
                            NULL, &now_ms, e);
    if (r == 0)
        group_set_clock(w->group, now_ms);
    return r;
}

static int connect_db(struct writer *w, struct errmsg *e)
{
    static const char *const settings[] = {
        "set synchronous_commit = on",   "set lock_timeout = '2s'",
        "set statement_timeout = '60s'", "set idle_in_transaction_session_timeout = '10s'",
        "set tcp_user_timeout = '10s'",
    };
    _cleanup_(db_freep) struct db *db = NULL;
    pulse_allow(&w->pulse, DB_OPEN_MS);
    int r = db_open(w->options.conninfo, "hirundo_collector", &db, e);
    if (r == 0)
        db_set_pulse(db, &w->pulse);
    for (size_t i = 0; i < ARRAY_SIZE(settings) && r == 0; i++)
        r = db_exec(db, settings[i], e);
    if (r == 0)
        r = check_durability(db, e);
    if (r == 0)
        r = read_clock(w, db, e);
    if (r != 0)
        return r;
    metrics_add(&w->options.metrics->connects, 1);
    w->db = db;
    db = NULL;
    return 0;
}

static void drop_db(struct writer *w)
{
    db_free(w->db);
    w->db = NULL;
    writer_forget_elsewhere(w);
    forget_streams(w);
    dims_clear(w->dims);
    for (size_t i = 0; i < w->n_items; i++) {
        w->items[i].compared = false; // it may be another database that comes back
        w->items[i].aside = w->items[i].poison;
        if (w->items[i].state != ITEM_DONE)
            w->items[i].state = ITEM_OPEN;
    }
}

// Settles all items in hand, as often as it takes; false when the writer was told to stop first.
static bool work_off(struct writer *w)
{
    int backoff_ms = BACKOFF_FIRST_MS;
    for (;;) {
        note_step(w);
        keyring_limits(w->options.keyring, wall_ms(), &w->limits);
        struct errmsg e = {"out of memory, or the ledger keeps changing"};
        int r = w->db ? 0 : connect_db(w, &e);
        bool was_ok = atomic_load(&w->db_ok);
        if (r == 0)
            r = writer_prefetch(w, &e);
        if (r == 0)
            r = writer_commit(w, &e);
        if (r == 0)
            r = writer_settle_rest(w, &e);
        if (r == 0) { // that it lets us connect is not enough: its disk may be full
            atomic_store(&w->db_ok, true);
            if (!was_ok)
                log_notice("writer %u: the database works again", w->options.number);
            return true;
        }
        atomic_store(&w->db_ok, false);
        if (was_ok || backoff_ms >= BACKOFF_MAX_MS)
            log_error("writer %u: %s; nothing is acknowledged until it works again",
                      w->options.number, e.text);
        drop_db(w);
        if (queue_is_closed(w->queue))
            return false;
        pulse_allow(&w->pulse, backoff_ms);
        queue_pause(w->queue, backoff_ms);
        backoff_ms = MIN(backoff_ms * 2, BACKOFF_MAX_MS);
    }
}

// In a burst few in a commit cost more than the time it takes to gather them: waits while at least
// GATHER_MORE come in each GATHER_STEP_MS, GATHER_STEPS times at most. A burst is what follows a
// commit of GATHER_FROM, more than full batches can be on the way of a few sensors.
static void gather(struct writer *w)
{
    size_t n = w->n_items < GATHER_FROM ? 0 : queue_wait(w->queue, 0, 0);
    for (int i = 0; i < GATHER_STEPS && n >= GATHER_MORE && n < GATHER_FULL; i++) {
        size_t before = n;
        n = queue_wait(w->queue, GATHER_FULL, GATHER_STEP_MS);
        if (n < before + GATHER_MORE)
            return;
    }
}

// The next message that waits; NULL: none within timeout_ms.
static struct message *next_message(struct writer *w, int timeout_ms)
{
    if (!w->waiting)
        w->waiting = queue_take(w->queue, timeout_ms);
    struct message *m = w->waiting;
    if (m) {
        w->waiting = m->next;
        m->next = NULL;
    }
    return m;
}

// Room for n messages in hand, and for what is looked up for them. Where there is not the memory
// there is as much room as before.
static int make_room(struct writer *w, size_t n)
{
    struct ahead a = {0};
    const size_t each = sizeof *a.messages + sizeof *a.streams + sizeof *a.items +
                        sizeof *a.sensors + sizeof *a.compared + sizeof *a.other;
    a.block = malloc(n * each);
    struct item *items = a.block ? realloc(w->items, n * sizeof *items) : NULL;
    if (!items) {
        free(a.block);
        return -ENOMEM;
    }
    a.messages = a.block;
    a.streams = (struct stream **)(a.messages + n);
    a.items = (struct item **)(a.streams + n);
    a.sensors = (int16_t *)(a.items + n);
    a.compared = (bool *)(a.sensors + n);
    a.other = a.compared + n;
    free(w->ahead.block);
    w->ahead = a;
    w->items = items;
    w->items_size = n;
    return 0;
}

// Takes the first message that comes and all that wait behind it.
static void fetch_items(struct writer *w)
{
    size_t bytes = 0;
    if (!w->waiting)
        gather(w);
    w->n_items = 0;
    struct message *m = next_message(w, IDLE_MS);
    w->now_ms = mono_ms();
    while (m) {
        if (!m->missed) // it waited: its spool may have given way to another since
            writer_watch_clones(w, m);
        w->items[w->n_items++] = (struct item){.m = m};
        bytes += zmq_msg_size(&m->payload);
        if (w->n_items == GROUP_MESSAGES || bytes > 8 * 1024 * 1024 ||
            (w->n_items == w->items_size && make_room(w, 2 * w->items_size) < 0))
            return;
        m = next_message(w, 0);
    }
}

static void discard_items(struct writer *w)
{
    group_clear(w->group);
    for (size_t i = 0; i < w->n_items; i++)
        item_settle(&w->items[i]);
    w->n_items = 0;
    while (w->waiting)
        message_free(next_message(w, 0));
}

// While the database's disk is nearly full nothing is committed, at a stop neither: what was not
// acknowledged is with its sensors. False: told to stop.
static bool wait_for_room(struct writer *w)
{
    while (atomic_load(&w->options.budget->paused)) {
        if (queue_is_closed(w->queue))
            return false;
        pulse_beat(&w->pulse);
        queue_pause(w->queue, IDLE_MS);
    }
    return true;
}

// What grew with a backlog is freed when it is over. Where many sensors deliver one after the other
// there is no rest.
static void shrink(struct writer *w)
{
    if (w->n_items >= BURST_ITEMS) {
        w->burst_ms = w->now_ms;
    } else if (w->burst_ms != 0 && (w->n_items == 0 || w->now_ms - w->burst_ms > REST_MS)) {
        group_shrink(w->group);
        make_room(w, BURST_ITEMS);
        w->burst_ms = 0;
        log_debug("writer %u: memory of a burst is given back", w->options.number);
    }
}

static void *writer_run(void *data)
{
    struct writer *w = data;
    char name[16];
    snprintf(name, sizeof name, "writer %u", w->options.number);
    pthread_setname_np(pthread_self(), name); // for top -H
    w->replies = zmq_socket(w->options.zmq, ZMQ_PUSH);
    int none = 0, forever = -1;
    if (!w->replies || zmq_setsockopt(w->replies, ZMQ_SNDHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(w->replies, ZMQ_LINGER, &forever, sizeof forever) < 0 ||
        zmq_connect(w->replies, WRITER_REPLIES) < 0)
        log_error("writer %u: %s", w->options.number, zmq_strerror(errno));
    for (;;) {
        pulse_beat(&w->pulse);
        fetch_items(w);
        if (w->n_items == 0 && queue_is_closed(w->queue))
            break;
        if (!wait_for_room(w))
            break;
        shrink(w);
        if (streams_count(w->streams) > STREAMS_MAX)
            forget_streams(w);
        bool done = work_off(w);
        atomic_store(&w->waiting_since, 0);
        if (!done)
            break;
    }
    discard_items(w);
    if (w->replies)
        zmq_close(w->replies);
    return NULL;
}

// ---- life

static void writer_free(struct writer *w)
{
    if (!w)
        return;
    group_free(w->group);
    streams_free(w->streams);
    for (size_t i = 0; i < ARRAY_SIZE(w->spools); i++)
        free(w->spools[i]);
    free(w->items);
    free(w->ahead.block);
    dims_free(w->dims);
    db_free(w->db);
    queue_free(w->queue);
    free(w);
}
DEFINE_CLEANUP(struct writer *, writer_free)

int writer_start(const struct writer_options *options, struct writer **ret, struct errmsg *e)
{
    _cleanup_(writer_freep) struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->options = *options;
    if (make_room(w, BURST_ITEMS) < 0 || queue_new(&w->queue) < 0 || dims_new(&w->dims) < 0 ||
        group_new(&w->group) < 0 || streams_new(&w->streams) < 0)
        return -ENOMEM;
    int r = connect_db(w, e);
    if (r != 0)
        return r < 0 ? r : -EINVAL;
    atomic_store(&w->db_ok, true);
    r = -pthread_create(&w->thread, NULL, writer_run, w);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    *ret = w;
    w = NULL;
    return 0;
}

void writer_push(struct writer *w, struct message *m)
{
    queue_push(w->queue, m);
}

bool writer_db_ok(struct writer *w)
{
    // It is given up after DB_TIMEOUT_MS; that it hangs is told sooner.
    int64_t since = atomic_load(&w->waiting_since);
    return atomic_load(&w->db_ok) && (since == 0 || mono_ms() - since < SLOW_MS);
}

const struct pulse *writer_pulse(const struct writer *w)
{
    return &w->pulse;
}

void writer_stop(struct writer *w)
{
    if (!w)
        return;
    queue_close(w->queue);
    pthread_join(w->thread, NULL);
    writer_free(w);
}
