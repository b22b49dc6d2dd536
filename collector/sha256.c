#include "collector/sha256.h"

#include <openssl/evp.h>

struct sha256 {
    EVP_MD *algorithm; // looked up once: that takes longer than a small batch's digest
    EVP_MD_CTX *context;
};

int sha256_new(struct sha256 **ret)
{
    _cleanup_(sha256_freep) struct sha256 *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    s->context = EVP_MD_CTX_new();
    if (!s->algorithm || !s->context)
        return -ENOMEM;
    *ret = s;
    s = NULL;
    return 0;
}

void sha256_free(struct sha256 *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->context);
    EVP_MD_free(s->algorithm);
    free(s);
}

int sha256_of(struct sha256 *s, const uint8_t *p, size_t size, uint8_t ret_digest[WIRE_SHA256_SIZE])
{
    return EVP_DigestInit_ex2(s->context, s->algorithm, NULL) == 1 &&
                   EVP_DigestUpdate(s->context, p, size) == 1 &&
                   EVP_DigestFinal_ex(s->context, ret_digest, NULL) == 1
               ? 0
               : -ENOMEM;
}
