// Writes the bench's traces: 5 million packets of what an Internet sensor sees, always the same.
//
// Standard output is the truth about it: one JSON object.
//
//   gen_trace KIND PACKETS FILE
//     sensor   background traffic to one address: scanners of Zipf-like activity, a day's worth
//     slash24  the same to 256 addresses
//     flood    a TCP SYN flood of unique sources on port 80 within one minute, with a slow scan of
//              23/TCP by 50 sources in it
//     flood2   the same on ports 80 and 443
//     floodany the same on all ports, drawn at random
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPLEN 128u
#define START   1675814400u // 2023-02-08T00:00:00Z
#define SOURCES 60000u

#define SLOW_SOURCES 50u

struct generator {
    uint64_t state;
    FILE *out;
    uint64_t bytes; // IP total lengths
};

struct spec {
    uint32_t src, dst;
    uint8_t proto, ttl;
    uint16_t sport, dport;
    uint32_t seq;
    uint16_t window, payload;
};

static uint64_t draw(struct generator *g)
{
    // splitmix64
    uint64_t z = g->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static void write_packet(struct generator *g, uint64_t us, const struct spec *s)
{
    static const uint8_t syn_options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
                                          0, 1, 0, 0,    0, 0, 1, 3,  3, 7};
    uint8_t frame[SNAPLEN] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
    uint8_t *ip = frame + 14, *l4 = ip + 20;
    uint32_t options = s->proto == 6 && s->window != 1024 ? (uint32_t)sizeof syn_options : 0;
    uint32_t header = s->proto == 6 ? 20 + options : 8;
    uint32_t total = 20 + header + s->payload;

    g->bytes += total;
    ip[0] = 0x45;
    put16(ip + 2, total);
    put16(ip + 4, (uint32_t)draw(g) & 0xffff);
    ip[8] = s->ttl;
    ip[9] = s->proto;
    put32(ip + 12, s->src);
    put32(ip + 16, s->dst);
    if (s->proto == 1) {
        l4[0] = 8;
    } else {
        put16(l4, s->sport);
        put16(l4 + 2, s->dport);
    }
    if (s->proto == 17)
        put16(l4 + 4, 8u + s->payload);
    if (s->proto == 6) {
        put32(l4 + 4, s->seq);
        l4[12] = (uint8_t)((header / 4) << 4);
        l4[13] = 2;
        put16(l4 + 14, s->window);
        memcpy(l4 + 20, syn_options, options);
    }
    uint32_t wire = 14 + total < 60 ? 60 : 14 + total;
    uint32_t cap = wire < SNAPLEN ? wire : SNAPLEN;
    uint32_t record[4] = {(uint32_t)(START + us / 1000000), (uint32_t)(us % 1000000), cap, wire};
    fwrite(record, sizeof record, 1, g->out);
    fwrite(frame, cap, 1, g->out);
}

// A source's own habits follow from its number, so that it comes back with the same TTL and port.
static void background(struct generator *g, struct spec *s, uint32_t destinations)
{
    static const uint16_t ports[] = {23,   22,   80,   443,  445,   8080, 3389,  5555,
                                     6379, 2323, 1433, 5060, 37215, 123,  52869, 8443};
    uint64_t r = draw(g);
    // the square of a uniform draw: a tenth of the sources send a third of the packets
    uint64_t u = (r & 0xffff) * (r >> 16 & 0xffff);
    uint32_t source = (uint32_t)(u * SOURCES >> 32);
    struct generator own = {.state = source};
    uint64_t habit = draw(&own);
    s->src = 0xc6120000u + (source * 2u);
    s->dst = 0x64400000u + (uint32_t)(r >> 32) % destinations;
    s->ttl = (uint8_t)(((habit & 1) ? 64 : 255) - (habit >> 8) % 25);
    uint32_t kind = habit >> 16 & 15;
    s->proto = kind < 12 ? 6 : kind < 15 ? 17 : 1;
    s->window = habit >> 20 & 1 ? 1024 : 64240;
    s->sport = (uint16_t)(1024 + (draw(g) & 0x7fff));
    s->seq = (uint32_t)draw(g);
    s->dport = habit >> 24 & 3 ? ports[habit >> 32 & 15] : (uint16_t)draw(g);
    s->payload = s->proto == 17 ? (uint16_t)(habit >> 40 & 0x1ff) : 0;
}

static void flood(struct generator *g, struct spec *s, uint64_t i, unsigned ports)
{
    // an odd multiplier makes every packet's source another one
    s->src = (uint32_t)i * 2654435761u;
    s->dst = 0x64400001u;
    s->ttl = (uint8_t)(40 + draw(g) % 200);
    s->proto = 6;
    s->window = 1024;
    s->sport = (uint16_t)draw(g);
    s->seq = (uint32_t)draw(g);
    s->dport = ports == 2 && (draw(g) & 1) ? 443 : 80;
    if (ports > 2)
        s->dport = (uint16_t)draw(g);
    s->payload = 0;
}

static void slow_scan(struct spec *s, uint64_t n)
{
    s->src = 0xc0000200u + (uint32_t)(n % SLOW_SOURCES);
    s->ttl = 50;
    s->dport = 23;
}

int main(int argc, char *argv[])
{
    if (argc != 4) {
        fputs("usage: gen_trace sensor|slash24|flood|flood2|floodany PACKETS FILE\n", stderr);
        return 2;
    }
    uint64_t n = strtoull(argv[2], NULL, 10);
    unsigned flooded = strcmp(argv[1], "flood") == 0      ? 1
                       : strcmp(argv[1], "flood2") == 0   ? 2
                       : strcmp(argv[1], "floodany") == 0 ? 65536
                                                          : 0;
    uint32_t destinations = strcmp(argv[1], "slash24") == 0 ? 256 : 1;
    struct generator g = {.state = 20230208, .out = fopen(argv[3], "wb")};
    if (!g.out || n == 0) {
        perror(argv[3]);
        return 1;
    }
    const uint32_t head[6] = {0xa1b2c3d4, 4u << 16 | 2, 0, 0, SNAPLEN, 1};
    fwrite(head, sizeof head, 1, g.out);
    uint64_t span_us = flooded ? 59000000 : 86400000000;
    uint64_t slow = 0, every = n / (2 * SLOW_SOURCES);
    for (uint64_t i = 0; i < n; i++) {
        struct spec s;
        if (flooded)
            flood(&g, &s, i, flooded);
        else
            background(&g, &s, destinations);
        if (flooded && every && i % every == every - 1)
            slow_scan(&s, slow++);
        write_packet(&g, (uint64_t)((double)i / (double)n * (double)span_us), &s);
    }
    if (fclose(g.out) != 0) {
        perror(argv[3]);
        return 1;
    }
    printf("{\"packets\": %llu, \"bytes\": %llu, \"slow_packets\": %llu}\n", (unsigned long long)n,
           (unsigned long long)g.bytes, (unsigned long long)slow);
    return 0;
}
