#include "sensor/peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TCP_ESTABLISHED 1

// proc(5): each 32-bit word of the address is printed as the host reads it, the port as a number.
static bool parse_address(const char *text, struct ip_addr *ret, uint16_t *ret_port)
{
    size_t digits = strcspn(text, ":");
    if ((digits != 8 && digits != 32) || text[digits] != ':')
        return false;
    *ret = (struct ip_addr){.version = digits == 8 ? 4 : 6};
    for (size_t i = 0; i < digits / 8; i++) {
        char word[9];
        snprintf(word, sizeof word, "%.8s", text + 8 * i);
        uint32_t value = (uint32_t)strtoul(word, NULL, 16);
        memcpy(ret->b + 4 * i, &value, 4);
    }
    *ret_port = (uint16_t)strtoul(text + digits + 1, NULL, 16);
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (ret->version == 6 && memcmp(ret->b, mapped, sizeof mapped) == 0) {
        struct ip_addr v4 = {.version = 4};
        memcpy(v4.b, ret->b + 12, 4);
        *ret = v4;
    }
    return true;
}

static bool is_loopback(const struct ip_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->version == 4 ? a->b[0] == 127 : memcmp(a->b, one, sizeof one) == 0;
}

int peers_read(const char *path, struct peer *ret, size_t max)
{
    _cleanup_(fclosep) FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    char line[512];
    int n = 0;
    while (fgets(line, sizeof line, f)) {
        char local[64];
        char remote[64];
        unsigned state;
        struct peer p;
        struct ip_addr here;
        // NOLINTNEXTLINE(cert-err34-c): the kernel's own figures
        if (sscanf(line, " %*[0-9]: %63s %63s %x", local, remote, &state) != 3 ||
            state != TCP_ESTABLISHED || !parse_address(local, &here, &p.local_port) ||
            !parse_address(remote, &p.remote, &p.remote_port) || is_loopback(&p.remote))
            continue;
        if ((size_t)n < max)
            ret[n] = p;
        n++;
    }
    return n;
}

static bool in_net(const struct ip_addr *a, const struct ip_addr *net, uint8_t prefix_len)
{
    if (a->version != net->version)
        return false;
    uint8_t whole = prefix_len / 8;
    uint8_t rest = prefix_len % 8;
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return memcmp(a->b, net->b, whole) == 0 &&
           (rest == 0 || ((a->b[whole] ^ net->b[whole]) & mask) == 0);
}

bool peer_is_excluded(const struct peer *p, const struct capture_exclude *excludes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct capture_exclude *x = &excludes[i];
        if (!in_net(&p->remote, &x->net, x->prefix_len) || (x->proto != 0 && x->proto != 6))
            continue;
        if (!x->has_port || x->port == p->remote_port || x->port == p->local_port)
            return true;
    }
    return false;
}
