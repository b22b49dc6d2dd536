#include "sensor/uplink.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/log.h"
#include "sensor/batch.h"
#include "sensor/uplink_internal.h"

#define APPEND_ITEMS      16
#define APPEND_BYTES      (1024u * 1024u)
#define APPEND_AGAIN_MS   2000
#define OPEN_AGAIN_MAX_MS 60000
#define SYNC_AFTER_MS     250
#define RECEIPTS_AFTER_MS 2000
#define HEARTBEAT_MS      60000
#define HEARTBEAT_NEWS_MS 5000
#define WAIT_MAX_MS       1000
#define WAIT_FAILED_MS    50
#define STOP_GRACE_MS     2000 // for a spool that cannot be written at the end

void uplink_trouble(struct uplink *u, const char *text)
{
    int64_t now = mono_ms();
    bool again = strcmp(u->last_error, text) == 0;
    if (again && now < u->trouble_at + TROUBLE_AGAIN_MS)
        return;
    u->trouble_at = now;
    snprintf(u->last_error, sizeof u->last_error, "%s", text);
    log_warning("%s", text);
    spool_note(u->spool, u->peer, u->last_error, wall_ms());
}

static void publish(struct uplink *u)
{
    uint64_t waiting = spool_next_seq(u->spool) - 1 - spool_acked_through(u->spool);
    atomic_store(&u->waiting, waiting);
    uint64_t all = u->waiting_at_start + atomic_load(&u->spooled);
    atomic_store(&u->delivered, all > waiting ? all - waiting : 0);
}

// --- the spool side ---

static void spool_cannot_open(struct uplink *u, const struct errmsg *why)
{
    struct errmsg e;
    errmsg_set(&e, 0, "%s; capture goes on, trying again", why->text);
    uplink_trouble(u, e.text);
    u->spool_failing = true;
}

// What a failed call on the spool means. 0: go on.
int uplink_spool_failed(struct uplink *u, int r, const char *doing)
{
    struct errmsg e;
    if (r == -EUCLEAN) {
        r = spool_renew(u->spool, wall_ms(), &e);
        uplink_trouble(u, e.text);
        if (r == 0)
            sender_restart(u->sender, mono_ms(), spool_acked_through(u->spool),
                           spool_next_seq(u->spool));
        return r;
    }
    errmsg_set(&e, 0, "spool %s: %s: %s; capture goes on, trying again", u->config.spool.path,
               doing, strerror(-r));
    uplink_trouble(u, e.text);
    u->spool_failing = true;
    return r;
}

static void spool_works(struct uplink *u)
{
    if (!u->spool_failing)
        return;
    u->spool_failing = false;
    u->last_error[0] = '\0';
    log_notice("spool %s can be written again", u->config.spool.path);
}

// To open it can mean to read the whole file: that may take a twentieth of the time.
int64_t spool_again_ms(int64_t took_ms)
{
    return MIN(MAX(20 * took_ms, (int64_t)APPEND_AGAIN_MS), (int64_t)OPEN_AGAIN_MAX_MS);
}

// A spool that its disk did not let be opened at the start is opened as soon as it does. False: not
// yet.
static bool spool_is_open(struct uplink *u, int64_t now)
{
    if (!spool_is_late(u->spool))
        return true;
    if (now < u->open_at)
        return false;
    struct errmsg e;
    uint8_t id[WIRE_SPOOL_ID_SIZE];
    memcpy(id, spool_id(u->spool), sizeof id);
    uint64_t next = spool_next_seq(u->spool);
    int r = spool_open_late(u->spool, &e);
    if (r < 0) {
        spool_cannot_open(u, &e);
        u->open_at = mono_ms() + spool_again_ms(mono_ms() - now);
        return false;
    }
    if (r == SPOOL_RENEWED)
        log_warning("%s", e.text);
    u->waiting_at_start += spool_next_seq(u->spool) - next;
    if (memcmp(id, spool_id(u->spool), sizeof id) == 0) {
        sender_spooled(u->sender, spool_next_seq(u->spool));
    } else {
        u->waiting_at_start -= spool_acked_through(u->spool);
        sender_restart(u->sender, now, spool_acked_through(u->spool), spool_next_seq(u->spool));
    }
    spool_works(u);
    return true;
}

static void note_seen(struct uplink *u, const struct spool_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (items[i].header.frames > 0)
            u->receipts.seen_ms = wall_ms();
    u->receipts.frames = items[n - 1].header.counters.frames;
    u->receipts_new = true;
}

