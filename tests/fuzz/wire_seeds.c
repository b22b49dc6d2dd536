// Writes the seeds of what speaks the wire: wire (encoded batches of every shape), columns (the
// same, not compressed) and message (the other kinds, behind a byte that says which).
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "common/wire_internal.h"
#include "tests/unit/rand_batch.h"

static int write_file(const char *directory, const char *kind, unsigned number, const uint8_t *p,
                      size_t size)
{
    char name[4096];
    snprintf(name, sizeof name, "%s/%s_%u", directory, kind, number);
    _cleanup_(fclosep) FILE *f = fopen(name, "wbe");
    return f && fwrite(p, 1, size, f) == size ? 0 : -1;
}

static int write_columns(const char *top, unsigned seed, const uint8_t *payload, size_t size)
{
    static uint8_t raw[BATCH_PAYLOAD_MAX], packed[2 * BATCH_PAYLOAD_MAX];
    char directory[4096];
    Hirundo__V1__Batch *m = hirundo__v1__batch__unpack(NULL, size, payload);
    if (!m)
        return -1;
    Hirundo__V1__Batch plain = *m;
    plain.columns.data = raw;
    plain.columns.len = ZSTD_decompress(raw, sizeof raw, m->columns.data, m->columns.len);
    bool fits = !ZSTD_isError(plain.columns.len) &&
                hirundo__v1__batch__get_packed_size(&plain) <= sizeof packed;
    size_t n = fits ? hirundo__v1__batch__pack(&plain, packed) : 0;
    hirundo__v1__batch__free_unpacked(m, NULL);
    snprintf(directory, sizeof directory, "%s/columns", top);
    return fits ? write_file(directory, "batch", seed, packed, n) : -1;
}

static int write_batch(struct wire_encoder *encoder, const char *top, uint32_t seed)
{
    static const uint32_t flows[] = {0, 1, 5, 40, 300};
    struct rand_source r = {seed};
    enum rand_shape shape = seed % 2 ? RAND_BACKGROUND : RAND_MIXED;
    struct batch batch = rand_batch(&r, shape, flows[seed % ARRAY_SIZE(flows)], 1 + seed % 4);
    const uint8_t *payload;
    size_t size;
    char directory[4096];
    int status = wire_batch_encode(encoder, &batch, &payload, &size);
    rand_batch_free(&batch);
    if (status != 0)
        return -1;
    snprintf(directory, sizeof directory, "%s/wire", top);
    if (write_file(directory, "batch", seed, payload, size) != 0)
        return -1;
    return write_columns(top, seed, payload, size);
}

static int write_message(const char *top, uint8_t kind, const uint8_t *p, size_t size)
{
    uint8_t message[4096];
    char directory[4096];
    if (size >= sizeof message)
        return -1;
    message[0] = kind;
    memcpy(message + 1, p, size);
    snprintf(directory, sizeof directory, "%s/message", top);
    return write_file(directory, "kind", kind, message, size + 1);
}

static int write_small(const char *top)
{
    uint8_t buf[WIRE_HEADER_MAX];
    static_assert(WIRE_REPLY_MAX <= sizeof buf, "replies fit");
    size_t size;
    const struct wire_header h = {.kind = WIRE_BATCH,
                                  .spool_id = {1, 2, 3},
                                  .seq = 7,
                                  .run_id = 99,
                                  .counters = {.frames = 5, .non_ip = 2, .row_packets = 3},
                                  .first_window_ms = 1675814400000,
                                  .last_window_ms = 1675814460000,
                                  .frames = 5,
                                  .codec = WIRE_CODEC_ZSTD_COLUMNS};
    if (wire_header_encode(&h, buf, &size) != 0 || write_message(top, 0, buf, size) != 0)
        return -1;
    const struct wire_heartbeat beat = {.version = "1.0", .uptime_s = 60, .clock_offset_ms = -5};
    if (wire_heartbeat_encode(&beat, buf, &size) != 0 || write_message(top, 1, buf, size) != 0)
        return -1;
    const struct wire_reply reply = {.committed_through = 7,
                                     .expected_seq = 8,
                                     .reason = WIRE_NACK_GAP,
                                     .credit = 1 << 20,
                                     .db_ok = true,
                                     .detail = "so it is"};
    return wire_reply_encode(&reply, buf, &size) == 0 ? write_message(top, 2, buf, size) : -1;
}

static int write_records(const char *top)
{
    _cleanup_(freep) uint8_t *p = NULL, *q = NULL;
    size_t size;
    const struct window_record records[] = {
        {.start_ms = 1675814400000, .windows = 1, .covered_ms = 60000, .frames = 3, .non_ip = 3},
        {.start_ms = 1675814460000, .windows = 20, .covered_ms = 1200000},
        {.start_ms = 1675815660000,
         .windows = 1,
         .frames = 9,
         .row_packets = 9,
         .kernel_dropped = 1},
    };
    const struct loss_item items[] = {
        {.seq_first = 3, .seq_last = 4, .n_records = 3, .records = records, .reason = "cap"},
        {.seq_first = 5, .seq_last = 5, .unknown = true, .last_ms = 1675814400000},
    };
    if (wire_loss_encode(items, 2, &p, &size) != 0 || write_message(top, 3, p, size) != 0)
        return -1;
    return wire_records_encode(records, 3, &q, &size) == 0 ? write_message(top, 4, q, size) : -1;
}

int main(int argc, char *argv[])
{
    _cleanup_(wire_encoder_freep) struct wire_encoder *encoder = NULL;
    if (argc != 2 || wire_encoder_new(&encoder) != 0)
        return 2;
    for (uint32_t seed = 0; seed < 20; seed++) {
        if (write_batch(encoder, argv[1], seed) != 0)
            return 1;
    }
    return write_small(argv[1]) == 0 && write_records(argv[1]) == 0 ? 0 : 1;
}
