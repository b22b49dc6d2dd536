#include "collector/syn_filter.h"

#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <string.h>

enum {
    FLAGS = 13, // of the TCP header, where the data begins
    SYN = 0x02,
    SYN_OR_ACK = 0x12,
    V4_SOURCE = 12,
    V6_SOURCE = 8,
    PASS = INT32_MAX,
    DROP = 0,
};

// An entry takes five instructions at most, what is around them less than 32.
#define PROGRAM_MAX (32 + 5 * (SYN_SHUT_MAX + SYN_KNOWN_MAX))

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short n;
};

struct origin origin_of(const struct sockaddr_storage *a)
{
    struct origin o = {0};
    if (a->ss_family == AF_INET) {
        o.size = 4;
        memcpy(o.bytes, &((const struct sockaddr_in *)a)->sin_addr, o.size);
    } else if (a->ss_family == AF_INET6) {
        const struct in6_addr *address = &((const struct sockaddr_in6 *)a)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(address);
        o.size = mapped ? 4 : 8;
        memcpy(o.bytes, address->s6_addr + (mapped ? 12 : 0), o.size);
    }
    return o;
}

bool origin_equals(const struct origin *a, const struct origin *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
    if (p->n < PROGRAM_MAX)
        p->code[p->n++] = (struct sock_filter){code, if_true, if_false, k};
}

static void load(struct program *p, uint16_t size, uint32_t at)
{
    add(p, (uint16_t)(BPF_LD | size | BPF_ABS), at, 0, 0);
}

static void load_network(struct program *p, uint16_t size, uint32_t at)
{
    load(p, size, (uint32_t)SKF_NET_OFF + at);
}

static void give(struct program *p, uint32_t verdict)
{
    add(p, BPF_RET | BPF_K, verdict, 0, 0);
}

// Goes on with the next instruction if the value is this one, else behind `skip` more.
static void unless_equal(struct program *p, uint32_t value, uint8_t skip)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip);
}

static uint32_t word_of(const struct origin *o, size_t i)
{
    uint32_t word;
    memcpy(&word, o->bytes + 4 * i, sizeof word);
    return be32toh(word);
}

static void add_origins(struct program *p, uint8_t size, const struct origin *list, size_t n,
                        uint32_t verdict)
{
    if (size == 4 && n > 0)
        load_network(p, BPF_W, V4_SOURCE);
    for (size_t i = 0; i < n; i++) {
        if (list[i].size != size)
            continue;
        if (size == 4) {
            unless_equal(p, word_of(&list[i], 0), 1);
        } else {
            load_network(p, BPF_W, V6_SOURCE);
            unless_equal(p, word_of(&list[i], 0), 3);
            load_network(p, BPF_W, V6_SOURCE + 4);
            unless_equal(p, word_of(&list[i], 1), 1);
        }
        give(p, verdict);
    }
}

// What holds for packets of one version of IP: the value that is loaded, if it is that version.
static void add_version(struct program *p, uint8_t version, const struct syn_rules *r)
{
    uint8_t size = version == 4 ? 4 : 8;
    add(p, BPF_JMP | BPF_JEQ | BPF_K, version << 4, 1, 0);
    unsigned short jump = p->n;
    add(p, BPF_JMP | BPF_JA, 0, 0, 0); // the whole part may be longer than a branch reaches
    add_origins(p, size, r->shut, r->n_shut, DROP);
    if (r->only_known)
        add_origins(p, size, r->known, r->n_known, PASS);
    give(p, r->only_known ? DROP : PASS);
    p->code[jump].k = p->n - jump - 1U;
}

static void build(const struct syn_rules *r, struct program *p)
{
    p->n = 0;
    load(p, BPF_B, FLAGS);
    add(p, BPF_ALU | BPF_AND | BPF_K, SYN_OR_ACK, 0, 0);
    add(p, BPF_JMP | BPF_JEQ | BPF_K, SYN, 1, 0);
    give(p, PASS); // of a connection that is there
    load(p, BPF_W, (uint32_t)SKF_AD_OFF + SKF_AD_RANDOM);
    add(p, BPF_ALU | BPF_AND | BPF_K, SYN_SHARE - 1, 0, 0);
    unless_equal(p, 0, 1);
    give(p, PASS);
    load_network(p, BPF_B, 0);
    add(p, BPF_ALU | BPF_AND | BPF_K, 0xf0, 0, 0);
    add_version(p, 4, r);
    add_version(p, 6, r);
    give(p, PASS);
}

int syn_filter_set(int fd, const struct syn_rules *rules)
{
    const int none = 0; // the kernel wants to be given something
    if (rules->n_shut == 0 && !rules->only_known)
        return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none) < 0 &&
                       errno != ENOENT
                   ? -errno
                   : 0;
    struct program program;
    build(rules, &program);
    const struct sock_fprog all = {program.n, program.code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof all) < 0 ? -errno : 0;
}
