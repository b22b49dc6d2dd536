#include "sensor/packer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/wire.h"

#define HELD_RECORDS_MAX 1024
#define WAIT_SLICE_MS    200

struct packer {
    struct packer_config config;
    struct wire_encoder *encoder;
    uint64_t batches;
    uint64_t dropped;
    // What was dropped and is not declared yet.
    struct window_record *held;
    size_t n_held;
    bool held_unknown;
    struct wire_header held_header;
    int64_t held_whole_ms;
    const char *held_reason;
};

int packer_new(const struct packer_config *config, struct packer **ret)
{
    _cleanup_(packer_freep) struct packer *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->config = *config;
    int r = wire_encoder_new(&p->encoder);
    if (r < 0)
        return r;
    *ret = p;
    p = NULL;
    return 0;
}

void packer_free(struct packer *p)
{
    if (!p)
        return;
    wire_encoder_free(p->encoder);
    free(p->held);
    free(p);
}

static void record_add(struct window_record *to, const struct window_record *r)
{
    to->covered_ms += r->covered_ms;
    to->frames += r->frames;
    to->non_ip += r->non_ip;
    to->malformed += r->malformed;
    to->row_packets += r->row_packets;
    to->flood_packets += r->flood_packets;
    to->kernel_dropped += r->kernel_dropped;
    to->interface_dropped += r->interface_dropped;
}

static void hold_record(struct packer *p, const struct window_record *r)
{
    if (p->held_unknown)
        return;
    struct window_record *last = p->n_held > 0 ? &p->held[p->n_held - 1] : NULL;
    if (last && last->start_ms == r->start_ms && last->windows == 1 && r->windows == 1) {
        record_add(last, r);
        return;
    }
    if (!p->held)
        p->held = calloc(HELD_RECORDS_MAX, sizeof *p->held);
    if (!p->held || p->n_held == HELD_RECORDS_MAX) {
        p->held_unknown = true;
        p->n_held = 0;
        return;
    }
    p->held[p->n_held++] = *r;
}

// A window of more flows than a batch takes is whole with the last of its batches only.
static int64_t whole_ms(const struct batch *b, const struct wire_header *h)
{
    return b->split ? b->windows[b->n_windows - 1].start_ms : h->last_window_ms;
}

static void hold(struct packer *p, const struct batch *b, const struct wire_header *h,
                 const char *reason)
{
    struct wire_header *held = &p->held_header;
    bool first = p->n_held == 0 && !p->held_unknown;
    int64_t from = first ? h->first_window_ms : MIN(held->first_window_ms, h->first_window_ms);
    int64_t to = first ? h->last_window_ms : MAX(held->last_window_ms, h->last_window_ms);
    uint64_t frames = first ? h->frames : held->frames + h->frames;
    *held = *h;
    held->first_window_ms = from;
    held->last_window_ms = to;
    held->frames = frames;
    p->held_whole_ms = whole_ms(b, h);
    p->held_reason = reason;
    for (uint32_t i = 0; i < b->n_windows; i++)
        hold_record(p, &b->windows[i]);
    p->dropped++;
}

static int push(struct packer *p, struct queue_item *item, int wait_ms)
{
    int r = queue_push(p->config.queue, item, wait_ms);
    while (r == QUEUE_FULL && p->config.wait && !(p->config.stop && *p->config.stop))
        r = queue_push(p->config.queue, item, WAIT_SLICE_MS);
    return r;
}

int packer_flush(struct packer *p, int wait_ms)
{
    if (p->n_held == 0 && !p->held_unknown)
        return 0;
    struct queue_item item = {
        .header = p->held_header, .unknown = p->held_unknown, .whole_ms = p->held_whole_ms};
    snprintf(item.reason, sizeof item.reason, "%s", p->held_reason);
    if (!item.unknown) // without memory for the counts: the interval
        item.unknown =
            wire_records_encode(p->held, p->n_held, &item.records, &item.records_size) < 0;
    int r = push(p, &item, wait_ms);
    if (r == 0) {
        p->n_held = 0;
        p->held_unknown = false;
    }
    queue_item_clear(&item);
    return r == QUEUE_STOPPED ? PACKER_STOPPED : r == QUEUE_FULL ? QUEUE_FULL : r;
}

static int item_fill(struct packer *p, const struct batch *b, struct queue_item *item)
{
    const uint8_t *payload;
    int r = wire_batch_encode(p->encoder, b, &payload, &item->size);
    if (r < 0)
        return r;
    r = wire_records_encode(b->windows, b->n_windows, &item->records, &item->records_size);
    if (r < 0)
        return r;
    item->payload = malloc(item->size + 1);
    if (!item->payload)
        return -ENOMEM;
    memcpy(item->payload, payload, item->size);
    return 0;
}

static int pack(struct packer *p, const struct batch *b, const struct wire_header *h)
{
    struct queue_item item = {.header = *h, .whole_ms = whole_ms(b, h)};
    int r = item_fill(p, b, &item);
    if (r < 0) {
        queue_item_clear(&item);
        log_error("a batch of %u flows cannot be encoded (%s): declared as lost", b->n_flows,
                  strerror(-r));
        hold(p, b, h, "the batch could not be encoded");
        return 0;
    }
    r = packer_flush(p, 0); // what was lost before comes before
    if (r == 0)
        r = push(p, &item, p->config.wait ? WAIT_SLICE_MS : 0);
    queue_item_clear(&item);
    if (r == QUEUE_FULL) { // in replay: it is told to end
        hold(p, b, h, "the spool could not be written and the queue was full");
        return 0;
    }
    return r > 0 ? PACKER_STOPPED : r;
}

int packer_sealed(void *ctx, const struct batch *batch, const struct counters *counters)
{
    struct packer *p = ctx;
    struct wire_header h = {
        .kind = WIRE_BATCH,
        .run_id = p->config.run_id,
        .counters = *counters,
        .codec = WIRE_CODEC_ZSTD_COLUMNS,
    };
    wire_batch_describe(batch, &h);
    p->batches++;
    return pack(p, batch, &h);
}

uint64_t packer_batches(const struct packer *p)
{
    return p->batches;
}

uint64_t packer_undeclared(const struct packer *p)
{
    return p->n_held > 0 || p->held_unknown ? p->held_header.frames : 0;
}

uint64_t packer_dropped(const struct packer *p)
{
    return p->dropped;
}
