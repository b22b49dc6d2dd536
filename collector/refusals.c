#include "collector/refusals.h"

#include <string.h>

#include "common/printable.h"

void refusals_count(struct refusals *r, const char *kind, size_t n)
{
    if (n == 0)
        return;
    r->n += n;
    for (size_t i = 0; i < REFUSAL_KINDS; i++) {
        if (!r->kinds[i].kind)
            r->kinds[i].kind = kind;
        if (strcmp(r->kinds[i].kind, kind) == 0) {
            r->kinds[i].n += n;
            return;
        }
    }
}

void refusals_add(struct refusals *r, size_t line, const char *kind, const struct errmsg *e)
{
    refusals_count(r, kind, 1);
    if (r->lines++ >= REFUSALS_SHOWN)
        return;
    struct errmsg shown = *e;
    printable(shown.text);
    fprintf(stderr, "hirundo-collector: %s, line %zu: %s\n", r->file, line, shown.text);
}

void refusals_end(const struct refusals *r)
{
    if (r->lines > REFUSALS_SHOWN)
        fprintf(stderr, "hirundo-collector: %s: and %zu more lines refused\n", r->file,
                r->lines - REFUSALS_SHOWN);
}

void refusals_summary(const struct refusals *r, const char *what, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%zu %s refused", r->n, what);
    for (size_t i = 0; i < REFUSAL_KINDS && r->kinds[i].kind && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu %s", i ? ", " : " (",
                                 r->kinds[i].n, r->kinds[i].kind);
    if (r->n > 0 && used < size)
        snprintf(text + used, size - used, ")");
}
