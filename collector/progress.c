#include "collector/progress.h"

#include <inttypes.h>

#include "common/clock.h"

#define EVERY_MS 200

void progress_begin(struct progress *p, bool quiet)
{
    *p = (struct progress){.on = !quiet && isatty(STDERR_FILENO)};
}

void progress_show(struct progress *p, const char *what, uint64_t done, uint64_t total)
{
    if (!p->on)
        return;
    int64_t now = mono_ms();
    if (what == p->what && now < p->next_ms)
        return;
    p->next_ms = now + EVERY_MS;
    p->what = what;
    p->shown = true;
    if (total)
        fprintf(stderr, "\r\033[K%s %" PRIu64 "%%", what, done * 100 / total);
    else
        fprintf(stderr, "\r\033[K%s %" PRIu64, what, done);
    fflush(stderr);
}

void progress_clear(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
