#include "sensor/if_drops.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/util.h"

static int read_counter(int fd, uint64_t *ret)
{
    char text[32];
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return -EIO;
    text[n] = '\0';
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || errno)
        return -EIO;
    *ret = value;
    return 0;
}

void if_drops_open(const char *directory, struct if_drops *ret)
{
    // what libpcap adds up, where it does
    static const char *const files[IF_DROPS_FILES] = {"rx_missed_errors", "rx_fifo_errors"};
    *ret = (struct if_drops){0};
    for (int i = 0; i < IF_DROPS_FILES; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        ret->fds[i] = open(path, O_RDONLY | O_CLOEXEC);
        (void)read_counter(ret->fds[i], &ret->seen[i]);
    }
}

void if_drops_close(struct if_drops *d)
{
    for (int i = 0; i < IF_DROPS_FILES; i++)
        closep(&d->fds[i]);
}

uint64_t if_drops_read(struct if_drops *d)
{
    for (int i = 0; i < IF_DROPS_FILES; i++) {
        uint64_t now;
        if (read_counter(d->fds[i], &now) < 0)
            continue;
        d->total += now >= d->seen[i] ? now - d->seen[i] : now;
        d->seen[i] = now;
    }
    return d->total;
}
