#include "collector/prefixes.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

__extension__ typedef unsigned __int128 address_number;

// ---- text

static bool host_bits_set(const struct prefix *p)
{
    unsigned bits = p->address.version == 4 ? 32 : 128;
    for (unsigned i = p->length; i < bits; i++)
        if (p->address.b[i / 8] & (0x80u >> (i % 8)))
            return true;
    return false;
}

// 0 to 999; 999 where it is no number.
static unsigned parse_length(const char *text)
{
    unsigned length = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 3 || text[n])
        return 999;
    for (size_t i = 0; i < n; i++)
        length = length * 10 + (unsigned)(text[i] - '0');
    return length;
}

int prefix_parse(const char *text, struct prefix *ret, struct errmsg *e)
{
    char address[INET6_ADDRSTRLEN + 1];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : 0;
    if (n == 0 || n >= sizeof address)
        return errmsg_set(e, -EINVAL, "\"%.60s\" is not a prefix such as 192.0.2.0/24", text);
    memcpy(address, text, n);
    address[n] = '\0';
    struct prefix p = {.address.version = strchr(address, ':') ? 6 : 4};
    unsigned most = p.address.version == 6 ? 128 : 32;
    unsigned length = parse_length(slash + 1);
    if (inet_pton(p.address.version == 6 ? AF_INET6 : AF_INET, address, p.address.b) != 1 ||
        length > most)
        return errmsg_set(e, -EINVAL, "\"%.60s\" is not a prefix such as 192.0.2.0/24", text);
    p.length = (uint8_t)length;
    if (host_bits_set(&p))
        return errmsg_set(e, -EINVAL, "%.60s has bits set behind its length", text);
    *ret = p;
    return 0;
}

int prefix_parse_asn(const char *text, struct prefix *p, struct errmsg *e)
{
    if (!*text)
        return 0;
    const char *digits = strncasecmp(text, "AS", 2) == 0 ? text + 2 : text;
    size_t n = strspn(digits, "0123456789");
    unsigned long long asn = strtoull(digits, NULL, 10);
    if (n == 0 || n > 10 || digits[n] || asn > UINT32_MAX)
        return errmsg_set(e, -EINVAL, "\"%.40s\" is not an AS number", text);
    p->has_asn = true;
    p->asn = (uint32_t)asn;
    return 0;
}

int prefix_parse_country(const char *text, struct prefix *p, struct errmsg *e)
{
    if (!*text)
        return 0;
    if (strlen(text) != 2 || !isalpha((unsigned char)text[0]) || !isalpha((unsigned char)text[1]))
        return errmsg_set(e, -EINVAL, "\"%.40s\" is not a country code such as JP", text);
    p->country[0] = (char)toupper((unsigned char)text[0]);
    p->country[1] = (char)toupper((unsigned char)text[1]);
    return 0;
}

int prefix_parse_address(const char *text, struct prefix *ret, struct errmsg *e)
{
    char prefix[64];
    if (strchr(text, '/') || strlen(text) + sizeof "/128" > sizeof prefix)
        return prefix_parse(text, ret, e);
    snprintf(prefix, sizeof prefix, "%s/%d", text, strchr(text, ':') ? 128 : 32);
    return prefix_parse(prefix, ret, e);
}

int prefix_parse_line(char *line, struct prefix *ret, const char **ret_kind, struct errmsg *e)
{
    line[strcspn(line, "\r")] = '\0';
    if (!*line || *line == '#')
        return PREFIX_SKIP;
    char *fields[3] = {line, "", ""};
    size_t n = 1;
    for (char *tab = line; (tab = strchr(tab, '\t')); n++) {
        *tab++ = '\0';
        if (n < ARRAY_SIZE(fields))
            fields[n] = tab;
    }
    *ret_kind = "columns";
    if (n > ARRAY_SIZE(fields))
        return errmsg_set(e, -EINVAL, "%zu columns; there are three: prefix, AS, country", n);
    if (strcasecmp(fields[0], "prefix") == 0)
        return PREFIX_SKIP;
    struct prefix p;
    *ret_kind = "prefix";
    int r = prefix_parse(fields[0], &p, e);
    if (r == 0) {
        *ret_kind = "AS number";
        r = prefix_parse_asn(fields[1], &p, e);
    }
    if (r == 0) {
        *ret_kind = "country";
        r = prefix_parse_country(fields[2], &p, e);
    }
    if (r == 0)
        *ret = p;
    return r;
}

