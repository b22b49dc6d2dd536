// Sends TCP SYNs from 3,000 sources out of an interface, as a scanner does: a raw packet socket,
// many frames a call. Says how many the kernel took.
//
//   hirundo-blast INTERFACE COUNT PER_SECOND     (0: as fast as it goes)
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>

#include "common/util.h"

#define SOURCES 3000u
#define BURST   64u
#define FRAME   60u

struct burst {
    uint8_t frames[BURST][FRAME];
    struct iovec parts[BURST];
    struct mmsghdr messages[BURST];
};

static int open_socket(const char *interface)
{
    const struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                        .sll_ifindex = (int)if_nametoindex(interface)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    perror(interface);
    return -1;
}

static void put_frame(uint8_t *frame, uint64_t i)
{
    static const uint8_t head[] = {2,  2, 2, 2, 2, 2,  2, 2, 2, 2,   2,  2, 8, 0,   0x45, 0, 0,
                                   46, 0, 0, 0, 0, 50, 6, 0, 0, 198, 18, 0, 0, 198, 19,   0, 1};
    uint16_t source = (uint16_t)(i % SOURCES), sport = (uint16_t)(1024 + i % 60000);
    memset(frame, 0, FRAME);
    memcpy(frame, head, sizeof head);
    frame[28] = (uint8_t)(source >> 8);
    frame[29] = (uint8_t)source;
    frame[34] = (uint8_t)(sport >> 8);
    frame[35] = (uint8_t)sport;
    frame[37] = (uint8_t)(22 + i % 3); // destination port
    frame[46] = 0x50;                  // TCP header of 20 bytes
    frame[47] = 2;                     // SYN
}

// All of the first n frames; a full queue is waited for.
static int send_burst(int fd, struct burst *b, unsigned n)
{
    for (unsigned sent = 0; sent < n;) {
        int r = sendmmsg(fd, b->messages + sent, n - sent, 0);
        if (r < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
            return -errno;
        sent += r > 0 ? (unsigned)r : 0;
    }
    return 0;
}

// Where the clock must be before frame i goes out.
static void wait_turn(const struct timespec *start, uint64_t i, uint64_t per_second)
{
    if (per_second == 0)
        return;
    struct timespec at = *start;
    at.tv_sec += (time_t)(i / per_second);
    at.tv_nsec += (long)(i % per_second * 1000000000u / per_second);
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static int blast(int fd, uint64_t count, uint64_t per_second)
{
    static struct burst b;
    struct timespec start;
    for (unsigned i = 0; i < BURST; i++) {
        b.parts[i] = (struct iovec){b.frames[i], FRAME};
        b.messages[i].msg_hdr = (struct msghdr){.msg_iov = &b.parts[i], .msg_iovlen = 1};
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t done = 0; done < count;) {
        unsigned n = (unsigned)MIN(count - done, (uint64_t)BURST);
        for (unsigned i = 0; i < n; i++)
            put_frame(b.frames[i], done + i);
        wait_turn(&start, done, per_second);
        int r = send_burst(fd, &b, n);
        if (r < 0)
            return r;
        done += n;
    }
    return 0;
}

int main(int argc, char *argv[])
{
    if (argc != 4) {
        fputs("usage: hirundo-blast INTERFACE COUNT PER_SECOND\n", stderr);
        return 2;
    }
    _cleanup_(closep) int fd = open_socket(argv[1]);
    if (fd < 0)
        return 1;
    uint64_t count = strtoull(argv[2], NULL, 10);
    int r = blast(fd, count, strtoull(argv[3], NULL, 10));
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
        return 1;
    }
    printf("%" PRIu64 "\n", count);
    return 0;
}
