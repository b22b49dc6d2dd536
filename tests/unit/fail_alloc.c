#include "tests/unit/fail_alloc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <cmocka.h>
#include <zstd.h>

static atomic_uint then; // once it came: calls until the next one that fails
static atomic_uint left; // calls until the one that fails; 0: none does
static _Thread_local bool exempt;
static bool same_random;

void fail_alloc_at(unsigned n)
{
    fail_alloc_twice(n, 0);
}

void fail_alloc_twice(unsigned n, unsigned gap)
{
    left = n;
    then = gap;
}

bool fail_alloc_end(void)
{
    bool failed = left == 0;
    left = then = 0;
    return failed;
}

void fail_alloc_exempt(bool on)
{
    exempt = on;
}

void fail_alloc_same_random(bool on)
{
    same_random = on;
}

bool fail_alloc_passed(void)
{
    return left == 0;
}

unsigned fail_alloc_each(int (*f)(void *ctx), void *ctx)
{
    for (unsigned n = 1;; n++) {
        fail_alloc_at(n);
        int r = f(ctx);
        if (!fail_alloc_end()) {
            assert_int_equal(r, 0);
            return n - 1;
        }
        assert_true(r < 0);
    }
}

bool fail_alloc_now(void)
{
    if (exempt || left == 0 || --left > 0)
        return false;
    left = then;
    then = 0;
    errno = ENOMEM;
    return true;
}

// The linker's names: calls of name() go to __wrap_name(), __real_name() is the function itself.
#define WRAP(type, name, failure, parameters, arguments)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fail_alloc_now() ? (failure) : __real_##name arguments;                             \
    }

WRAP(void *, malloc, NULL, (size_t n), (n))
WRAP(void *, calloc, NULL, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, NULL, (void *p, size_t n), (p, n))
// mmap by the name it has where offsets are of 64 bits
WRAP(void *, mmap64, MAP_FAILED, (void *p, size_t n, int prot, int flags, int fd, off_t at),
     (p, n, prot, flags, fd, at))

ssize_t __real_getrandom(void *p, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags)
{
    if (fail_alloc_now())
        return -1;
    uint32_t x = 1;
    for (size_t i = 0; same_random && i < n; i++) {
        x = x * 1664525 + 1013904223;
        ((uint8_t *)p)[i] = (uint8_t)(x >> 24);
    }
    return same_random ? (ssize_t)n : __real_getrandom(p, n, flags);
}

WRAP(int, sodium_init, -1, (void), ())
WRAP(int, open64, -1, (const char *path, int flags, mode_t mode), (path, flags, mode))
WRAP(int, rename, -1, (const char *from, const char *to), (from, to))
WRAP(int, ftruncate64, -1, (int fd, off_t size), (fd, size))
WRAP(int, flock, -1, (int fd, int how), (fd, how))
WRAP(ZSTD_CCtx *, ZSTD_createCCtx, NULL, (void), ())
WRAP(ZSTD_DCtx *, ZSTD_createDCtx, NULL, (void), ())
WRAP(size_t, ZSTD_CCtx_setParameter, (size_t)-1, (ZSTD_CCtx * c, ZSTD_cParameter p, int v),
     (c, p, v))
WRAP(size_t, ZSTD_compressStream2, (size_t)-1,
     (ZSTD_CCtx * c, ZSTD_outBuffer *out, ZSTD_inBuffer *in, ZSTD_EndDirective end),
     (c, out, in, end))
