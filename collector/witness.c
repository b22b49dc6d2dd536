#include "collector/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/descriptors.h"

enum { ESTABLISHED = 1, CLOSE_WAIT = 8 }; // of netinet/tcp.h, which linux/tcp.h excludes

struct witness {
    int strangers;
    // by descriptor of libzmq; untouched pages cost nothing
    int second[DESCRIPTORS_MAX]; // 0: none
    bool heard[DESCRIPTORS_MAX];
};

int witness_new(struct witness **ret)
{
    struct witness *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    *ret = w;
    return 0;
}

static void forget(struct witness *w, int fd)
{
    if (w->second[fd] == 0)
        return;
    close(w->second[fd]);
    w->strangers -= !w->heard[fd];
    w->second[fd] = 0;
}

void witness_free(struct witness *w)
{
    if (!w)
        return;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        forget(w, fd);
    free(w);
}

// Out of the upper half of what is allowed: connections come first.
static int second_of(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -1;
    int from = (int)(MIN(limit.rlim_cur, (rlim_t)DESCRIPTORS_MAX) / 2);
    return fcntl(fd, F_DUPFD_CLOEXEC, from);
}

void witness_opened(struct witness *w, int fd)
{
    forget(w, fd);
    w->heard[fd] = false;
    if (w->strangers >= WITNESS_STRANGERS)
        return;
    int second = second_of(fd);
    if (second <= 0)
        return;
    w->second[fd] = second;
    w->strangers++;
}

void witness_heard(struct witness *w, int fd)
{
    if (w->heard[fd])
        return;
    if (w->second[fd] > 0) {
        w->strangers--;
    } else {
        int second = second_of(fd);
        w->second[fd] = MAX(second, 0);
    }
    w->heard[fd] = true;
}

static bool ended_here(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int unread = 0;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || ioctl(fd, FIONREAD, &unread) < 0)
        return false;
    return info.tcpi_state == ESTABLISHED || (info.tcpi_state == CLOSE_WAIT && unread > 0);
}

bool witness_closed(struct witness *w, int fd)
{
    bool here = w->second[fd] > 0 && ended_here(w->second[fd]);
    forget(w, fd);
    w->heard[fd] = false;
    return here;
}
