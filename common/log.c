#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

static atomic_int current_level = LOG_LEVEL_NOTICE;

static const struct {
    const char *word;
    int syslog;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},   [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_NOTICE] = {"notice", 5}, [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

void log_set_level(enum log_level level)
{
    atomic_store(&current_level, (int)level);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load(&current_level);
}

int log_level_parse(const char *word, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (strcmp(word, levels[i].word) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_at(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char line[1024];
    int n = getenv("JOURNAL_STREAM") ? snprintf(line, sizeof line, "<%d>", levels[level].syslog)
                                     : snprintf(line, sizeof line, "%s: ", levels[level].word);
    va_list ap;
    va_start(ap, format);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, ap);
    va_end(ap);
    if (m < 0)
        return;
    size_t used = MIN((size_t)n + (size_t)m, sizeof line - 2);
    for (size_t i = (size_t)n; i < used;
         i++) { // a log line is one line, whatever a peer put into a name
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7f)
            line[i] = '?';
    }
    line[used] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used + 1);
    (void)written;
}