// Takes from the queue what the spool takes.
static void spool_queue(struct uplink *u, int64_t now)
{
    struct spool_item items[APPEND_ITEMS];
    if (!spool_is_open(u, now))
        return;
    while (now >= u->append_at) {
        size_t n = queue_front(u->queue, items, APPEND_ITEMS, APPEND_BYTES);
        if (n == 0)
            return;
        int r = spool_append(u->spool, items, n, wall_ms());
        if ((r == SPOOL_FULL || r == -ENOSPC) && n > 1)
            r = spool_append(u->spool, items, n = 1, wall_ms());
        if (r == SPOOL_FULL) { // replay: until something is acknowledged
            u->append_at = now + SYNC_AFTER_MS;
            return;
        }
        if (r < 0) {
            (void)uplink_spool_failed(u, r, "append");
            u->append_at = now + APPEND_AGAIN_MS;
            return;
        }
        spool_works(u);
        note_seen(u, items, n);
        u->last = items[n - 1].header;
        queue_drop(u->queue, n);
        atomic_fetch_add(&u->spooled, n);
        sender_spooled(u->sender, spool_next_seq(u->spool));
        uint64_t evicted = spool_evicted(u->spool);
        if (evicted != u->evicted_told) {
            log_warning("spool %s is full: %llu undelivered batches dropped and declared as lost",
                        u->config.spool.path, (unsigned long long)evicted);
            u->evicted_told = evicted;
        }
    }
}

static void note_receipts(struct uplink *u, int64_t now)
{
    if (!u->receipts_new || now < u->receipts_at)
        return;
    spool_note_receipts(u->spool, &u->receipts);
    u->receipts_new = u->taken_new = false;
    u->receipts_at = now + RECEIPTS_AFTER_MS;
}

static void sync_spool(struct uplink *u, int64_t now, bool must)
{
    if (!must && now < u->sync_at)
        return;
    u->sync_at = now + SYNC_AFTER_MS;
    int r = spool_sync(u->spool);
    if (r < 0) {
        (void)uplink_spool_failed(u, r, "noting acks");
        u->sync_at = now + APPEND_AGAIN_MS;
    }
}

// What a replay has read is noted as it reads, and forgotten when all of it is in the spool: so the
// next start can declare what a process took with it.
static void note_reading(struct uplink *u, int64_t now)
{
    struct queue_state q;
    int64_t last = atomic_load(&u->read_last_ms); // first: it was stored last
    queue_state(u->queue, &q);
    if (atomic_load(&u->all_sealed) && q.closed && q.items == 0)
        last = 0;
    else if (now < u->note_at)
        return;
    u->note_at = now + SYNC_AFTER_MS;
    (void)spool_note_reading(u->spool, atomic_load(&u->read_first_ms), last,
                             !atomic_load(&u->read_back));
}

// --- the end ---

static bool all_delivered(struct uplink *u)
{
    return spool_acked_through(u->spool) + 1 == spool_next_seq(u->spool);
}

static bool nothing_left(struct uplink *u)
{
    struct queue_state q;
    queue_state(u->queue, &q);
    return q.closed && q.items == 0 && all_delivered(u);
}

static bool gave_up(struct uplink *u, int64_t now)
{
    uint64_t acked = spool_acked_through(u->spool);
    if (acked != u->progress_acked || all_delivered(u)) {
        u->progress_acked = acked;
        u->progress_at = now;
    }
    if (!u->config.until_delivered || u->config.give_up_ms == 0)
        return false;
    return now >= u->progress_at + u->config.give_up_ms;
}

// *ret_outcome: what uplink_join returns.
static bool finished(struct uplink *u, int64_t now, int *ret_outcome)
{
    struct queue_state q;
    queue_state(u->queue, &q);
    if (gave_up(u, now)) {
        *ret_outcome = UPLINK_GAVE_UP;
        return true;
    }
    if (!q.closed)
        return false;
    if (u->closed_at < 0)
        u->closed_at = u->open_at = now; // a late spool is tried once more
    if (q.items == 0 && all_delivered(u)) {
        *ret_outcome = 0;
        return true;
    }
    bool stop = atomic_load(&u->stop);
    if (u->config.until_delivered && !stop)
        return false;
    int64_t grace = stop ? 0 : u->config.grace_ms;
    if (q.items > 0)
        grace = MAX(grace, STOP_GRACE_MS);
    *ret_outcome = UPLINK_UNDELIVERED;
    return now >= u->closed_at + grace;
}

