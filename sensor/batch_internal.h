// What batch.c (filling and sealing) and window.c (time) share.
#pragma once

#include "sensor/batch.h"
#include "sensor/coverage.h"
#include "sensor/flood.h"
#include "sensor/flow_table.h"

struct batch_builder {
    struct batch batch;
    size_t raw;       // estimated uncompressed payload so far
    int64_t since_ms; // monotonic time of its first record
};

struct batcher {
    struct batcher_config config;
    enum flow_order order;
    batcher_sealed_fn sealed;
    void *ctx;
    struct flow_table *table;
    struct batch_builder builder;
    struct counters counters;
    struct batcher_report report;

    // the open window; start_ms is NO_WINDOW when none is
    struct window_record window;
    int64_t wall_ms; // of the latest tick
    int64_t mono_ms;
    struct coverage coverage; // replay
    struct span live;         // live: observed and not yet in a record
};

// Room for the arrays of a batch, reserved and not yet touched. batch_builder_free also after a
// failure.
int batch_builder_new(struct batch_builder *builder, uint32_t window_ms);
void batch_builder_free(struct batch_builder *builder);

// Hands the batch out, if it holds anything, and starts the next.
int batch_seal(struct batcher *b);
// The open window with all that is in the flow table, which is empty afterwards.
int batch_add_window(struct batcher *b);
// Windows without frames.
int batch_add_empty(struct batcher *b, struct span span, uint64_t covered_ms);
