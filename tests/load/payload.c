#include "tests/load/payload.h"

#include <string.h>

#include "tests/unit/rand_batch.h"

static int encode(const struct batch *b, struct payload *ret)
{
    _cleanup_(wire_encoder_freep) struct wire_encoder *encoder = NULL;
    const uint8_t *bytes = NULL;
    size_t size = 0;
    int r = wire_encoder_new(&encoder);
    if (r == 0)
        r = wire_batch_encode(encoder, b, &bytes, &size);
    if (r < 0 || !bytes)
        return r;
    uint8_t *copy = malloc(size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, bytes, size);
    *ret = (struct payload){.bytes = copy, .size = size};
    ret->header = (struct wire_header){
        .kind = WIRE_BATCH, .codec = WIRE_CODEC_ZSTD_COLUMNS, .has_sha256 = true, .run_id = 7};
    wire_batch_describe(b, &ret->header);
    wire_sha256(copy, size, ret->header.sha256);
    return 0;
}

int payload_batch(uint64_t seed, uint32_t flows, int64_t from_ms, struct payload *ret)
{
    struct rand_source source = {seed};
    struct batch b = rand_batch(&source, RAND_BACKGROUND, flows, 1);
    int64_t shift = from_ms ? from_ms - b.windows[0].start_ms : 0;
    for (uint32_t i = 0; i < b.n_flows; i++)
        b.flows[i].ts_ms += shift;
    for (uint32_t i = 0; i < b.n_windows; i++)
        b.windows[i].start_ms += shift;
    int r = encode(&b, ret);
    rand_batch_free(&b);
    return r;
}

int payload_loss(uint64_t seq, uint64_t last, bool unknown, const struct payload *batch,
                 struct payload *ret)
{
    struct window_record record = {.start_ms = batch->header.first_window_ms,
                                   .windows = 1,
                                   .covered_ms = 60000,
                                   .frames = batch->header.frames};
    record.row_packets = record.frames;
    struct loss_item item = {.seq_first = seq,
                             .seq_last = last,
                             .unknown = unknown,
                             .first_ms = batch->header.first_window_ms,
                             .last_ms = batch->header.last_window_ms,
                             .n_records = unknown ? 0 : 1,
                             .records = unknown ? NULL : &record};
    snprintf(item.reason, sizeof item.reason, "the spool was full");
    if (!unknown)
        memcpy(item.sha256, batch->header.sha256, sizeof item.sha256);
    struct payload loss = *batch;
    loss.header.kind = WIRE_LOSS;
    loss.header.codec = WIRE_CODEC_PLAIN;
    int r = wire_loss_encode(&item, 1, &loss.bytes, &loss.size);
    if (r < 0)
        return r;
    wire_sha256(loss.bytes, loss.size, loss.header.sha256);
    *ret = loss;
    return 0;
}

void payload_release(struct payload *p)
{
    free(p->bytes);
    *p = (struct payload){0};
}
