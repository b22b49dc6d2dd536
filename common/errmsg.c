#include <stdarg.h>
#include <string.h>

#include "common/util.h"

int errmsg_set(struct errmsg *e, int r, const char *format, ...)
{
    if (!e)
        return r;
    va_list ap;
    va_start(ap, format);
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
    return r;
}

void errmsg_prefix(struct errmsg *e, const char *format, ...)
{
    if (!e)
        return;
    struct errmsg whole;
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(whole.text, sizeof whole.text, format, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t used = MIN((size_t)n, sizeof whole.text - 1);
    snprintf(whole.text + used, sizeof whole.text - used, ": %s", e->text);
    *e = whole;
}
