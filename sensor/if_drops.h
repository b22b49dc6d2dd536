// What an interface received and dropped before the kernel could hand it to anybody. libpcap counts
// this only for a promiscuous capture (1.10), which ours is not.
#pragma once

#include <stdint.h>

#define IF_DROPS_FILES 2

struct if_drops {
    int fds[IF_DROPS_FILES]; // -1: not there
    uint64_t seen[IF_DROPS_FILES];
    uint64_t total;
};

// directory: the interface's statistics in sysfs. What is not there counts nothing.
void if_drops_open(const char *directory, struct if_drops *ret);
void if_drops_close(struct if_drops *d);
// Since the opening. A counter that began anew, with its driver, is counted from 0; one that cannot
// be read any more counts nothing.
uint64_t if_drops_read(struct if_drops *d);
