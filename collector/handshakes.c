#include "collector/handshakes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <zmq.h>

#include "collector/descriptors.h"
#include "collector/frames.h"
#include "collector/gate.h"
#include "collector/quiet.h"
#include "collector/witness.h"
#include "common/clock.h"
#include "common/log.h"

#define MONITOR "inproc://hirundo.handshakes"

struct connection {
    struct origin origin;
    char address[INET6_ADDRSTRLEN]; // empty: not known
    char name[KEYRING_NAME_MAX];    // of the sensor, once it was heard
    int64_t came_ms;                // monotonic
    bool accepted;                  // we saw it come
    bool heard;                     // a message came: the handshake was done
};

struct handshakes {
    void *router;
    void *monitor;     // PAIR
    size_t refused;    // by their key: told elsewhere; their connections end next
    struct gate *gate; // NULL: not wanted
    struct witness *witness;
    struct guests *guests;
    struct unfinished *unfinished;
    struct quiet quiet, broken;
    unsigned strangers; // connections without a message
    unsigned strangers_max;
    atomic_ullong failed;
    struct connection connections[DESCRIPTORS_MAX]; // by descriptor; untouched pages cost nothing
};

int handshakes_new(void *zmq, void *router, struct guests *guests, struct unfinished *unfinished,
                   bool limit, struct handshakes **ret)
{
    _cleanup_(handshakes_freep) struct handshakes *h = calloc(1, sizeof *h);
    // No limit: a full queue would hold up the thread that shakes hands. It is emptied in each
    // round of the listener's loop, and what comes in is what the kernel accepts. Not
    // HANDSHAKE_FAILED_PROTOCOL: telling of it, libzmq 4.3.4 forgets (errno) that it wanted to
    // close the connection.
    const int none = 0, events = ZMQ_EVENT_LISTENING | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED |
                                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (!h)
        return -ENOMEM;
    struct rlimit files = {.rlim_cur = DESCRIPTORS_MAX};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    h->strangers_max = (unsigned)(MIN(files.rlim_cur, (rlim_t)DESCRIPTORS_MAX) / 4);
    h->guests = guests;
    h->unfinished = unfinished;
    if ((limit && gate_new(&h->gate) < 0) || witness_new(&h->witness) < 0)
        return -ENOMEM;
    h->monitor = zmq_socket(zmq, ZMQ_PAIR);
    if (!h->monitor || zmq_setsockopt(h->monitor, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_setsockopt(h->monitor, ZMQ_RCVHWM, &none, sizeof none) < 0 ||
        zmq_socket_monitor(router, MONITOR, events) < 0)
        return -errno;
    h->router = router;
    if (zmq_connect(h->monitor, MONITOR) < 0)
        return -errno;
    *ret = h;
    h = NULL;
    return 0;
}

void handshakes_free(struct handshakes *h)
{
    if (!h)
        return;
    if (h->router)
        zmq_socket_monitor(h->router, NULL, 0);
    if (h->monitor)
        zmq_close(h->monitor);
    gate_free(h->gate);
    witness_free(h->witness);
    free(h);
}

void *handshakes_socket(const struct handshakes *h)
{
    return h->monitor;
}

uint64_t handshakes_failed(const struct handshakes *h)
{
    return atomic_load(&h->failed);
}

// ---- one connection

static bool is_stranger(const struct connection *c)
{
    return c->accepted && !c->heard;
}

// It may be closed again by now; then the address is not known.
static void take_begin(struct handshakes *h, int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t size = sizeof a;
    struct connection *c = &h->connections[fd];
    h->strangers += !is_stranger(c);
    *c = (struct connection){.came_ms = mono_ms(), .accepted = true};
    unfinished_opened(h->unfinished, fd);
    if (getpeername(fd, (struct sockaddr *)&a, &size) < 0)
        return;
    const void *bytes = a.ss_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)&a)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)&a)->sin_addr;
    c->origin = origin_of(&a);
    if (c->origin.size == 0 || !inet_ntop(a.ss_family, bytes, c->address, sizeof c->address))
        c->address[0] = '\0';
    if (h->gate)
        gate_came(h->gate, &c->origin, c->address, c->came_ms);
    witness_opened(h->witness, fd);
}

