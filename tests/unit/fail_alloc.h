// Makes the n-th call for a resource fail, so that every path after such a failure runs. Link
// fail_alloc_dep: the linker then leads the calls of the project's own code (not of libraries) for
// memory, for zstd's contexts, for randomness, for libsodium's start and on files through here.
#pragma once

#include <stdbool.h>

// The n-th call from now on fails, once.
void fail_alloc_at(unsigned n);
// The n-th and, `gap` calls later, another one.
void fail_alloc_twice(unsigned n, unsigned gap);
// Ends that; whether the call (the second of two) came to be made.
bool fail_alloc_end(void);
// Whether it was made, without ending that.
bool fail_alloc_passed(void);
// The calling thread's calls are not counted, such as a test's own.
void fail_alloc_exempt(bool on);
// getrandom() gives the same bytes each time: for a test that counts what a hash decides.
void fail_alloc_same_random(bool on);
// For further calls led aside: whether this one is to fail; errno is set then.
bool fail_alloc_now(void);

// Calls f(ctx) with the first call failing, then the second, ... until none is left to fail; f
// must return a negative error each time and 0 at last. Returns how many calls failed.
unsigned fail_alloc_each(int (*f)(void *ctx), void *ctx);
