#include "collector/handshakes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

#include "collector/frames.h"
#include "collector/quiet.h"
#include "common/clock.h"
#include "common/log.h"

#define MONITOR "inproc://hirundo.handshakes"
#define FDS_MAX 65536

struct address {
    uint8_t bytes[16];
    uint8_t size;  // 4, 16; 0: not known
    bool accepted; // we saw it come
};

struct handshakes {
    void *router;
    void *monitor;  // PAIR
    size_t refused; // by their key: told elsewhere; their connections end next
    struct quiet quiet;
    atomic_ullong failed;
    // by descriptor; untouched pages cost nothing
    struct address peer[FDS_MAX];
    bool heard[FDS_MAX]; // a message came: the handshake was done
};

int handshakes_new(void *zmq, void *router, struct handshakes **ret)
{
    _cleanup_(handshakes_freep) struct handshakes *h = calloc(1, sizeof *h);
    // No limit: a full queue would hold up the thread that shakes hands. It is emptied in each
    // round of the listener's loop, and what comes in is what the kernel accepts. Not
    // HANDSHAKE_FAILED_PROTOCOL: telling of it, libzmq 4.3.4 forgets (errno) that it wanted to
    // close the connection.
    const int none = 0, events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED |
                                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (!h)
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

// It may be closed again by now; then the address is not known.
static void note_peer(struct handshakes *h, int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t size = sizeof a;
    struct address *p = &h->peer[fd];
    *p = (struct address){.accepted = true};
    if (getpeername(fd, (struct sockaddr *)&a, &size) < 0)
        return;
    if (a.ss_family == AF_INET) {
        memcpy(p->bytes, &((const struct sockaddr_in *)&a)->sin_addr, p->size = 4);
    } else if (a.ss_family == AF_INET6) {
        memcpy(p->bytes, &((const struct sockaddr_in6 *)&a)->sin6_addr, p->size = 16);
    }
}

static void format_peer(const struct address *p, char *ret, size_t size)
{
    if (p->size == 0 ||
        !inet_ntop(p->size == 4 ? AF_INET : AF_INET6, p->bytes, ret, (socklen_t)size))
        snprintf(ret, size, "an address that was gone at once");
}

static void tell(struct handshakes *h, int fd)
{
    char whom[QUIET_WHOM_MAX], more[QUIET_MORE_MAX];
    atomic_fetch_add(&h->failed, 1);
    format_peer(&h->peer[fd], whom, sizeof whom);
    if (quiet_allows(&h->quiet, whom, mono_ms(), more))
        log_notice("connection from %s ended before any message: no hirundo-sensor, or one whose "
                   "[collector] server_key is not this collector's; a scanner needs no answer%s",
                   whom, more);
}

static void take_end(struct handshakes *h, int fd)
{
    bool heard = h->heard[fd] || !h->peer[fd].accepted;
    h->heard[fd] = false;
    if (heard)
        return;
    if (h->refused > 0)
        h->refused--;
    else
        tell(h, fd);
}

static void take_event(struct handshakes *h, unsigned event, int32_t value)
{
    bool fd_known = value >= 0 && value < FDS_MAX;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        h->refused++;
    else if (event == ZMQ_EVENT_ACCEPTED && fd_known)
        note_peer(h, value);
    else if (event == ZMQ_EVENT_DISCONNECTED && fd_known)
        take_end(h, value);
}

void handshakes_heard(struct handshakes *h, int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        h->heard[fd] = true;
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
