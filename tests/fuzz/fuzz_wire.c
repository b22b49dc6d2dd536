// The batch codec: bytes that decode must be a batch that encodes again, to the same flows.
#include <string.h>

#include "common/wire.h"
#include "tests/fuzz/batch_checks.h"
#include "tests/unit/rand_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_decoder *decoder, *again;
    static struct wire_encoder *encoder;
    struct batch batch, back;
    struct errmsg e = {""};
    const uint8_t *payload;
    size_t payload_size;
    if (!decoder)
        HOLDS(wire_decoder_new(&decoder) == 0 && wire_decoder_new(&again) == 0 &&
              wire_encoder_new(&encoder) == 0);
    int r = wire_batch_decode(decoder, data, size, &batch, &e);
    HOLDS(r == 0 || (r == WIRE_REFUSED && e.text[0]) || r == -ENOMEM);
    if (r != 0)
        return 0;
    check_books(&batch);
    HOLDS(wire_batch_encode(encoder, &batch, &payload, &payload_size) == 0);
    HOLDS(wire_batch_decode(again, payload, payload_size, &back, &e) == 0);
    HOLDS(batch_difference(&batch, &back) == NULL);
    return 0;
}
