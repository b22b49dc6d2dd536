// Excluded networks: from configuration text to a match on packets and a pcap-filter(7) expression.
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <pcap/dlt.h>
#include <stdarg.h>
#include <string.h>

#include "sensor/capture.h"

static int parse_number(const char *text, long max, long *ret)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value > max)
        return -EINVAL;
    *ret = value;
    return 0;
}

static int parse_address(const char *text, struct ip_addr *ret)
{
    *ret = (struct ip_addr){0};
    if (inet_pton(AF_INET, text, ret->b) == 1)
        ret->version = 4;
    else if (inet_pton(AF_INET6, text, ret->b) == 1)
        ret->version = 6;
    return ret->version ? 0 : -EINVAL;
}

static void clear_host_bits(struct ip_addr *address, unsigned prefix_len)
{
    for (unsigned i = 0; i < sizeof address->b; i++) {
        unsigned kept = prefix_len > i * 8 ? MIN(prefix_len - i * 8, 8u) : 0;
        address->b[i] &= (uint8_t)(0xff00u >> kept);
    }
}

// "tcp/22"
static int parse_service(const char *text, struct capture_exclude *x)
{
    long port;
    if (strncmp(text, "tcp/", 4) == 0)
        x->proto = IPPROTO_TCP;
    else if (strncmp(text, "udp/", 4) == 0)
        x->proto = IPPROTO_UDP;
    else
        return -EINVAL;
    if (parse_number(text + 4, UINT16_MAX, &port) < 0)
        return -EINVAL;
    x->port = (uint16_t)port;
    x->has_port = true;
    return 0;
}

// Splits text in place into address, length and service, NULL where there is none. An
// IPv6 address has colons of its own, so a service needs a length before it there.
static void split(char *text, const char **ret_length, const char **ret_service)
{
    *ret_length = *ret_service = NULL;
    char *slash = strchr(text, '/');
    char *service = strchr(text, ':');
    bool ipv6 = service && strchr(service + 1, ':');
    if (ipv6)
        service = slash ? strchr(slash, ':') : NULL;
    if (slash && (!service || slash < service)) {
        *slash = '\0';
        *ret_length = slash + 1;
    }
    if (service) {
        *service = '\0';
        *ret_service = service + 1;
    }
}

int capture_exclude_parse(const char *text, struct capture_exclude *ret, struct errmsg *e)
{
    char copy[INET6_ADDRSTRLEN + sizeof "/128:tcp/65535"];
    const char *length, *service;
    struct capture_exclude x = {0};
    long prefix_len;

    size_t size = strlen(text) + 1;
    if (size > sizeof copy)
        goto bad;
    memcpy(copy, text, size);
    split(copy, &length, &service);
    if (parse_address(copy, &x.net) < 0)
        goto bad;
    long longest = x.net.version == 4 ? 32 : 128;
    if (!length)
        prefix_len = longest;
    else if (parse_number(length, longest, &prefix_len) < 0)
        goto bad;
    if (service && parse_service(service, &x) < 0)
        goto bad;
    x.prefix_len = (uint8_t)prefix_len;
    clear_host_bits(&x.net, x.prefix_len);
    *ret = x;
    return 0;
bad:
    return errmsg_set(e, -EINVAL,
                      "\"%s\" is not a network to exclude; write CIDR or CIDR:tcp/PORT, e.g. "
                      "192.0.2.0/24:tcp/22",
                      text);
}

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