static void tell_failed(struct handshakes *h, const char *from)
{
    char more[QUIET_MORE_MAX];
    atomic_fetch_add(&h->failed, 1);
    if (quiet_allows(&h->quiet, from, mono_ms(), more))
        log_notice("connection from %s ended before any message: no hirundo-sensor, or one whose "
                   "[collector] server_key is not this collector's; a scanner needs no answer%s",
                   from, more);
}

// Which of the two it was libzmq does not tell.
static void tell_broken(struct handshakes *h, const char *name, const char *from)
{
    char more[QUIET_MORE_MAX];
    if (quiet_allows(&h->broken, name, mono_ms(), more))
        log_warning("connection of %s (%s) cut: a frame beyond 1 MiB, or bytes that were changed "
                    "on their way. No hirundo-sensor sends such a frame; if it is none: "
                    "hirundo-collector sensor revoke %s%s",
                    name, from, name, more);
}

// It ended without a message.
static void take_failure(struct handshakes *h, const struct connection *c, bool ended_here)
{
    char name[KEYRING_NAME_MAX];
    const char *from = c->address[0] ? c->address : "an address that was gone at once";
    if (h->refused > 0) { // by its key
        h->refused--;
    } else if (guests_left(h->guests, from, c->came_ms, name)) {
        if (ended_here)
            tell_broken(h, name, from);
    } else {
        tell_failed(h, from);
    }
}

static void take_end(struct handshakes *h, int fd)
{
    struct connection *c = &h->connections[fd];
    bool ended_here = witness_closed(h->witness, fd);
    unfinished_closed(h->unfinished, fd);
    h->strangers -= is_stranger(c);
    if (is_stranger(c))
        take_failure(h, c, ended_here);
    else if (c->heard && ended_here && c->name[0])
        tell_broken(h, c->name, c->address);
    *c = (struct connection){0};
}

void handshakes_heard(struct handshakes *h, int fd, const char *name)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX || h->connections[fd].heard)
        return;
    struct connection *c = &h->connections[fd];
    h->strangers -= is_stranger(c);
    c->heard = true;
    witness_heard(h->witness, fd);
    if (!name)
        return;
    snprintf(c->name, sizeof c->name, "%s", name);
    guests_heard(h->guests, c->address, name);
    if (h->gate)
        gate_heard(h->gate, &c->origin, mono_ms());
}

// ---- events

static void take_event(struct handshakes *h, unsigned event, int32_t value)
{
    bool fd_known = value >= 0 && value < DESCRIPTORS_MAX;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        h->refused++;
    else if (event == ZMQ_EVENT_LISTENING && fd_known && h->gate)
        gate_guard(h->gate, value);
    else if (event == ZMQ_EVENT_ACCEPTED && fd_known)
        take_begin(h, value);
    else if (event == ZMQ_EVENT_DISCONNECTED && fd_known)
        take_end(h, value);
}

void handshakes_take(struct handshakes *h)
{
    for (;;) {
        uint8_t frame[6] = {0};
        uint16_t event;
        int32_t value;
        int n = zmq_recv(h->monitor, frame, sizeof frame, ZMQ_DONTWAIT);
        if (n < 0)
            return;
        zmq_msg_t address; // ours: the monitor knows no other
        zmq_msg_init(&address);
        (void)frames_receive_more(&address, h->monitor);
        zmq_msg_close(&address);
        memcpy(&event, frame, sizeof event);
        memcpy(&value, frame + sizeof event, sizeof value);
        if (n == (int)sizeof frame)
            take_event(h, event, value);
    }
}

void handshakes_check(struct handshakes *h)
{
    if (!h->gate)
        return;
    if (h->strangers > h->strangers_max)
        gate_crowded(h->gate, h->strangers, mono_ms());
    gate_check(h->gate, mono_ms());
}