// The last that is heard of these frames where no next start can declare them.
static void say_lost(struct uplink *u, size_t batches)
{
    struct spool_item items[APPEND_ITEMS];
    uint64_t frames = 0;
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (size_t n; (n = queue_front(u->queue, items, APPEND_ITEMS, SIZE_MAX)) > 0;) {
        for (size_t i = 0; i < n; i++) {
            frames += items[i].header.frames;
            first = MIN(first, items[i].header.first_window_ms);
            last = MAX(last, items[i].header.last_window_ms);
        }
        queue_drop(u->queue, n);
    }
    char from[CLOCK_TEXT], to[CLOCK_TEXT];
    clock_text(first, from);
    clock_text(last, to);
    log_error("%zu batches (%llu frames from %s to %s) could not be written to the spool and are "
              "lost; %s",
              batches, (unsigned long long)frames, from, to,
              spool_will_declare(u->spool)
                  ? "the next start declares that time as unknown"
                  : "the disk takes not even a note of it: nothing but this line tells of them");
    atomic_store(&u->lost, frames);
}

static void finish(struct uplink *u)
{
    struct queue_state q;
    queue_state(u->queue, &q);
    queue_stop(u->queue);
    link_close(u->link);
    u->note_at = 0; // whenever it was noted last
    note_reading(u, 0);
    if (q.items > 0)
        say_lost(u, q.items);
    u->receipts_at = 0; // likewise
    note_receipts(u, 0);
    // Not closed cleanly, so that the next start declares the gap.
    bool lost = q.items > 0 || atomic_load(&u->left_behind);
    int r = lost && u->config.spool.live ? spool_sync(u->spool) : spool_close_clean(u->spool);
    if (r < 0)
        (void)uplink_spool_failed(u, r, "closing");
    publish(u);
    atomic_store(&u->connected, false);
    atomic_store(&u->ended, true);
    uint64_t one = 1;
    ssize_t written = write(u->ended_fd, &one, sizeof one);
    (void)written; // cannot be full
}

static void heartbeat_when_due(struct uplink *u, int64_t now)
{
    // Trouble with the spool, and its end, need not wait for the minute.
    uint64_t evicted = spool_evicted(u->spool);
    bool news = u->spool_failing != u->beat_failing || (evicted > 0) != (u->beat_evicted > 0);
    int64_t at = news ? MIN(u->heartbeat_at, u->beat_at + HEARTBEAT_NEWS_MS) : u->heartbeat_at;
    // Without a pong the clocks cannot be compared.
    if (now < at || !atomic_load(&u->connected) || u->n_clocks == 0)
        return;
    u->heartbeat_at = now + HEARTBEAT_MS;
    u->beat_at = now;
    u->beat_failing = u->spool_failing;
    u->beat_evicted = evicted;
    uplink_send_heartbeat(u);
}

static void *uplink_main(void *arg)
{
    struct uplink *u = arg;
    for (int64_t now = mono_ms(); !finished(u, now, &u->outcome); now = mono_ms()) {
        spool_queue(u, now);
        int64_t until = uplink_act(u, now);
        heartbeat_when_due(u, now);
        note_receipts(u, now);
        sync_spool(u, now, false);
        note_reading(u, now);
        publish(u);
        int64_t wait = MAX(0, MIN(until - now, WAIT_MAX_MS));
        if (u->config.until_delivered && !atomic_load(&u->all_sealed))
            wait = MIN(wait, SYNC_AFTER_MS);
        int64_t again = spool_is_late(u->spool) ? u->open_at : u->append_at;
        if (now < again)
            wait = MIN(wait, again - now);
        if (nothing_left(u))
            wait = 0;
        if (link_wait(u->link, queue_fd(u->queue), (int)wait) < 0)
            (void)poll(NULL, 0, WAIT_FAILED_MS); // not in circles
        queue_fd_clear(u->queue);
        uplink_hear(u);
    }
    finish(u);
    return NULL;
}

// --- outside of the thread ---

static int open_spool(struct uplink *u, struct errmsg *e)
{
    int r = spool_open(&u->config.spool, wall_ms(), &u->spool, e);
    if (r == SPOOL_RENEWED)
        log_warning("%s", e->text);
    else if (r == SPOOL_LATER)
        spool_cannot_open(u, e);
    return MIN(r, 0);
}

// What earlier runs were told stays; what this one sees is counted anew.
static void begin_receipts(struct uplink *u)
{
    struct spool_status status;
    if (spool_status(u->spool, &status) == 0)
        u->receipts = status.receipts;
    u->receipts.frames = 0;
    u->receipts_new = true;
    note_receipts(u, mono_ms());
}

static int new_sender(struct uplink *u)
{
    struct sender_config config;
    sender_config_defaults(&config);
    config.endpoints = u->config.n_endpoints;
    config.max_kbit = u->config.max_kbit;
    randombytes_buf(&config.random_seed, sizeof config.random_seed);
    u->waiting_at_start = spool_next_seq(u->spool) - 1 - spool_acked_through(u->spool);
    return sender_new(&config, spool_acked_through(u->spool), spool_next_seq(u->spool), &u->sender);
}

