// hirundo-fill-spool: writes batches into a sensor's spool, one a minute, as if it had been cut
// off.
//
//   hirundo-fill-spool PATH CAP_MIB BATCHES FLOWS FROM_S SEED
//                      BATCHES batches of FLOWS flows, from FROM_S (seconds since 1970) on, or as
//                      many as it holds; prints how many there are, and how many packets they count
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "sensor/spool.h"
#include "tests/unit/rand_batch.h"

#define MINUTE_MS 60000

static int append(struct spool *spool, struct wire_encoder *encoder, const struct batch *b,
                  struct counters *counters)
{
    struct spool_item item = {
        .header = {.kind = WIRE_BATCH, .run_id = 1, .codec = WIRE_CODEC_ZSTD_COLUMNS}};
    _cleanup_(freep) uint8_t *records = NULL;
    int r = wire_batch_encode(encoder, b, &item.payload, &item.size);
    if (r == 0)
        r = wire_records_encode(b->windows, b->n_windows, &records, &item.records_size);
    if (r < 0)
        return r;
    wire_batch_describe(b, &item.header);
    item.header.counters = *counters;
    item.header.counters.frames += item.header.frames;
    item.records = records;
    r = spool_append(spool, &item, 1, wall_ms());
    if (r == 0)
        *counters = item.header.counters;
    return r;
}

static int fill(struct spool *spool, uint64_t batches, uint32_t flows, int64_t from_ms,
                uint64_t seed)
{
    _cleanup_(wire_encoder_freep) struct wire_encoder *encoder = NULL;
    struct rand_source source = {seed};
    struct counters counters = {0};
    uint64_t n = 0;
    int r = wire_encoder_new(&encoder);
    for (uint64_t i = 0; i < batches && r == 0; i++) {
        struct batch b = rand_batch(&source, RAND_BACKGROUND, flows, 1);
        int64_t shift = from_ms + (int64_t)i * MINUTE_MS - b.windows[0].start_ms;
        for (uint32_t k = 0; k < b.n_flows; k++)
            b.flows[k].ts_ms += shift;
        b.windows[0].start_ms += shift;
        // Counted drops would stand for packets of the test's own traffic in the same slot.
        b.windows[0].kernel_dropped = b.windows[0].interface_dropped = 0;
        r = append(spool, encoder, &b, &counters);
        n += r == 0;
        rand_batch_free(&b);
    }
    if (r >= 0)
        printf("%" PRIu64 " %" PRIu64 "\n", n, counters.frames);
    return MIN(r, 0);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fputs("usage: hirundo-fill-spool PATH CAP_MIB BATCHES FLOWS FROM_S SEED\n", stderr);
        return 2;
    }
    struct spool_config config = {
        .path = argv[1], .cap_bytes = strtoll(argv[2], NULL, 10) << 20, .keep_all = true};
    _cleanup_(spool_freep) struct spool *spool = NULL;
    struct errmsg e = {"out of memory"};
    int r = spool_open(&config, wall_ms(), &spool, &e);
    if (r < 0) {
        fprintf(stderr, "%s\n", e.text);
        return EXIT_FAILURE;
    }
    int64_t from_ms = strtoll(argv[5], NULL, 10) / 60 * MINUTE_MS;
    r = fill(spool, strtoull(argv[3], NULL, 10), (uint32_t)atoi(argv[4]), from_ms,
             strtoull(argv[6], NULL, 10));
    if (r != 0)
        fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
