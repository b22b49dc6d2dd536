#include "sensor/capture_internal.h"

#include <string.h>
#include <sys/eventfd.h>

struct reader {
    struct capture *capture;
    capture_frame_fn fn;
    void *ctx;
    int r;
};

int capture_new(const char *name, struct capture **ret)
{
    _cleanup_(capture_freep) struct capture *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->break_fd = c->poll_fd = -1;
    for (size_t i = 0; i < IF_DROPS_FILES; i++)
        c->if_drops.fds[i] = -1;
    c->name = strdup(name);
    if (!c->name)
        return -ENOMEM;
    *ret = c;
    c = NULL;
    return 0;
}

void capture_free(struct capture *c)
{
    if (!c)
        return;
    if (c->pcap)
        pcap_close(c->pcap);
    closep(&c->break_fd);
    if_drops_close(&c->if_drops);
    free(c->name);
    free(c);
}

// Microseconds are taken as they stand, beyond a million too: some writers put nanoseconds there.
// The seconds of a pcap file have no sign, though libpcap reads them with one: they end in 2106,
// not in 2038.
static int64_t frame_time(const struct timeval *tv, bool unsigned_seconds, bool *ret_clamped)
{
    int64_t s = unsigned_seconds ? (uint32_t)tv->tv_sec : tv->tv_sec;
    bool representable = s >= FRAME_TS_MIN / 1000 && s <= FRAME_TS_MAX / 1000;
    int64_t ms = s < 0 ? FRAME_TS_MIN : FRAME_TS_MAX;
    if (representable)
        ms = s * 1000 + tv->tv_usec / 1000;
    *ret_clamped = !representable || ms < FRAME_TS_MIN || ms > FRAME_TS_MAX;
    return MIN(MAX(ms, FRAME_TS_MIN), FRAME_TS_MAX);
}

static void on_frame(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    struct reader *reader = (void *)user;
    struct frame frame = {
        .caplen = header->caplen,
        .wirelen = header->len,
        .data = data,
    };
    frame.ts_ms = frame_time(&header->ts, reader->capture->unsigned_seconds, &frame.time_clamped);
    reader->r = reader->fn(reader->ctx, &frame);
    if (reader->r != 0)
        pcap_breakloop(reader->capture->pcap);
}

static int read_error(struct capture *c, struct errmsg *e)
{
    if (c->poll_fd >= 0)
        return capture_live_error(c, e);
    const char *text = pcap_geterr(c->pcap);
    const char *mixed = strstr(text, "different from the type of the first interface")
                            ? "link types"
                        : strstr(text, "different from the snapshot length of the first interface")
                            ? "snapshot lengths"
                            : NULL;
    if (mixed)
        return errmsg_set(e, -EIO,
                          "%s: its interfaces have different %s, only the frames before the "
                          "second were read; write a file for each (tshark -r)",
                          c->name, mixed);
    return errmsg_set(e, -EIO, "%s: damaged: %s", c->name, text);
}

int capture_read(struct capture *c, int max_frames, int timeout_ms, capture_frame_fn fn, void *ctx,
                 struct errmsg *e)
{
    bool live = c->poll_fd >= 0;
    if (live) {
        int r = capture_wait(c, timeout_ms, e);
        if (r != 0)
            return r;
    }
    struct reader reader = {.capture = c, .fn = fn, .ctx = ctx};
    int n = pcap_dispatch(c->pcap, max_frames > 0 ? max_frames : -1, on_frame, (void *)&reader);
    if (reader.r != 0)
        return reader.r;
    if (n == PCAP_ERROR_BREAK)
        return CAPTURE_BROKEN;
    if (n < 0)
        return read_error(c, e);
    return live || (max_frames > 0 && n >= max_frames) ? 0 : CAPTURE_END;
}

void capture_break(struct capture *c)
{
    pcap_breakloop(c->pcap);
    if (c->break_fd >= 0)
        (void)eventfd_write(c->break_fd, 1);
}

int capture_link_type(const struct capture *c)
{
    return pcap_datalink(c->pcap);
}

const char *capture_name(const struct capture *c)
{
    return c->name;
}

int capture_stats(struct capture *c, struct capture_stats *ret)
{
    if (c->poll_fd >= 0) {
        struct pcap_stat now;
        if (pcap_stats(c->pcap, &now) != 0)
            return -EIO;
        c->stats.kernel_dropped += now.ps_drop - c->seen.ps_drop;
        c->stats.interface_dropped = if_drops_read(&c->if_drops);
        c->seen = now;
    }
    *ret = c->stats;
    return 0;
}
