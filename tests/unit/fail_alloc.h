// Makes the n-th call for a resource fail, so that every path after such a failure runs. Link
// fail_alloc_dep: the linker then leads the calls of the project's own code (not of libraries) for
// memory, for zstd's contexts, for randomness and for libsodium's start through here.
#pragma once

#include <stdbool.h>

// The n-th call from now on fails, once.
void fail_alloc_at(unsigned n);
// Ends that; whether the call came to be made.
bool fail_alloc_end(void);

// Calls f(ctx) with the first call failing, then the second, ... until none is left to fail; f
// must return a negative error each time and 0 at last. Returns how many calls failed.
unsigned fail_alloc_each(int (*f)(void *ctx), void *ctx);
