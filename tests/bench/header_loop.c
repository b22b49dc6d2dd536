// The yardstick: a libpcap loop that reads a capture file and parses the headers of each frame,
// nothing else.
#include <stdio.h>

#include <pcap/pcap.h>

struct totals {
    unsigned long frames, ip, tcp, udp, bytes, ports;
};

static void on_frame(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    struct totals *t = (void *)user;
    t->frames++;
    if (header->caplen < 34 || data[12] != 8 || data[13] != 0)
        return;
    const u_char *ip = data + 14;
    unsigned size = (ip[0] & 15u) * 4;
    if (ip[0] >> 4 != 4 || size < 20 || header->caplen < 14 + size + 4)
        return;
    const u_char *l4 = ip + size;
    t->ip++;
    t->bytes += (unsigned)(ip[2] << 8 | ip[3]);
    t->tcp += ip[9] == 6;
    t->udp += ip[9] == 17;
    t->ports += (unsigned)(l4[2] << 8 | l4[3]);
}

int main(int argc, char *argv[])
{
    char text[PCAP_ERRBUF_SIZE];
    struct totals t = {0};
    if (argc != 2)
        return 2;
    pcap_t *pcap = pcap_open_offline(argv[1], text);
    if (!pcap) {
        fprintf(stderr, "%s: %s\n", argv[1], text);
        return 1;
    }
    int r = pcap_loop(pcap, -1, on_frame, (void *)&t);
    pcap_close(pcap);
    printf("%lu %lu %lu %lu %lu %lu\n", t.frames, t.ip, t.tcp, t.udp, t.bytes, t.ports);
    return r == 0 ? 0 : 1;
}
