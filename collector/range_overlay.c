#include <string.h>

#include "collector/prefixes.h"

// Both lists are walked from address to address where either changes. An address is compared as
// (version, 16 bytes): IPv4 lies before IPv6, in its first four bytes.

static int compare(const struct ip_addr *a, const struct ip_addr *b)
{
    if (a->version != b->version)
        return a->version < b->version ? -1 : 1;
    return memcmp(a->b, b->b, sizeof a->b);
}

// The next or the one before; false: there is none in this version.
static bool step(struct ip_addr *a, int by)
{
    for (int i = a->version == 4 ? 3 : 15; i >= 0; i--) {
        a->b[i] = (uint8_t)(a->b[i] + by);
        if (a->b[i] != (by > 0 ? 0 : 0xff))
            return true;
    }
    return false;
}

struct walk {
    const struct flattened *f;
    size_t i;
};

static const struct range *front(const struct walk *w)
{
    return w->i < w->f->n ? &w->f->ranges[w->i] : NULL;
}

static bool holds(const struct range *r, const struct ip_addr *at)
{
    return r && compare(&r->lo, at) <= 0;
}

// Where what `r` says changes after `at`, which it does not end before: the last address of the
// stretch, if that is nearer than *hi.
static void limit(const struct range *r, const struct ip_addr *at, struct ip_addr *hi)
{
    if (!r || r->lo.version != at->version)
        return;
    struct ip_addr end = r->hi;
    if (!holds(r, at)) {
        end = r->lo;
        step(&end, -1);
    }
    if (compare(&end, hi) < 0)
        *hi = end;
}

static struct range said(const struct range *over, const struct range *under)
{
    struct range r = {0};
    const struct range *asn = over && over->has_asn ? over : under;
    const struct range *country = over && over->country[0] ? over : under;
    if (asn) {
        r.has_asn = asn->has_asn;
        r.asn = asn->asn;
    }
    if (country)
        memcpy(r.country, country->country, sizeof r.country);
    return r;
}

static void add(struct flattened *out, const struct range *r)
{
    struct range *last = out->n ? &out->ranges[out->n - 1] : NULL;
    if (last && last->has_asn == r->has_asn && last->asn == r->asn &&
        memcmp(last->country, r->country, sizeof r->country) == 0) {
        struct ip_addr next = last->hi;
        if (step(&next, 1) && compare(&next, &r->lo) == 0) {
            last->hi = r->hi;
            return;
        }
    }
    out->ranges[out->n++] = *r;
}

// The lowest address at or after which either says something.
static bool start_of(const struct walk *a, const struct walk *b, struct ip_addr *ret)
{
    const struct range *x = front(a), *y = front(b);
    if (!x && !y)
        return false;
    *ret = !y || (x && compare(&x->lo, &y->lo) <= 0) ? x->lo : y->lo;
    return true;
}

static void pass(struct walk *w, const struct ip_addr *hi)
{
    const struct range *r = front(w);
    if (r && compare(&r->hi, hi) <= 0)
        w->i++;
}

int ranges_overlay(const struct flattened *over, const struct flattened *under,
                   struct flattened *ret)
{
    // each end of a range ends a stretch at most once, each beginning likewise
    struct flattened out = {.ranges = calloc(2 * (over->n + under->n) + 1, sizeof *out.ranges)};
    if (!out.ranges)
        return -ENOMEM;
    struct walk a = {.f = over}, b = {.f = under};
    struct ip_addr at, first;
    bool more = start_of(&a, &b, &at);
    while (more) {
        const struct range *x = front(&a), *y = front(&b);
        struct ip_addr hi = {.version = at.version};
        memset(hi.b, 0xff, at.version == 4 ? 4 : 16);
        limit(x, &at, &hi);
        limit(y, &at, &hi);
        struct range r = said(holds(x, &at) ? x : NULL, holds(y, &at) ? y : NULL);
        r.lo = at;
        r.hi = hi;
        add(&out, &r);
        pass(&a, &hi);
        pass(&b, &hi);
        more = start_of(&a, &b, &first);
        at = hi;
        if (more && (!step(&at, 1) || compare(&at, &first) < 0))
            at = first; // nobody says anything in between
    }
    *ret = out;
    return 0;
}

void flattened_release(struct flattened *f)
{
    free(f->ranges);
    *f = (struct flattened){0};
}
