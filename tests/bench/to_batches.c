// A capture file through the sensor's pipeline to encoded batches, which are counted and dropped.
//
//   to_batches FILE [windows]   one JSON object on standard output
//     windows   every window is a batch of its own, as a live sensor with few flows seals them
#include <inttypes.h>
#include <stdio.h>

#include "common/wire.h"
#include "sensor/batch.h"
#include "sensor/capture.h"

struct bench {
    struct batcher *batcher;
    const struct decode_link *link;
    struct wire_encoder *encoder;
    bool by_window;
    int64_t window;
    uint64_t payload, flows, batches, frames, packets, bytes;
};

static int on_sealed(void *ctx, const struct batch *batch, const struct counters *counters)
{
    struct bench *b = ctx;
    const uint8_t *payload;
    size_t size;
    int r = wire_batch_encode(b->encoder, batch, &payload, &size);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < batch->n_flows; i++) {
        b->packets += batch->flows[i].packets;
        b->bytes += batch->flows[i].bytes;
    }
    for (uint32_t i = 0; i < batch->n_floods; i++) {
        b->packets += batch->floods[i].packets;
        b->bytes += batch->floods[i].bytes;
    }
    b->payload += size;
    b->flows += batch->n_flows;
    b->batches++;
    b->frames = counters->frames;
    return 0;
}

static int on_frame(void *ctx, const struct frame *frame)
{
    struct bench *b = ctx;
    int64_t window = frame->ts_ms / WINDOW_MS_DEFAULT;
    if (b->by_window && window != b->window) {
        int r = batcher_flush(b->batcher);
        if (r != 0)
            return r;
    }
    b->window = window;
    return batcher_frame(b->batcher, b->link, frame);
}

static int run(struct bench *b, struct capture *capture, struct errmsg *e)
{
    int r = batcher_begin(b->batcher, 0, 0);
    if (r == 0)
        r = capture_read(capture, 0, 0, on_frame, b, e);
    if (r < 0)
        return r;
    r = batcher_end(b->batcher, 0, 0);
    return r < 0 ? r : batcher_flush(b->batcher);
}

int main(int argc, char *argv[])
{
    struct bench b = {0};
    struct errmsg e = {"failed"};
    struct capture *capture = NULL;
    const struct batcher_config config = {.window_ms = WINDOW_MS_DEFAULT,
                                          .table_size = TABLE_SIZE_DEFAULT,
                                          .max_delay_ms = MAX_DELAY_MS_DEFAULT};
    if (argc < 2)
        return 2;
    b.by_window = argc > 2;
    int r = capture_open_file(argv[1], &capture, &e);
    if (r == 0)
        r = wire_encoder_new(&b.encoder);
    if (r == 0)
        r = batcher_new(&config, on_sealed, &b, &b.batcher);
    if (r == 0) {
        b.link = decode_link_find(capture_link_type(capture));
        r = run(&b, capture, &e);
    }
    if (r < 0)
        fprintf(stderr, "%s\n", e.text);
    printf("{\"frames\": %" PRIu64 ", \"flows\": %" PRIu64 ", \"batches\": %" PRIu64
           ", \"payload\": %" PRIu64 ", \"packets\": %" PRIu64 ", \"bytes\": %" PRIu64 "}\n",
           b.frames, b.flows, b.batches, b.payload, b.packets, b.bytes);
    batcher_free(b.batcher);
    wire_encoder_free(b.encoder);
    capture_free(capture);
    return r < 0 ? 1 : 0;
}
