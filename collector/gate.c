#include "collector/gate.h"

#include <errno.h>
#include <string.h>

#include "collector/quiet.h"
#include "common/log.h"

#define SOCKETS_MAX 32
#define ORIGINS     512 // remembered; of more, the one that failed longest ago is forgotten

// What may come to nothing: so much at once, more with time. Shut when empty, open again at half.
struct purse {
    int64_t counted_ms; // 0: never
    int64_t thousandths;
    bool shut;
};

struct place {
    struct origin from;
    struct purse purse;
    int most;    // that the purse holds
    bool listed; // by the rules that are set
};

struct known {
    struct origin from;
    int64_t heard_ms;
};

struct gate {
    int sockets[SOCKETS_MAX];
    size_t n_sockets;
    struct place places[ORIGINS];
    struct purse all;
    struct known known[SYN_KNOWN_MAX];
    struct syn_rules rules; // as they are set
    struct quiet lines;
    bool refused; // the kernel took no filter: said once
};

int gate_new(struct gate **ret)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    *ret = g;
    return 0;
}

void gate_free(struct gate *g)
{
    free(g);
}

void gate_guard(struct gate *g, int fd)
{
    if (g->n_sockets < SOCKETS_MAX)
        g->sockets[g->n_sockets++] = fd;
}

const struct syn_rules *gate_rules(const struct gate *g)
{
    return &g->rules;
}

// ---- purses

static void fill(struct purse *p, int64_t most, int64_t per_s, int64_t now_ms)
{
    const int64_t full = most * 1000;
    if (p->counted_ms == 0)
        p->thousandths = full;
    else
        p->thousandths = MIN(full, p->thousandths + (now_ms - p->counted_ms) * per_s);
    p->counted_ms = MAX(now_ms, (int64_t)1);
}

// True: it is shut by this one.
static bool spend(struct purse *p, int64_t most, int64_t per_s, int64_t now_ms)
{
    fill(p, most, per_s, now_ms);
    p->thousandths = MAX(p->thousandths - 1000, (int64_t)0);
    if (p->shut || p->thousandths >= 1000)
        return false;
    p->shut = true;
    return true;
}

static void give_back(struct purse *p, int64_t most, int64_t n)
{
    if (p->counted_ms != 0)
        p->thousandths = MIN(most * 1000, p->thousandths + n * 1000);
}

// True: it is open again by now.
static bool reopen(struct purse *p, int64_t most, int64_t per_s, int64_t now_ms)
{
    if (!p->shut)
        return false;
    fill(p, most, per_s, now_ms);
    if (p->thousandths < most * 500)
        return false;
    p->shut = false;
    return true;
}

// ---- rules

static void set_rules(struct gate *g)
{
    struct syn_rules *r = &g->rules;
    *r = (struct syn_rules){.only_known = g->all.shut};
    for (size_t i = 0; i < ORIGINS; i++) {
        struct place *p = &g->places[i];
        p->listed = p->purse.shut && r->n_shut < SYN_SHUT_MAX;
        if (p->listed)
            r->shut[r->n_shut++] = p->from;
    }
    for (size_t i = 0; r->only_known && i < SYN_KNOWN_MAX; i++)
        if (g->known[i].from.size > 0)
            r->known[r->n_known++] = g->known[i].from;
    for (size_t i = 0; i < g->n_sockets; i++) {
        int e = syn_filter_set(g->sockets[i], r);
        if (e < 0 && !g->refused)
            log_warning("connections cannot be limited by address: %s; let a firewall do that",
                        strerror(-e));
        g->refused |= e < 0;
    }
}

// ---- what happens

static struct known *find_known(struct gate *g, const struct origin *from)
{
    for (size_t i = 0; i < SYN_KNOWN_MAX; i++)
        if (origin_equals(&g->known[i].from, from))
            return &g->known[i];
    return NULL;
}

static struct place *find_place(struct gate *g, const struct origin *from)
{
    for (size_t i = 0; i < ORIGINS; i++)
        if (origin_equals(&g->places[i].from, from))
            return &g->places[i];
    return NULL;
}

