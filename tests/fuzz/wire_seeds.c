// Writes encoded batches of every shape into a directory: the seeds of fuzz_wire.
#include <stdio.h>

#include "common/wire.h"
#include "tests/unit/rand_batch.h"

static int write_seed(struct wire_encoder *encoder, const char *directory, uint32_t seed)
{
    static const uint32_t flows[] = {0, 1, 5, 40, 300};
    struct rand_source r = {seed};
    enum rand_shape shape = seed % 2 ? RAND_BACKGROUND : RAND_MIXED;
    struct batch batch = rand_batch(&r, shape, flows[seed % ARRAY_SIZE(flows)], 1 + seed % 4);
    const uint8_t *payload;
    size_t size;
    char name[4096];
    int status = wire_batch_encode(encoder, &batch, &payload, &size);
    rand_batch_free(&batch);
    snprintf(name, sizeof name, "%s/batch_%u", directory, seed);
    _cleanup_(fclosep) FILE *f = status == 0 ? fopen(name, "wbe") : NULL;
    return f && fwrite(payload, 1, size, f) == size ? 0 : -1;
}

int main(int argc, char *argv[])
{
    _cleanup_(wire_encoder_freep) struct wire_encoder *encoder = NULL;
    if (argc != 2 || wire_encoder_new(&encoder) != 0)
        return 2;
    for (uint32_t seed = 0; seed < 20; seed++) {
        if (write_seed(encoder, argv[1], seed) != 0)
            return 1;
    }
    return 0;
}
