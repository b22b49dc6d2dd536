// Bundles: any text, with a good signature behind it (as far as the text leaves the operator's key
// in place) and without. What is taken must say again what it said.
#include <sodium.h>
#include <string.h>

#include "common/bundle.h"
#include "tests/fuzz/fuzz.h"

static void holds(const struct bundle *b)
{
    HOLDS(sensor_name_is_valid(b->name) && strlen(b->country) == 2 && b->endpoints.n > 0);
    HOLDS(!b->has_next || b->next_endpoints.n > 0);
    _cleanup_(freep) char *text = NULL;
    HOLDS(bundle_format(b, &text) == 0);
}

static void try(char *text, size_t size)
{
    struct bundle b;
    struct errmsg e = {""};
    int r = bundle_parse("fuzz", text, size, &b, &e);
    HOLDS(r <= 0 && (r == 0 || e.text[0]));
    if (r < 0)
        return;
    holds(&b);
    bundle_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
    uint8_t seed[crypto_sign_SEEDBYTES], signature[BUNDLE_SIGNATURE];
    if (size > BUNDLE_SIZE_MAX)
        return 0;
    HOLDS(sodium_init() >= 0);
    memset(seed, 7, sizeof seed);
    crypto_sign_seed_keypair(public_key, secret_key, seed);
    crypto_sign_detached(signature, NULL, data, size, secret_key);
    _cleanup_(freep) char *text = malloc(size + 256);
    HOLDS(text);
    memcpy(text, data, size);
    text[size] = '\0';
    try(text, size);
    int more = bundle_format_signature(signature, text + size, 256);
    HOLDS(more > 0);
    try(text, size + (size_t)more);
    return 0;
}
