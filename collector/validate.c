#include "collector/validate.h"

#include <inttypes.h>
#include <string.h>

#include "collector/copy_row.h"
#include "common/clock.h"

#define SLOT_MS 900000
#define DAY_MS  86400000LL

int validate_payload(struct sha256 *sha256, const struct wire_header *h, const uint8_t *payload,
                     size_t size, struct errmsg *e)
{
    if (size == 0)
        return errmsg_set(e, VALIDATE_REFUSED, "the payload is empty");
    if (size > BATCH_PAYLOAD_MAX)
        return errmsg_set(e, VALIDATE_REFUSED, "a payload of %zu bytes; at most %u", size,
                          BATCH_PAYLOAD_MAX);
    if (h->kind == WIRE_BATCH && h->codec != WIRE_CODEC_ZSTD_COLUMNS)
        return errmsg_set(e, VALIDATE_REFUSED, "codec %" PRIu32 " is not known here", h->codec);
    uint8_t digest[WIRE_SHA256_SIZE];
    if (sha256_of(sha256, payload, size, digest) < 0)
        return errmsg_set(e, -ENOMEM, "out of memory");
    if (!h->has_sha256 || memcmp(digest, h->sha256, sizeof digest) != 0)
        return errmsg_set(e, VALIDATE_REFUSED, "the payload does not have the header's SHA-256");
    return 0;
}

static int check_times(int64_t first_ms, int64_t last_ms, const struct validate_limits *limits,
                       struct errmsg *e)
{
    char text[CLOCK_TEXT], limit[CLOCK_TEXT];
    if (first_ms < limits->accept_from_ms) {
        clock_text(first_ms, text);
        clock_text(limits->accept_from_ms, limit);
        return errmsg_set(
            e, VALIDATE_REFUSED,
            "times from %s; accepted from %s on (settings accept_from, retention_flow)", text,
            limit);
    }
    if (last_ms > limits->accept_until_ms) {
        clock_text(last_ms, text);
        clock_text(limits->accept_until_ms, limit);
        return errmsg_set(e, VALIDATE_REFUSED,
                          "times up to %s; accepted up to %s (setting accept_ahead)", text, limit);
    }
    return 0;
}

static int check_records(const struct window_record *records, uint32_t n, uint32_t window_ms,
                         struct errmsg *e)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct window_record *r = &records[i];
        const uint64_t counts[] = {r->frames,           r->non_ip,        r->malformed,
                                   r->row_packets,      r->flood_packets, r->kernel_dropped,
                                   r->interface_dropped};
        for (size_t k = 0; k < ARRAY_SIZE(counts); k++)
            if (counts[k] > VALIDATE_COUNT_MAX)
                return errmsg_set(e, VALIDATE_REFUSED, "a window with %" PRIu64 " frames",
                                  counts[k]);
        slots += (uint64_t)r->windows * window_ms / SLOT_MS + 1;
    }
    if (slots > VALIDATE_SLOTS_MAX)
        return errmsg_set(e, VALIDATE_REFUSED, "covers %" PRIu64 " quarters of an hour; at most %d",
                          slots, VALIDATE_SLOTS_MAX);
    return 0;
}

static int check_rows(const struct batch *b, struct errmsg *e)
{
    uint64_t extra = 0;
    int64_t day = INT64_MIN;
    int days = 0;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        const struct flow *f = &b->flows[i];
        if (f->ip_len > INT32_MAX || f->duration_ms > INT32_MAX)
            return errmsg_set(e, VALIDATE_REFUSED, "flow %" PRIu32 ": a length that is none", i);
        extra += copy_flow_rows(f) - 1;
        if (extra > VALIDATE_SPLIT_MAX)
            return errmsg_set(e, VALIDATE_REFUSED, "flows of absurd size");
        days += f->ts_ms / DAY_MS != day;
        day = f->ts_ms / DAY_MS;
    }
    if (days > VALIDATE_DAYS_MAX)
        return errmsg_set(e, VALIDATE_REFUSED, "rows of %d days; at most %d", days,
                          VALIDATE_DAYS_MAX);
    for (uint32_t i = 0; i < b->n_floods; i++) {
        const struct flood *f = &b->floods[i];
        if (f->packets > VALIDATE_COUNT_MAX || f->bytes > VALIDATE_COUNT_MAX << 16 ||
            f->sources_estimate > VALIDATE_COUNT_MAX)
            return errmsg_set(e, VALIDATE_REFUSED, "flood row %" PRIu32 " of absurd size", i);
    }
    return 0;
}

int validate_batch(const struct wire_header *h, const struct batch *b,
                   const struct validate_limits *limits, struct errmsg *e)
{
    if (b->n_windows == 0)
        return errmsg_set(e, VALIDATE_REFUSED, "a batch without a window");
    struct wire_header said = {0};
    wire_batch_describe(b, &said);
    if (said.first_window_ms != h->first_window_ms || said.last_window_ms != h->last_window_ms)
        return errmsg_set(e, VALIDATE_REFUSED, "header and payload disagree about the windows");
    if (said.frames != h->frames)
        return errmsg_set(e, VALIDATE_REFUSED,
                          "the header says %" PRIu64 " frames, the payload %" PRIu64, h->frames,
                          said.frames);
    int r = check_times(h->first_window_ms, h->last_window_ms, limits, e);
    if (r == 0)
        r = check_records(b->windows, b->n_windows, b->window_ms, e);
    if (r == 0)
        r = check_rows(b, e);
    return r;
}

static int check_item(const struct loss_item *item, const struct validate_limits *limits,
                      struct errmsg *e)
{
    if (item->unknown) {
        // An interval is all there is; a start of 0 means "since the last window delivered".
        int64_t first = item->first_ms == 0 ? item->last_ms : item->first_ms;
        return first > item->last_ms
                   ? errmsg_set(e, VALIDATE_REFUSED, "a lost interval that ends before it begins")
                   : check_times(first, item->last_ms, limits, e);
    }
    int bad = check_times(item->first_ms, item->last_ms, limits, e);
    for (uint32_t i = 0; bad == 0 && i < item->n_records; i++) {
        const struct window_record *r = &item->records[i];
        bad = check_times(r->start_ms, r->start_ms, limits, e);
    }
    if (bad != 0)
        return bad;
    return check_records(item->records, item->n_records, 0, e); // runs hold no counts: not booked
}

int validate_loss(const struct wire_header *h, const struct loss_item *items, size_t n,
                  const struct validate_limits *limits, struct errmsg *e)
{
    if (n == 0)
        return errmsg_set(e, VALIDATE_REFUSED, "a loss message without an item");
    if (items[0].seq_first != h->seq)
        return errmsg_set(e, VALIDATE_REFUSED,
                          "header and payload disagree about the first number");
    for (size_t i = 0; i < n; i++) {
        int r = check_item(&items[i], limits, e);
        if (r)
            return r;
    }
    return 0;
}
