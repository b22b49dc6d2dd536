// Preloaded beside libfaketime: moves the kernel's packet times by as much as the wall clock is
// moved, as on a host whose clock is wrong.
#include <dlfcn.h>
#include <pcap/pcap.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct shifted {
    pcap_handler handler;
    u_char *user;
    int64_t offset_us;
};

static int64_t us(const struct timespec *t)
{
    return t->tv_sec * INT64_C(1000000) + t->tv_nsec / 1000;
}

static int64_t clock_offset_us(void)
{
    struct timespec told;
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &told);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
    return us(&told) - us(&real);
}

static void on_frame(u_char *user, const struct pcap_pkthdr *header, const u_char *bytes)
{
    const struct shifted *s = (const struct shifted *)user;
    struct pcap_pkthdr moved = *header;
    int64_t at = header->ts.tv_sec * INT64_C(1000000) + header->ts.tv_usec + s->offset_us;
    moved.ts.tv_sec = at / 1000000;
    moved.ts.tv_usec = at % 1000000;
    s->handler(s->user, &moved, bytes);
}

__attribute__((visibility("default"))) int pcap_dispatch(pcap_t *p, int count, pcap_handler handler,
                                                         u_char *user)
{
    int (*next)(pcap_t *, int, pcap_handler, u_char *);
    *(void **)&next = dlsym(RTLD_NEXT, "pcap_dispatch");
    struct shifted s = {handler, user, clock_offset_us()};
    return next(p, count, on_frame, (u_char *)&s);
}
