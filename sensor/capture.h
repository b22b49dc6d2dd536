// Where frames come from: one interface, two backends (a network interface, a capture file).
//
// A capture belongs to one thread, except for capture_break. Every error is one line naming the
// interface or the file.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/exclude.h"
#include "common/util.h"
#include "sensor/frame.h"
#include "sensor/packet.h"

#define CAPTURE_SNAPLEN_MIN  96 // Ethernet, two VLAN tags, IPv6, TCP without options
#define CAPTURE_SNAPLEN_MAX  65535
#define CAPTURE_RING_MIN     (1024u * 1024u)
#define CAPTURE_RING_DEFAULT (4u * 1024u * 1024u)
#define CAPTURE_RING_MAX     (256u * 1024u * 1024u)
#define CAPTURE_EXCLUDES_MAX 64
#define CAPTURE_HOLD_MS      600 // a frame that came before can be read by then

struct capture;

struct capture_live_config {
    const char *interface;                  // "any" is allowed
    uint32_t snaplen;                       // bytes
    uint32_t ring_bytes;                    // kernel ring
    const struct capture_exclude *excludes; // the uplink's are in here too
    size_t n_excludes;
};

// Cumulative since the capture was opened; a file has none. Of "any" the interfaces' drops are not
// known.
struct capture_stats {
    uint64_t kernel_dropped;
    uint64_t interface_dropped;
};

enum {
    CAPTURE_END = 1,    // capture_read: the file has no more frames
    CAPTURE_BROKEN = 2, // capture_read: capture_break was called, or a signal came in
};

// Called once a frame. Not 0: reading stops and capture_read returns that value.
typedef int (*capture_frame_fn)(void *ctx, const struct frame *frame);

// Opens a pcap or pcapng file. -EPROTONOSUPPORT: a link type that decode does not know; -ENOTSUP:
// no capture file libpcap reads (gzip, snoop, ...); else what open(2) said.
int capture_open_file(const char *path, struct capture **ret, struct errmsg *e);
// Opens and activates an interface: inbound only, not promiscuous, non-blocking, the excludes
// compiled to BPF. Needs CAP_NET_RAW, which may be dropped afterwards.
// -ENODEV: no such interface; -EPERM: no right to capture.
int capture_open_live(const struct capture_live_config *config, struct capture **ret,
                      struct errmsg *e);
void capture_free(struct capture *c);
DEFINE_CLEANUP(struct capture *, capture_free);

// Reads at most max_frames frames (0: what is at hand; a file: all). Live: waits up to timeout_ms
// for the first; 0 also when none came, so that the caller can tick. An interface that is down is
// waited for. -ENODEV: the interface vanished; -EIO: anything else, a damaged file included (frames
// before the damage have been delivered).
int capture_read(struct capture *c, int max_frames, int timeout_ms, capture_frame_fn fn, void *ctx,
                 struct errmsg *e);
// Makes a running or the next capture_read return CAPTURE_BROKEN. Any thread, any signal handler.
void capture_break(struct capture *c);

// DLT_* of the frames; decode_link_find knows it.
int capture_link_type(const struct capture *c);
// Path or interface, for messages.
const char *capture_name(const struct capture *c);
// 0, or -EIO. May be called often.
int capture_stats(struct capture *c, struct capture_stats *ret);
// Whether a packet is one of those that are not looked at. Sees what the filter in the kernel
// cannot: behind any tags and labels, on every link type.
bool capture_excludes(const struct capture_exclude *excludes, size_t n,
                      const struct packet *packet);
// The filter the excludes make, as pcap-filter(7) text for a link type: "" when there are none.
// -ENOSPC when ret has no room.
int capture_filter_text(const struct capture_exclude *excludes, size_t n, int link_type, char *ret,
                        size_t size);