int prefix_list_add(struct prefix_list *list, const struct prefix *p, struct errmsg *e)
{
    if (list->n == PREFIXES_MAX)
        return errmsg_set(e, -E2BIG, "more than %d prefixes", PREFIXES_MAX);
    if (list->n == list->size) {
        size_t size = list->size ? list->size * 2 : 1024;
        struct prefix *grown = realloc(list->p, size * sizeof *grown);
        if (!grown)
            return errmsg_set(e, -ENOMEM, "out of memory");
        list->p = grown;
        list->size = size;
    }
    list->p[list->n++] = *p;
    return 0;
}

void prefix_list_release(struct prefix_list *list)
{
    free(list->p);
    *list = (struct prefix_list){0};
}

// ---- ranges

static address_number number_of(const struct ip_addr *a)
{
    address_number v = 0;
    for (int i = 0; i < (a->version == 4 ? 4 : 16); i++)
        v = v << 8 | a->b[i];
    return v;
}

static struct ip_addr address_of(address_number v, uint8_t version)
{
    struct ip_addr a = {.version = version};
    for (int i = version == 4 ? 3 : 15; i >= 0; i--) {
        a.b[i] = (uint8_t)v;
        v >>= 8;
    }
    return a;
}

static address_number last_of(const struct prefix *p)
{
    unsigned bits = (p->address.version == 4 ? 32u : 128u) - p->length;
    address_number host = bits == 128 ? ~(address_number)0 : ((address_number)1 << bits) - 1;
    return number_of(&p->address) | host;
}

static int by_place(const void *a, const void *b)
{
    const struct prefix *x = a, *y = b;
    if (x->address.version != y->address.version)
        return x->address.version < y->address.version ? -1 : 1;
    int r = memcmp(x->address.b, y->address.b, sizeof x->address.b);
    if (r != 0)
        return r;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static bool same_network(const struct prefix *a, const struct prefix *b)
{
    return a->length == b->length && memcmp(&a->address, &b->address, sizeof a->address) == 0;
}

// Of equal prefixes the last line stays. Returns how many are left.
static size_t drop_duplicates(struct prefix *p, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && same_network(&p[kept - 1], &p[i]))
            p[kept - 1] = p[i];
        else
            p[kept++] = p[i];
    }
    return kept;
}

struct sweep {
    struct range *out;
    size_t n;
    const struct prefix *open[129 + 1]; // nested prefixes, the most specific last
    size_t depth;
    address_number next; // first address not written yet, of the innermost open prefix
    bool past_end;       // beyond the last address there is
};

static bool says_same(const struct range *r, const struct prefix *p)
{
    return r->has_asn == p->has_asn && r->asn == p->asn && r->label == p->label &&
           memcmp(r->country, p->country, sizeof r->country) == 0;
}

// Writes [next, hi] with what p says.
static void write_range(struct sweep *s, const struct prefix *p, address_number hi)
{
    uint8_t version = p->address.version;
    struct range *last = s->n ? &s->out[s->n - 1] : NULL;
    if (last && last->hi.version == version && says_same(last, p) &&
        number_of(&last->hi) + 1 == s->next) {
        last->hi = address_of(hi, version);
        return;
    }
    struct range *r = &s->out[s->n++];
    *r = (struct range){.lo = address_of(s->next, version),
                        .hi = address_of(hi, version),
                        .has_asn = p->has_asn,
                        .asn = p->asn,
                        .label = p->label};
    memcpy(r->country, p->country, sizeof r->country);
}

// Ends the innermost open prefix.
static void close_prefix(struct sweep *s)
{
    const struct prefix *p = s->open[--s->depth];
    address_number hi = last_of(p);
    if (!s->past_end && s->next <= hi) {
        write_range(s, p, hi);
        s->next = hi + 1;
        s->past_end = s->next == 0;
    }
}

static void open_prefix(struct sweep *s, const struct prefix *p)
{
    address_number lo = number_of(&p->address);
    while (s->depth > 0 && (s->open[s->depth - 1]->address.version != p->address.version ||
                            last_of(s->open[s->depth - 1]) < lo))
        close_prefix(s);
    if (s->depth > 0 && s->next < lo)
        write_range(s, s->open[s->depth - 1], lo - 1);
    s->next = lo;
    s->past_end = false;
    s->open[s->depth++] = p;
}

int prefixes_flatten(struct prefix *prefixes, size_t n, struct flattened *ret)
{
    if (n > 0)
        qsort(prefixes, n, sizeof *prefixes, by_place);
    size_t kept = drop_duplicates(prefixes, n);
    // A prefix begins one range and, ending, lets one go on.
    struct sweep s = {.out = calloc(2 * kept + 1, sizeof *s.out)};
    if (!s.out)
        return -ENOMEM;
    for (size_t i = 0; i < kept; i++)
        open_prefix(&s, &prefixes[i]);
    while (s.depth > 0)
        close_prefix(&s);
    *ret = (struct flattened){.ranges = s.out, .n = s.n, .duplicates = n - kept};
    return 0;
}
