#include "collector/refusals.h"

#include <ctype.h>

void refusals_add(struct refusals *r, size_t line, const struct errmsg *e)
{
    if (r->n++ >= REFUSALS_SHOWN)
        return;
    char text[sizeof e->text]; // what stands in a foreign file does not reach a terminal as it is
    size_t i = 0;
    for (; e->text[i]; i++)
        text[i] = isascii((unsigned char)e->text[i]) && isprint((unsigned char)e->text[i])
                      ? e->text[i]
                      : '?';
    text[i] = '\0';
    fprintf(stderr, "hirundo-collector: %s, line %zu: %s\n", r->file, line, text);
}

void refusals_end(const struct refusals *r)
{
    if (r->n > REFUSALS_SHOWN)
        fprintf(stderr, "hirundo-collector: %s: and %zu more lines refused\n", r->file,
                r->n - REFUSALS_SHOWN);
}
