#include "sensor/coverage.h"

#include <string.h>

#include "common/util.h"

// Makes a span part of what is covered. Without room the earliest span is forgotten: time runs
// forward, it is the one least likely to come back.
static void cover(struct coverage *c, struct span s)
{
    uint32_t first = 0;
    while (first < c->n && c->covered[first].hi < s.lo)
        first++;
    uint32_t last = first; // touching or overlapping: [first, last)
    while (last < c->n && c->covered[last].lo <= s.hi) {
        s.lo = MIN(s.lo, c->covered[last].lo);
        s.hi = MAX(s.hi, c->covered[last].hi);
        last++;
    }
    if (first == last && c->n == COVERAGE_SPANS_MAX) {
        if (first == 0)
            return; // s itself is the earliest
        memmove(c->covered, c->covered + 1, (c->n - 1) * sizeof s);
        c->n--;
        first--;
        last--;
    }
    memmove(c->covered + first + 1, c->covered + last, (c->n - last) * sizeof s);
    c->n = c->n - (last - first) + 1;
    c->covered[first] = s;
}

// The parts of s that are not covered yet.
static uint32_t uncovered(const struct coverage *c, struct span s, struct span *ret)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n && s.lo < s.hi; i++) {
        struct span have = c->covered[i];
        if (have.hi <= s.lo || have.lo >= s.hi)
            continue;
        if (have.lo > s.lo)
            ret[n++] = (struct span){s.lo, have.lo};
        s.lo = have.hi;
    }
    if (s.lo < s.hi)
        ret[n++] = s;
    return n;
}

void coverage_begin(struct coverage *c)
{
    c->file = (struct span){0};
}

void coverage_add(struct coverage *c, struct span window, int64_t leap_ms,
                  struct coverage_added *ret)
{
    struct span gap = {0}, file = c->file;
    bool first = file.lo == file.hi;
    if (!first && window.lo >= file.hi)
        gap = (struct span){file.hi, window.lo};
    else if (!first && window.hi <= file.lo)
        gap = (struct span){window.hi, file.lo};
    ret->leap = gap.hi - gap.lo > leap_ms;
    if (first || ret->leap) {
        gap = (struct span){0};
        file = window;
    }
    c->file = (struct span){MIN(file.lo, window.lo), MAX(file.hi, window.hi)};

    ret->n_gaps = uncovered(c, gap, ret->gaps);
    if (ret->n_gaps)
        cover(c, gap);
    struct span part[COVERAGE_SPANS_MAX + 1];
    ret->window =
        uncovered(c, window, part) == 1 && part[0].hi - part[0].lo == window.hi - window.lo;
    cover(c, window);
}
