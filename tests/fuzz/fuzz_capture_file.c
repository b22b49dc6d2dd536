// The whole way of a capture file, from libpcap to sealed batches that the wire accepts: every
// frame is accounted for, whatever the file is.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/wire.h"
#include "sensor/batch.h"
#include "sensor/capture.h"
#include "tests/fuzz/batch_checks.h"

struct pipeline {
    struct batcher *batcher;
    const struct decode_link *link;
    struct wire_encoder *encoder;
    uint64_t frames;
    struct counters sealed;
};

static int on_sealed(void *ctx, const struct batch *batch, const struct counters *counters)
{
    struct pipeline *p = ctx;
    const uint8_t *payload;
    size_t size;
    uint64_t frames = 0;
    check_books(batch);
    HOLDS(wire_batch_encode(p->encoder, batch, &payload, &size) == 0);
    HOLDS(size <= BATCH_PAYLOAD_MAX);
    for (uint32_t i = 0; i < batch->n_windows; i++)
        frames += batch->windows[i].frames;
    HOLDS(counters->frames == p->sealed.frames + frames);
    HOLDS(counters->frames ==
          counters->row_packets + counters->flood_packets + counters->non_ip + counters->malformed);
    p->sealed = *counters;
    return 0;
}

static int on_frame(void *ctx, const struct frame *frame)
{
    struct pipeline *p = ctx;
    p->frames++;
    HOLDS(frame->ts_ms >= FRAME_TS_MIN && frame->ts_ms <= FRAME_TS_MAX);
    return batcher_frame(p->batcher, p->link, frame);
}

static void run(struct pipeline *p, const char *path)
{
    struct errmsg e = {""};
    struct capture *capture;
    if (capture_open_file(path, &capture, &e) < 0) {
        HOLDS(e.text[0] && !strchr(e.text, '\n'));
        return;
    }
    p->link = decode_link_find(capture_link_type(capture));
    HOLDS(p->link != NULL);
    HOLDS(batcher_begin(p->batcher, 0, 0) == 0);
    int r = capture_read(capture, 0, 0, on_frame, p, &e);
    HOLDS(r == CAPTURE_END || (r == -EIO && e.text[0]));
    HOLDS(batcher_end(p->batcher, 0, 0) == 0);
    HOLDS(batcher_flush(p->batcher) == 0);
    HOLDS(p->sealed.frames == p->frames);
    capture_free(capture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_encoder *encoder;
    struct pipeline p = {0};
    const struct batcher_config config = {.window_ms = WINDOW_MS_MIN,
                                          .table_size = TABLE_SIZE_MIN,
                                          .max_delay_ms = MAX_DELAY_MS_DEFAULT};
    char path[64];
    if (!encoder)
        HOLDS(wire_encoder_new(&encoder) == 0);
    p.encoder = encoder;
    int fd = memfd_create("capture", MFD_CLOEXEC);
    HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    HOLDS(batcher_new(&config, on_sealed, &p, &p.batcher) == 0);
    run(&p, path);
    batcher_free(p.batcher);
    close(fd);
    return 0;
}
