#include "common/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int64_t read_watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    char *end;
    errno = 0;
    long long value = strtoll(usec, &end, 10);
    return errno == 0 && *usec && *end == '\0' && value > 0 ? value / 1000 : 0;
}

// "@name" is an abstract socket, else a path.
static int connect_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, size) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void notify_open(struct notify *ret)
{
    const char *name = getenv("NOTIFY_SOCKET");
    *ret = (struct notify){.fd = name ? connect_socket(name) : -1};
    if (ret->fd >= 0)
        ret->watchdog_ms = read_watchdog();
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

void notify_send(const struct notify *n, const char *format, ...)
{
    char text[512];
    va_list args;
    if (n->fd < 0)
        return;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length > 0)
        (void)send(n->fd, text, MIN((size_t)length, sizeof text - 1), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void notify_alive(struct notify *n, int64_t now_ms)
{
    if (n->watchdog_ms == 0 || now_ms < n->next_ms)
        return;
    n->next_ms = now_ms + n->watchdog_ms / 2;
    notify_send(n, "WATCHDOG=1");
}
