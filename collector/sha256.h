// SHA-256 by libcrypto, which has the processor's instructions for it: of what every batch brings.
// (wire_sha256 is libsodium's, which the sensor has anyway: three to five times the time.) Of one
// thread.
#pragma once

#include "common/wire.h"

struct sha256;
int sha256_new(struct sha256 **ret);
void sha256_free(struct sha256 *s);
DEFINE_CLEANUP(struct sha256 *, sha256_free)
// 0 or -ENOMEM.
int sha256_of(struct sha256 *s, const uint8_t *p, size_t size,
              uint8_t ret_digest[WIRE_SHA256_SIZE]);