// The place of this one, made if there is none.
static struct place *place_of(struct gate *g, const struct origin *from)
{
    struct place *found = find_place(g, from), *oldest = &g->places[0];
    for (size_t i = 0; !found && i < ORIGINS; i++) {
        struct place *p = &g->places[i];
        if (p->purse.counted_ms < oldest->purse.counted_ms)
            oldest = p;
    }
    if (!found)
        *oldest =
            (struct place){.from = *from, .most = find_known(g, from) ? GATE_KNOWN : GATE_PURSE};
    return found ? found : oldest;
}

static void say_shut(struct gate *g, const char *text, int most, int64_t now_ms)
{
    char more[QUIET_MORE_MAX];
    if (quiet_allows(&g->lines, text, now_ms, more))
        log_warning("more than %d connections without a message from %s: until that ends one in %d "
                    "of its attempts is let through. If no sensor of yours is there, let a "
                    "firewall drop it; if one is, look into its log%s",
                    most, text, SYN_SHARE, more);
}

static void say_all_shut(struct gate *g, int64_t now_ms)
{
    char more[QUIET_MORE_MAX];
    if (quiet_allows(&g->lines, "everywhere", now_ms, more))
        log_warning("more than %d connections without a message from many addresses: until that "
                    "ends only where sensors came in before comes in as always, of others one "
                    "attempt in %d. Let a firewall drop who is no sensor of yours%s",
                    GATE_ALL_PURSE, SYN_SHARE, more);
}

void gate_came(struct gate *g, const struct origin *from, const char *text, int64_t now_ms)
{
    struct place *p = from->size > 0 ? place_of(g, from) : NULL;
    bool shut = p && spend(&p->purse, p->most, GATE_PER_S, now_ms);
    if (shut)
        say_shut(g, text, p->most, now_ms);
    // One that is kept out says nothing about the others.
    bool all_shut =
        !(p && (p->listed || shut)) && spend(&g->all, GATE_ALL_PURSE, GATE_ALL_PER_S, now_ms);
    if (all_shut)
        say_all_shut(g, now_ms);
    if (shut || all_shut)
        set_rules(g);
}

void gate_crowded(struct gate *g, unsigned connections, int64_t now_ms)
{
    char more[QUIET_MORE_MAX];
    bool was_shut = g->all.shut;
    g->all = (struct purse){.counted_ms = MAX(now_ms, (int64_t)1), .shut = true};
    if (was_shut)
        return;
    if (quiet_allows(&g->lines, "crowd", now_ms, more))
        log_warning("%u connections without a message are open, a quarter of what the limit on "
                    "file descriptors allows: until that ends only where sensors came in before "
                    "comes in as always, of others one attempt in %d. Let a firewall drop who is "
                    "no sensor of yours, or raise the limit (LimitNOFILE)%s",
                    connections, SYN_SHARE, more);
    set_rules(g);
}

void gate_heard(struct gate *g, const struct origin *from, int64_t now_ms)
{
    struct place *place = from->size > 0 ? find_place(g, from) : NULL;
    give_back(&g->all, GATE_ALL_PURSE, 1);
    if (place) {
        give_back(&place->purse, GATE_KNOWN, 1 + GATE_KNOWN - place->most);
        place->most = GATE_KNOWN;
    }
    if (from->size == 0)
        return;
    struct known *known = find_known(g, from), *oldest = &g->known[0];
    for (size_t i = 0; !known && i < SYN_KNOWN_MAX; i++)
        if (g->known[i].heard_ms < oldest->heard_ms)
            oldest = &g->known[i];
    *(known ? known : oldest) = (struct known){*from, MAX(now_ms, (int64_t)1)};
}

void gate_check(struct gate *g, int64_t now_ms)
{
    bool changed = reopen(&g->all, GATE_ALL_PURSE, GATE_ALL_PER_S, now_ms);
    for (size_t i = 0; i < ORIGINS; i++)
        changed |= reopen(&g->places[i].purse, g->places[i].most, GATE_PER_S, now_ms);
    if (changed)
        set_rules(g);
}
