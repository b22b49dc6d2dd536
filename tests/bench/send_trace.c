// Sends the frames of a capture file on an interface, at a rate of their own.
//
//   send_trace INTERFACE FILE FRAMES_PER_SECOND [FRAMES]
//
// Standard output: how many were sent. What the interface does not take at once is sent again.
#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <pcap/pcap.h>

#define BATCH 64u
#define FRAME 2048u

struct sender {
    int fd;
    double rate;
    unsigned long sent;
    struct timespec start;
    unsigned n;
    unsigned char frames[BATCH][FRAME];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
};

static int open_interface(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_ifindex = (int)if_nametoindex(name)};
    if (fd >= 0 && (address.sll_ifindex == 0 ||
                    bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void wait_for_turn(const struct sender *s)
{
    double at = (double)s->start.tv_nsec / 1e9 + (double)s->sent / s->rate;
    struct timespec until = {.tv_sec = s->start.tv_sec + (time_t)at};
    until.tv_nsec = (long)((at - (double)(time_t)at) * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static int flush(struct sender *s)
{
    for (unsigned done = 0; done < s->n;) {
        wait_for_turn(s);
        int n = sendmmsg(s->fd, s->messages + done, s->n - done, 0);
        if (n < 0 && errno != ENOBUFS && errno != EAGAIN)
            return -1;
        done += n > 0 ? (unsigned)n : 0;
        s->sent += n > 0 ? (unsigned)n : 0;
    }
    s->n = 0;
    return 0;
}

static int send_all(struct sender *s, pcap_t *pcap, unsigned long frames)
{
    const unsigned batch = s->rate < 1000 ? 1 : BATCH;
    struct pcap_pkthdr *header;
    const unsigned char *data;
    clock_gettime(CLOCK_MONOTONIC, &s->start);
    for (unsigned long i = 0; i < frames && pcap_next_ex(pcap, &header, &data) == 1; i++) {
        size_t length = header->caplen < FRAME ? header->caplen : FRAME;
        memcpy(s->frames[s->n], data, length);
        s->parts[s->n] = (struct iovec){s->frames[s->n], length};
        s->messages[s->n].msg_hdr = (struct msghdr){.msg_iov = &s->parts[s->n], .msg_iovlen = 1};
        if (++s->n == batch && flush(s) != 0)
            return -1;
    }
    return flush(s);
}

int main(int argc, char *argv[])
{
    char text[PCAP_ERRBUF_SIZE];
    if (argc < 4) {
        fputs("usage: send_trace INTERFACE FILE FRAMES_PER_SECOND [FRAMES]\n", stderr);
        return 2;
    }
    struct sender *s = calloc(1, sizeof *s);
    pcap_t *pcap = pcap_open_offline(argv[2], text);
    if (!s || !pcap) {
        fprintf(stderr, "%s: %s\n", argv[2], text);
        return 1;
    }
    s->fd = open_interface(argv[1]);
    s->rate = strtod(argv[3], NULL);
    int r = s->fd < 0 || s->rate <= 0
                ? -1
                : send_all(s, pcap, argc > 4 ? strtoul(argv[4], NULL, 10) : ~0ul);
    if (r != 0)
        perror(argv[1]);
    printf("%lu\n", s->sent);
    pcap_close(pcap);
    free(s);
    return r == 0 ? 0 : 1;
}
