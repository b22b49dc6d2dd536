// Excluded networks: from configuration text to a match on packets and a pcap-filter(7) expression.
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <pcap/dlt.h>
#include <stdarg.h>
#include <string.h>

#include "sensor/capture.h"

static bool net_has(const struct ip_addr *net, unsigned prefix_len, const uint8_t *address)
{
    unsigned whole = prefix_len / 8, rest = prefix_len % 8;
    if (memcmp(net->b, address, whole) != 0)
        return false;
    return rest == 0 || (uint8_t)((net->b[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

static bool is_excluded(const struct capture_exclude *x, const struct packet *packet)
{
    const struct flow_key *key = &packet->key;
    if (x->net.version != key->version || !net_has(&x->net, x->prefix_len, key->src))
        return false;
    if (!x->has_port)
        return true;
    return key->proto == x->proto && key->has_port &&
           (packet->src_port == x->port || key->port == x->port);
}

bool capture_excludes(const struct capture_exclude *excludes, size_t n, const struct packet *packet)
{
    for (size_t i = 0; i < n; i++) {
        if (is_excluded(&excludes[i], packet))
            return true;
    }
    return false;
}

struct text {
    char *at;
    size_t left;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void append(struct text *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(t->at, t->left, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= t->left) {
        t->full = true;
        return;
    }
    t->at += n;
    t->left -= (size_t)n;
}

static void append_exclude(struct text *t, const struct capture_exclude *x)
{
    char address[INET6_ADDRSTRLEN];
    inet_ntop(x->net.version == 4 ? AF_INET : AF_INET6, x->net.b, address, sizeof address);
    append(t, "(src net %s/%u", address, x->prefix_len);
    if (x->has_port)
        append(t, " and %s port %u", x->proto == IPPROTO_TCP ? "tcp" : "udp", x->port);
    append(t, ")");
}

static void append_all(struct text *t, const struct capture_exclude *excludes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        append(t, i ? " or " : "");
        append_exclude(t, &excludes[i]);
    }
}

// The word vlan shifts every offset after it, so the tagged forms come last, one inside the other:
// not (E or (vlan and (E or (vlan and (E))))). Where the kernel has taken the tag off, libpcap
// makes vlan look at the tag beside the packet. What the filter lets through capture_excludes sees
// again.
int capture_filter_text(const struct capture_exclude *excludes, size_t n, int link_type, char *ret,
                        size_t size)
{
    struct text t = {.at = ret, .left = size};
    if (size == 0)
        return -ENOSPC;
    *ret = '\0';
    if (n == 0)
        return 0;
    bool tags = link_type == DLT_EN10MB;
    append(&t, "not (");
    append_all(&t, excludes, n);
    if (tags) {
        append(&t, " or (vlan and (");
        append_all(&t, excludes, n);
        append(&t, " or (vlan and (");
        append_all(&t, excludes, n);
        append(&t, "))))");
    }
    append(&t, ")");
    return t.full ? -ENOSPC : 0;
}
