// What the two backends of capture.h share.
#pragma once

#include <pcap/pcap.h>

#include "sensor/capture.h"
#include "sensor/if_drops.h"

struct capture {
    pcap_t *pcap;
    char *name;
    bool unsigned_seconds; // of 32 bits: a pcap file
    int break_fd;          // eventfd that capture_break writes; -1 for a file
    int poll_fd;           // libpcap's, borrowed; -1 for a file
    // last figures of libpcap, 32 bits wide and wrapping, and their sums
    struct pcap_stat seen;
    struct capture_stats stats;
    struct if_drops if_drops;
};

// An empty capture with a copy of name.
int capture_new(const char *name, struct capture **ret);
// Live only: waits for frames. 0, CAPTURE_BROKEN, or -errno.
int capture_wait(struct capture *c, int timeout_ms, struct errmsg *e);
// Live only: what libpcap's error means.
int capture_live_error(struct capture *c, struct errmsg *e);
