// The uplink's side towards the collector: the sender's actions, the replies, the connection.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/log.h"
#include "sensor/uplink_internal.h"

// A window and a ping now and then never find the socket's queue full: it would look like a lost
// link.
static_assert(2 * SENDER_WINDOW_MAX + 16 <= LINK_MESSAGES_MAX, "a window does not fit the socket");

#define CLOCK_MS_MAX       32503680000000 // the year 3000
#define PUT_ASIDE_AGAIN_MS 600000

static const char *endpoint_name(const struct uplink *u)
{
    return u->config.endpoints[u->endpoint];
}

// --- messages ---

static int send_message(struct uplink *u, struct wire_header *h, uint8_t *payload, size_t size)
{
    uint8_t header[WIRE_HEADER_MAX];
    size_t header_size;
    if (h->sent_ms == 0)
        h->sent_ms = wall_ms();
    int r = wire_header_encode(h, header, &header_size);
    if (r < 0) {
        free(payload);
        return r;
    }
    return link_send(u->link, header, header_size, payload, size);
}

static struct wire_header plain_header(const struct uplink *u, enum wire_kind kind)
{
    struct wire_header h = {.kind = kind, .run_id = u->last.run_id, .counters = u->last.counters};
    memcpy(h.spool_id, spool_id(u->spool), sizeof h.spool_id);
    return h;
}

