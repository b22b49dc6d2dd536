// Preloaded into a program, makes the n-th call of one of its libraries fail: the file that
// $HIRUNDO_FAIL_CALLS names is mapped, its numbers (struct plan) are set by the test at any time.
//
// Calls that count are those of the program itself to libpq, to libzmq, or for memory; what
// libraries call among themselves works.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <zmq.h>

// KIND_WRITER: for memory, in the thread of the one writer, and the first EACH_MAX of each place in
// the program: those that come with each message are too many.
enum kind { KIND_PQ, KIND_PQ_AFTER, KIND_ZMQ, KIND_MEMORY, KIND_WRITER };

#define EACH_MAX   3
#define PLACES_MAX 1024

struct plan {
    atomic_int kind;
    atomic_int left; // calls until the one that fails; 0: none, or it came
    atomic_int calls;
};

static struct plan *plan;
static uintptr_t text_from, text_to; // of the program

static int find_text(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
            text_from = info->dlpi_addr + p->p_vaddr;
            text_to = text_from + p->p_memsz;
        }
    }
    return 1; // the first is the program
}

__attribute__((constructor)) static void set_up(void)
{
    const char *path = getenv("HIRUNDO_FAIL_CALLS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    dl_iterate_phdr(find_text, NULL);
    if (p != MAP_FAILED)
        plan = p;
}

static bool in_writer(void)
{
    char name[16];
    return prctl(PR_GET_NAME, name) == 0 && strncmp(name, "writer ", 7) == 0;
}

// Of one thread.
static bool is_among_first(const void *caller)
{
    static struct place {
        const void *caller;
        unsigned calls;
    } places[PLACES_MAX];
    if (atomic_load(&plan->calls) == 0) // ordered anew
        memset(places, 0, sizeof places);
    struct place *place = &places[(uintptr_t)caller % PLACES_MAX];
    while (place->caller && place->caller != caller)
        place = place + 1 < &places[PLACES_MAX] ? place + 1 : places;
    place->caller = caller;
    return place->calls++ < EACH_MAX;
}

static bool fails(enum kind kind, const void *caller)
{
    if (!plan || (uintptr_t)caller < text_from || (uintptr_t)caller >= text_to)
        return false;
    int wanted = atomic_load(&plan->kind);
    if (wanted == KIND_WRITER && kind == KIND_MEMORY && in_writer())
        kind = KIND_WRITER;
    if (wanted != (int)kind || atomic_load(&plan->left) <= 0 ||
        (kind == KIND_WRITER && !is_among_first(caller)))
        return false;
    atomic_fetch_add(&plan->calls, 1);
    return atomic_fetch_sub(&plan->left, 1) == 1;
}

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

// A call that fails without being made, or, KIND_PQ_AFTER, although it was made.
#define LEAD(kind, type, name, failure, parameters, arguments)                                     \
    __attribute__((visibility("default"))) type name parameters                                    \
    {                                                                                              \
        const void *caller = __builtin_return_address(0);                                          \
        if ((kind) == KIND_PQ && fails(KIND_PQ_AFTER, caller)) {                                   \
            (void)REAL(name) arguments;                                                            \
            return failure;                                                                        \
        }                                                                                          \
        return fails(kind, caller) ? (failure) : REAL(name) arguments;                             \
    }

LEAD(KIND_PQ, int, PQsendQueryParams, 0,
     (PGconn * c, const char *sql, int n, const Oid *types, const char *const *values,
      const int *lengths, const int *formats, int format),
     (c, sql, n, types, values, lengths, formats, format))
LEAD(KIND_PQ, int, PQsendPrepare, 0,
     (PGconn * c, const char *name, const char *sql, int n, const Oid *types),
     (c, name, sql, n, types))
LEAD(KIND_PQ, int, PQsendQueryPrepared, 0,
     (PGconn * c, const char *name, int n, const char *const *values, const int *lengths,
      const int *formats, int format),
     (c, name, n, values, lengths, formats, format))
LEAD(KIND_PQ, int, PQflush, -1, (PGconn * c), (c))
LEAD(KIND_PQ, int, PQconsumeInput, 0, (PGconn * c), (c))
LEAD(KIND_PQ, int, PQputCopyData, -1, (PGconn * c, const char *p, int n), (c, p, n))
LEAD(KIND_PQ, int, PQputCopyEnd, -1, (PGconn * c, const char *why), (c, why))
LEAD(KIND_PQ, int, PQsetnonblocking, -1, (PGconn * c, int on), (c, on))

// A result that says "failed" and no more: what libpq gives when it has no memory for one.
__attribute__((visibility("default"))) PGresult *PQgetResult(PGconn *c)
{
    const void *caller = __builtin_return_address(0);
    PGresult *result = REAL(PQgetResult)(c);
    if (!result || !(fails(KIND_PQ, caller) || fails(KIND_PQ_AFTER, caller)))
        return result;
    PQclear(result);
    return PQmakeEmptyPGresult(c, PGRES_FATAL_ERROR);
}

__attribute__((visibility("default"))) PGconn *
PQconnectdbParams(const char *const *keywords, const char *const *values, int expand)
{
    const void *caller = __builtin_return_address(0);
    PGconn *c = REAL(PQconnectdbParams)(keywords, values, expand);
    if (!fails(KIND_PQ, caller) && !fails(KIND_PQ_AFTER, caller))
        return c;
    PQfinish(c);
    return NULL;
}

#define ZMQ(type, name, failure, parameters, arguments)                                            \
    LEAD(KIND_ZMQ, type, name, (errno = ENOMEM, failure), parameters, arguments)

ZMQ(int, zmq_send, -1, (void *s, const void *p, size_t n, int flags), (s, p, n, flags))
ZMQ(int, zmq_recv, -1, (void *s, void *p, size_t n, int flags), (s, p, n, flags))
ZMQ(int, zmq_msg_send, -1, (zmq_msg_t * m, void *s, int flags), (m, s, flags))
ZMQ(int, zmq_msg_recv, -1, (zmq_msg_t * m, void *s, int flags), (m, s, flags))
ZMQ(int, zmq_poll, -1, (zmq_pollitem_t * items, int n, long ms), (items, n, ms))
ZMQ(int, zmq_getsockopt, -1, (void *s, int option, void *p, size_t *n), (s, option, p, n))

// glibc's own names: dlsym itself needs memory.
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
char *__strdup(const char *s);
char *__strndup(const char *s, size_t n);

#define MEMORY(type, name, real, parameters, arguments)                                            \
    __attribute__((visibility("default"))) type name parameters                                    \
    {                                                                                              \
        if (!fails(KIND_MEMORY, __builtin_return_address(0)))                                      \
            return real arguments;                                                                 \
        errno = ENOMEM;                                                                            \
        return NULL;                                                                               \
    }

MEMORY(void *, malloc, __libc_malloc, (size_t n), (n))
MEMORY(void *, calloc, __libc_calloc, (size_t n, size_t size), (n, size))
MEMORY(void *, realloc, __libc_realloc, (void *p, size_t n), (p, n))
MEMORY(char *, strdup, __strdup, (const char *s), (s))
MEMORY(char *, strndup, __strndup, (const char *s, size_t n), (s, n))