int uplink_new(const struct uplink_config *config, struct queue *queue, struct uplink **ret,
               struct errmsg *e)
{
    _cleanup_(uplink_freep) struct uplink *u = calloc(1, sizeof *u);
    if (!u)
        return errmsg_set(e, -ENOMEM, "out of memory");
    u->config = *config;
    u->config.keys = u->config.next_keys = NULL;
    u->keys[u->n_keys++] = *config->keys;
    if (config->next_keys)
        u->keys[u->n_keys++] = *config->next_keys;
    u->queue = queue;
    u->closed_at = -1;
    u->ended_fd = eventfd(0, EFD_CLOEXEC);
    if (u->ended_fd < 0)
        return errmsg_set(e, -errno, "uplink: %s", strerror(errno));
    u->last.run_id = config->run_id;
    u->started_ms = u->progress_at = mono_ms();
    int r = open_spool(u, e);
    if (r < 0)
        return r;
    r = link_new(&u->link);
    if (r == 0)
        r = new_sender(u);
    if (r < 0)
        return errmsg_set(e, r, "uplink: %s", strerror(-r));
    begin_receipts(u);
    publish(u);
    *ret = u;
    u = NULL;
    return 0;
}

void uplink_free(struct uplink *u)
{
    if (!u)
        return;
    if (u->running) {
        uplink_stop(u);
        (void)uplink_join(u, NULL);
    }
    sender_free(u->sender);
    link_free(u->link);
    key_pair_wipe(&u->keys[0]);
    key_pair_wipe(&u->keys[1]);
    spool_free(u->spool);
    if (u->ended_fd >= 0)
        close(u->ended_fd);
    free(u);
}

int uplink_start(struct uplink *u)
{
    // Signals are for the capture side.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int r = pthread_create(&u->thread, NULL, uplink_main, u);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    u->running = r == 0;
    return -r;
}

// For every packet: stores only what is new.
void uplink_note_read(struct uplink *u, int64_t ts_ms)
{
    int64_t ts = MAX(ts_ms, 1);
    int64_t first = atomic_load_explicit(&u->read_first_ms, memory_order_relaxed);
    int64_t last = atomic_load_explicit(&u->read_last_ms, memory_order_relaxed);
    if (first == 0 || ts < first)
        atomic_store_explicit(&u->read_first_ms, ts, memory_order_relaxed);
    if (ts < last - LATE_MS)
        atomic_store_explicit(&u->read_back, true, memory_order_relaxed);
    if (ts > last)
        atomic_store_explicit(&u->read_last_ms, ts, memory_order_release);
}

void uplink_all_sealed(struct uplink *u)
{
    atomic_store(&u->all_sealed, true);
}

void uplink_left_behind(struct uplink *u)
{
    atomic_store(&u->left_behind, true);
}

void uplink_stop(struct uplink *u)
{
    atomic_store(&u->stop, true);
    queue_close(u->queue);
}

bool uplink_wait(struct uplink *u, int timeout_ms)
{
    struct pollfd fd = {.fd = u->ended_fd, .events = POLLIN};
    return atomic_load(&u->ended) || poll(&fd, 1, timeout_ms) > 0;
}

int uplink_join(struct uplink *u, struct errmsg *e)
{
    if (!u->running)
        return 0;
    pthread_join(u->thread, NULL);
    u->running = false;
    if (u->outcome == UPLINK_GAVE_UP) {
        // Why stands in the log already, unless nobody wants warnings. An unknown key is answered
        // by silence at first.
        const char *why = u->last_error;
        if (why[0] && log_enabled(LOG_LEVEL_WARNING))
            why = "";
        else if (!why[0] && !u->was_ready)
            why = "no collector has answered: see [collector] endpoint and server_key, and whether "
                  "its owner has enrolled this sensor's key";
        errmsg_set(e, 0, "no acknowledgement for %lld s: given up%s%s",
                   (long long)(u->config.give_up_ms / 1000), why[0] ? "; " : "", why);
    }
    return u->outcome;
}

void uplink_view(struct uplink *u, struct uplink_view *ret)
{
    *ret = (struct uplink_view){
        .spooled = atomic_load(&u->spooled),
        .delivered = atomic_load(&u->delivered),
        .waiting = atomic_load(&u->waiting),
        .lost = atomic_load(&u->lost),
        .connected = atomic_load(&u->connected),
        .ended = atomic_load(&u->ended),
    };
}
