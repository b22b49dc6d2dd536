// Excluded networks, from text.
#include "common/exclude.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

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