static uint64_t rss_kib(void)
{
    _cleanup_(fclosep) FILE *f = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;
    if (!f || fscanf(f, "%*u %lu", &pages) != 1) // NOLINT(cert-err34-c): the kernel's own figures
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static uint64_t cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

bool uplink_clock(const struct uplink *u, int64_t *ret_offset_ms, int64_t *ret_round_trip_ms)
{
    const struct clock_sample *best = NULL;
    for (unsigned i = 0; i < MIN(u->n_clocks, CLOCK_SAMPLES); i++)
        if (!best || u->clocks[i].round_trip_ms < best->round_trip_ms)
            best = &u->clocks[i];
    if (!best)
        return false;
    *ret_offset_ms = best->collector_ahead_ms + mono_ms() - wall_ms();
    *ret_round_trip_ms = best->round_trip_ms;
    return true;
}

void uplink_send_heartbeat(struct uplink *u)
{
    struct spool_status status;
    bool readable = spool_status(u->spool, &status) == 0;
    if (!readable) // that is told, too
        status = (struct spool_status){.cap_bytes = u->config.spool.cap_bytes};
    struct queue_state queue;
    queue_state(u->queue, &queue);
    int64_t offset = 0, round_trip = 0;
    if (uplink_clock(u, &offset, &round_trip))
        spool_note_clock(u->spool, offset, round_trip, wall_ms());
    int64_t age = status.oldest_ms != 0 ? MAX(0, wall_ms() - status.oldest_ms) : 0;
    struct wire_heartbeat beat = {
        .version = HIRUNDO_VERSION,
        .uptime_s = (uint64_t)(mono_ms() - u->started_ms) / 1000,
        .rss_kib = rss_kib(),
        .cpu_ms = cpu_ms(),
        .spool_batches = status.waiting + status.lost,
        .spool_bytes = status.waiting_bytes,
        .spool_cap_bytes = (uint64_t)status.cap_bytes,
        .spool_age_s = (uint64_t)age / 1000,
        .clock_offset_ms = offset,
        .round_trip_ms = (uint64_t)round_trip,
        .spool_dropped = spool_evicted(u->spool),
        .spool_failing = u->spool_failing || !readable,
        .queue_batches = queue.items,
    };
    snprintf(beat.problem, sizeof beat.problem, "%s", u->last_error);
    _cleanup_(freep) uint8_t *payload = malloc(WIRE_HEADER_MAX);
    size_t size;
    if (!payload || wire_heartbeat_encode(&beat, payload, &size) < 0)
        return;
    struct wire_header h = plain_header(u, WIRE_HEARTBEAT);
    h.has_sha256 = true;
    wire_sha256(payload, size, h.sha256);
    sender_spent(u->sender, mono_ms(), size);
    (void)send_message(u, &h, payload, size); // the next one comes in a minute
    payload = NULL;
}

// --- what the sender asks for ---

static void close_link(struct uplink *u)
{
    link_close(u->link);
    atomic_store(&u->connected, false);
}

static const uint8_t *server_key_of(const struct uplink *u, uint32_t endpoint)
{
    return endpoint < u->config.n_endpoints - u->config.n_next ? u->config.server_key
                                                               : u->config.next_server_key;
}

static void open_link(struct uplink *u, unsigned key_no)
{
    struct errmsg e;
    u->key_no = key_no;
    key_format(u->keys[key_no].public_key, u->public_key);
    log_debug("connecting to collector %s", endpoint_name(u));
    if (link_open(u->link, endpoint_name(u), server_key_of(u, u->endpoint), &u->keys[key_no], &e) <
        0) {
        uplink_trouble(u, e.text);
        sender_disconnected(u->sender, mono_ms(), SENDER_LINK_LOST);
    }
}

// A next pair of keys is tried first: it is let in as soon as it is approved, and the present one
// is let in until then.
static void do_connect(struct uplink *u, uint32_t endpoint)
{
    u->endpoint = endpoint;
    u->was_ready = false;
    u->tried_both = u->n_keys == 1;
    u->n_clocks = 0;
    open_link(u, u->n_keys - 1);
}

static void do_look(struct uplink *u, uint64_t seq)
{
    struct spool_entry found;
    int r = spool_look(u->spool, seq, &found);
    if (r == 0)
        sender_found(u->sender, found.first, found.last, found.bytes);
    else if (uplink_spool_failed(u, r == -ENOENT ? -EUCLEAN : r, "read") != 0)
        sender_look_failed(u->sender, mono_ms());
}

static void do_send(struct uplink *u, uint64_t first, uint64_t last)
{
    struct wire_header h;
    uint8_t *payload;
    size_t size;
    int r = spool_read(u->spool, first, last, &h, &payload, &size);
    if (r == -EAGAIN) {
        sender_unsent(u->sender, mono_ms(), false);
        return;
    }
    if (r < 0) {
        if (uplink_spool_failed(u, r, "read") != 0)
            sender_unsent(u->sender, mono_ms(), true);
        return;
    }
    log_debug("sending %llu..%llu, %zu bytes", (unsigned long long)first, (unsigned long long)last,
              size);
    if (send_message(u, &h, payload, size) < 0)
        sender_disconnected(u->sender, mono_ms(), SENDER_LINK_LOST);
}

static void do_ping(struct uplink *u)
{
    struct wire_header h = plain_header(u, WIRE_PING);
    u->ping_mono_ms = mono_ms();
    u->ping_wall_ms = wall_ms();
    h.sent_ms = u->ping_wall_ms;
    if (send_message(u, &h, NULL, 0) < 0)
        sender_disconnected(u->sender, mono_ms(), SENDER_LINK_LOST);
}

static void do_fork(struct uplink *u, uint64_t from)
{
    int r = spool_fork(u->spool, from);
    if (r < 0) {
        if (uplink_spool_failed(u, r, "fork") != 0)
            sender_look_failed(u->sender, mono_ms());
        return;
    }
    log_warning("the collector has other data under number %llu of this spool (an old copy of it "
                "was restored, or two sensors use one key): everything from there on goes into a "
                "new spool",
                (unsigned long long)from);
    sender_restart(u->sender, mono_ms(), 0, spool_next_seq(u->spool));
}

static void note_position(struct uplink *u, const struct sender_action *a)
{
    int r = a->what == SENDER_ACKED ? spool_acked(u->spool, a->seq_last, wall_ms())
                                    : spool_rewind(u->spool, a->seq_last);
    u->append_at = MIN(u->append_at, mono_ms()); // there may be room now
    if (a->what == SENDER_REWIND)
        log_notice("the collector asks for everything from number %llu on (its database was "
                   "restored, or is a new one)",
                   (unsigned long long)a->seq_last + 1);
    if (r < 0)
        (void)uplink_spool_failed(u, r, "noting acks");
}

int64_t uplink_act(struct uplink *u, int64_t now)
{
    struct sender_action a;
    for (sender_next(u->sender, now, &a); a.what != SENDER_WAIT; sender_next(u->sender, now, &a)) {
        switch (a.what) {
        case SENDER_CONNECT:
            do_connect(u, a.endpoint);
            break;
        case SENDER_DISCONNECT:
            if (u->was_ready && atomic_load(&u->connected)) {
                struct errmsg e;
                errmsg_set(&e, 0, "connection to collector %s given up", endpoint_name(u));
                log_info("%s", e.text);
            }
            close_link(u);
            break;
        case SENDER_LOOK:
            do_look(u, a.seq_first);
            break;
        case SENDER_SEND:
            do_send(u, a.seq_first, a.seq_last);
            break;
        case SENDER_PING:
            do_ping(u);
            break;
        case SENDER_ACKED:
        case SENDER_REWIND:
            note_position(u, &a);
            break;
        case SENDER_FORK:
            do_fork(u, a.seq_first);
            break;
        case SENDER_WAIT:
            break;
        }
        now = mono_ms();
    }
    return a.until_ms;
}

// --- what comes back ---

static void on_ready(struct uplink *u)
{
    u->was_ready = true;
    u->heartbeat_at = mono_ms() + 1000;
    snprintf(u->peer, sizeof u->peer, "%s", endpoint_name(u));
    u->last_error[0] = '\0';
    spool_note(u->spool, u->peer, u->last_error, wall_ms());
    log_notice("connected to collector %s%s, %llu batches waiting", endpoint_name(u),
               u->key_no > 0 ? " with the next key" : "",
               (unsigned long long)atomic_load(&u->waiting));
    atomic_store(&u->connected, true);
    sender_connected(u->sender, mono_ms());
}

static void on_lost(struct uplink *u, enum link_event event)
{
    bool handshake = event == LINK_NO_HANDSHAKE || event == LINK_REVOKED || event == LINK_TOO_OFTEN;
    struct errmsg e;
    if (handshake && !u->tried_both) {
        if (event == LINK_REVOKED && !u->told_withdrawn)
            log_notice("collector %s refuses the next key: its owner has withdrawn it; trying the "
                       "present one (hirundo-sensor rotate puts the next one away)",
                       endpoint_name(u));
        u->told_withdrawn |= event == LINK_REVOKED;
        close_link(u);
        u->tried_both = true;
        open_link(u, 0);
        return;
    }
    if (event == LINK_REVOKED)
        errmsg_set(&e, 0,
                   "collector %s refuses the handshake: its owner has revoked this sensor's key; "
                   "the spool keeps everything. If that is a mistake, the owner adds this machine "
                   "anew under another name; if not, stop this sensor",
                   endpoint_name(u));
    else if (event == LINK_TOO_OFTEN)
        errmsg_set(&e, 0,
                   "collector %s does not let this sensor in for now: its connections broke too "
                   "often within a minute, or another machine uses its key; the spool keeps "
                   "everything, trying on. See the network here, and ask the collector's owner "
                   "what its log says",
                   endpoint_name(u));
    else if (handshake)
        errmsg_set(
            &e, 0,
            "collector %s refuses the handshake: it does not know this sensor's key (ask "
            "its owner to approve the request of enroll, or to run: hirundo-collector sensor "
            "add NAME --country CC --key '%s'), or [collector] server_key is not its key; "
            "trying on",
            endpoint_name(u), u->public_key);
    else if (u->was_ready)
        errmsg_set(&e, 0, "connection to collector %s broke; the spool keeps everything, trying on",
                   endpoint_name(u));
    else
        errmsg_set(&e, 0,
                   "collector %s cannot be reached (refused, or no answer); the spool keeps "
                   "everything, trying on",
                   endpoint_name(u));
    close_link(u);
    uplink_trouble(u, e.text);
    sender_disconnected(u->sender, mono_ms(), handshake ? SENDER_LINK_REFUSED : SENDER_LINK_LOST);
}

// The socket itself failed: what it had for us is in pieces, so it is made anew.
static void on_socket_failed(struct uplink *u, int r)
{
    struct errmsg e;
    errmsg_set(&e, 0, "connection to collector %s: %s; it is made anew", endpoint_name(u),
               strerror(-r));
    close_link(u);
    uplink_trouble(u, e.text);
    sender_disconnected(u->sender, mono_ms(), SENDER_LINK_LOST);
}

static void on_event(struct uplink *u, enum link_event event)
{
    if (event == LINK_READY)
        on_ready(u);
    else if (event != LINK_CONNECTED)
        on_lost(u, event);
}

static void note_clock(struct uplink *u, const struct wire_reply *reply)
{
    if (reply->echo_ms != u->ping_wall_ms || reply->clock_ms <= 0 || reply->clock_ms > CLOCK_MS_MAX)
        return; // of an older ping, or nonsense
    int64_t round_trip = mono_ms() - u->ping_mono_ms;
    u->clocks[u->n_clocks++ % CLOCK_SAMPLES] = (struct clock_sample){
        .round_trip_ms = round_trip,
        .collector_ahead_ms = reply->clock_ms - (u->ping_mono_ms + round_trip / 2),
    };
}

static void on_pong(struct uplink *u, const struct wire_reply *reply)
{
    sender_pong(u->sender, mono_ms(), reply->credit);
    note_clock(u, reply);
    int64_t offset = 0, round_trip = 0;
    (void)uplink_clock(u, &offset, &round_trip);
    log_debug("pong: credit %llu, round trip %lld ms, clock offset %lld ms",
              (unsigned long long)reply->credit, (long long)round_trip, (long long)offset);
    if (!reply->db_ok)
        log_info("collector %s takes no data at the moment%s%s", endpoint_name(u),
                 reply->detail[0] ? ": " : "", reply->detail);
}

static void on_nack(struct uplink *u, const struct wire_header *h, const struct wire_reply *reply)
{
    log_info("collector %s: nack %s at %llu%s%s", endpoint_name(u),
             reply->reason == WIRE_NACK_FORK ? "fork" : "gap",
             (unsigned long long)reply->expected_seq, reply->detail[0] ? ": " : "", reply->detail);
    if (reply->reason == WIRE_NACK_FORK)
        sender_nack_fork(u->sender, mono_ms(), h->seq != 0 ? h->seq : reply->expected_seq,
                         reply->credit);
    else if (reply->reason == WIRE_NACK_GAP)
        sender_nack_gap(u->sender, mono_ms(), reply->expected_seq, reply->credit);
}

// A reply that names another spool answers what this one was before a fork.
static bool names_other_spool(const struct uplink *u, const struct wire_header *h)
{
    static const uint8_t none[WIRE_SPOOL_ID_SIZE];
    return memcmp(h->spool_id, none, sizeof none) != 0 &&
           memcmp(h->spool_id, spool_id(u->spool), sizeof none) != 0;
}

// Before the sender hears of the ack. A loss is no batch; of those that are taken one after the
// other it is enough to know one.
static void note_taken(struct uplink *u, uint64_t seq)
{
    if (u->taken_new || !spool_is_batch(u->spool, seq))
        return;
    u->receipts.taken_seq = seq;
    u->receipts.taken_ms = wall_ms();
    u->receipts_new = u->taken_new = true;
}

// The collector keeps such a batch; what is wrong with it people should hear on both sides.
static void note_put_aside(struct uplink *u, const struct wire_header *h,
                           const struct wire_reply *reply)
{
    if (u->put_aside == 0 || h->seq != u->receipts.aside_seq) // its ack may come again
        u->put_aside++;
    u->receipts.aside_seq = h->seq;
    u->receipts.aside_ms = wall_ms();
    snprintf(u->receipts.aside_reason, sizeof u->receipts.aside_reason, "%s", reply->detail);
    u->receipts_new = true;
    int64_t now = mono_ms();
    if (u->put_aside_at != 0 && now - u->put_aside_at < PUT_ASIDE_AGAIN_MS)
        return;
    u->put_aside_at = now;
    log_warning("collector %s put batch %llu aside (%llu since the start): %s; its owner sees it "
                "with hirundo-collector quarantine list",
                endpoint_name(u), (unsigned long long)h->seq, (unsigned long long)u->put_aside,
                reply->detail);
}

static void on_reply(struct uplink *u, const struct wire_header *h, const struct wire_reply *reply)
{
    if (h->kind == WIRE_PONG) {
        on_pong(u, reply);
    } else if (names_other_spool(u, h)) {
        log_debug("a reply about another spool is ignored");
    } else if (h->kind == WIRE_ACK) {
        if (reply->detail[0])
            note_put_aside(u, h, reply);
        else
            note_taken(u, h->seq);
        sender_ack(u->sender, mono_ms(), h->seq, reply->committed_through, reply->credit);
    } else if (h->kind == WIRE_NACK) {
        on_nack(u, h, reply);
    }
}

static int hear_events(struct uplink *u)
{
    enum link_event event;
    int r;
    while ((r = link_next_event(u->link, &event)) == 0)
        on_event(u, event);
    return r;
}

static int hear_replies(struct uplink *u)
{
    struct wire_header h;
    struct wire_reply reply;
    struct errmsg e;
    for (;;) {
        int r = link_receive(u->link, &h, &reply, &e);
        if (r == 0)
            on_reply(u, &h, &reply);
        else if (r == LINK_FOREIGN)
            log_warning("collector %s sent something that is no reply: %s", endpoint_name(u),
                        e.text);
        else
            return r;
    }
}

void uplink_hear(struct uplink *u)
{
    int r = hear_events(u);
    if (r >= 0)
        r = hear_replies(u);
    if (r < 0)
        on_socket_failed(u, r);
}
