// The batch codec behind its compression: a Batch whose columns are not compressed. They are, here,
// so that a changed byte reaches the decoder of its column and not only the decompressor.
#include <string.h>
#include <zstd.h>

#include "common/wire_internal.h"
#include "tests/fuzz/batch_checks.h"
#include "tests/unit/rand_batch.h"

#define COLUMNS_MAX (128u * 1024u)

// The message with its columns compressed, packed; its size.
static size_t compress(const Hirundo__V1__Batch *m, uint8_t *columns, size_t columns_size,
                       uint8_t *out)
{
    Hirundo__V1__Batch compressed = *m;
    size_t n = ZSTD_compress(columns, columns_size, m->columns.data, m->columns.len, 1);
    HOLDS(!ZSTD_isError(n));
    compressed.columns = (ProtobufCBinaryData){.len = n, .data = columns};
    return hirundo__v1__batch__pack(&compressed, out);
}

static void check_decoded(const struct batch *batch)
{
    static struct wire_decoder *again;
    static struct wire_encoder *encoder;
    struct batch back;
    struct errmsg e = {""};
    const uint8_t *payload;
    size_t size;
    if (!again)
        HOLDS(wire_decoder_new(&again) == 0 && wire_encoder_new(&encoder) == 0);
    check_books(batch);
    HOLDS(wire_batch_encode(encoder, batch, &payload, &size) == 0);
    HOLDS(wire_batch_decode(again, payload, size, &back, &e) == 0);
    HOLDS(batch_difference(batch, &back) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_decoder *decoder;
    static uint8_t columns[COLUMNS_MAX * 2], payload[COLUMNS_MAX * 4];
    struct batch batch;
    struct errmsg e = {""};
    if (!decoder)
        HOLDS(wire_decoder_new(&decoder) == 0);
    if (size > COLUMNS_MAX)
        return 0;
    Hirundo__V1__Batch *m = hirundo__v1__batch__unpack(NULL, size, data);
    if (!m)
        return 0;
    // unknown fields could make the packed message longer than its buffer
    size_t n = 0;
    if (hirundo__v1__batch__get_packed_size(m) <= sizeof payload / 2)
        n = compress(m, columns, sizeof columns, payload);
    hirundo__v1__batch__free_unpacked(m, NULL);
    int r = wire_batch_decode(decoder, payload, n, &batch, &e);
    HOLDS(r == 0 || (r == WIRE_REFUSED && e.text[0]) || r == -ENOMEM);
    if (r == 0)
        check_decoded(&batch);
    return 0;
}
