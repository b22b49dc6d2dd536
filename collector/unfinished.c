#include "collector/unfinished.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "collector/descriptors.h"
#include "collector/quiet.h"
#include "common/clock.h"
#include "common/log.h"

struct unfinished {
    unsigned connections;
    int end; // beyond the highest descriptor that was seen
    struct quiet cuts;
    bool open[DESCRIPTORS_MAX];
    // bytes received when a whole message was last known of; untouched pages cost nothing
    uint64_t seen[DESCRIPTORS_MAX];
    bool completed[DESCRIPTORS_MAX]; // a whole message came since
};

unsigned unfinished_connections(const struct unfinished *u)
{
    return u->connections;
}

int unfinished_new(struct unfinished **ret)
{
    struct unfinished *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    *ret = u;
    return 0;
}

void unfinished_free(struct unfinished *u)
{
    free(u);
}

enum { LISTENING = 10 }; // TCP_LISTEN of netinet/tcp.h, which linux/tcp.h excludes

// False: no TCP connection (any more).
static bool bytes_received(int fd, uint64_t *ret)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || info.tcpi_state == LISTENING)
        return false;
    *ret = info.tcpi_bytes_received;
    return true;
}

void unfinished_completed(struct unfinished *u, int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        u->completed[fd] = true;
}

static bool is_ours(int fd, const uint16_t *ports, size_t n)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return false;
    uint16_t port = 0;
    if (address.ss_family == AF_INET)
        port = ntohs(((const struct sockaddr_in *)&address)->sin_port);
    else if (address.ss_family == AF_INET6)
        port = ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    for (size_t i = 0; i < n; i++)
        if (port != 0 && ports[i] == port)
            return true;
    return false;
}

static void cut(struct unfinished *u, int fd, uint64_t bytes)
{
    char more[QUIET_MORE_MAX];
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    char host[NI_MAXHOST] = "?";
    if (getpeername(fd, (struct sockaddr *)&address, &size) == 0)
        (void)getnameinfo((const struct sockaddr *)&address, size, host, sizeof host, NULL, 0,
                          NI_NUMERICHOST);
    if (quiet_allows(&u->cuts, host, mono_ms(), more))
        log_warning("connection from %s cut: a message without an end, %llu MiB so far; no "
                    "hirundo-sensor sends that: look which sensor connects from there, and revoke "
                    "it%s",
                    host, (unsigned long long)bytes >> 20, more);
    shutdown(fd, SHUT_RDWR);
}

void unfinished_opened(struct unfinished *u, int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX)
        return;
    u->connections += !u->open[fd];
    u->open[fd] = true;
    u->seen[fd] = 0;
    u->completed[fd] = false;
    u->end = MAX(u->end, fd + 1);
}

void unfinished_closed(struct unfinished *u, int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX)
        return;
    u->connections -= u->open[fd];
    u->open[fd] = false;
}

int unfinished_cut(struct unfinished *u, const uint16_t *ports, size_t n)
{
    int count = 0;
    for (int fd = 0; fd < u->end; fd++) {
        uint64_t bytes;
        if (!u->open[fd] || !bytes_received(fd, &bytes))
            continue;
        if (u->completed[fd])
            u->seen[fd] = bytes;
        else if (bytes < u->seen[fd])
            u->seen[fd] = 0; // another connection under the same number
        u->completed[fd] = false;
        // Not one of the database's, which took the number a moment ago.
        if (bytes - u->seen[fd] > UNFINISHED_MAX && is_ours(fd, ports, n)) {
            cut(u, fd, bytes - u->seen[fd]);
            count++;
        }
    }
    return count;
}
