// Logging to standard error, one line an event: "<level> text". Under systemd the level prefix <N>
// is understood by the journal; on a terminal it is a word. Thread safe: each line is one write(2).
#pragma once

#include <stdbool.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

// The one global of the logger; notice by default.
void log_set_level(enum log_level level);
// "error".."debug" -> 0 and *ret_level, else -EINVAL.
int log_level_parse(const char *word, enum log_level *ret_level);
bool log_enabled(enum log_level level);

__attribute__((format(printf, 2, 3))) void log_at(enum log_level level, const char *format, ...);

#define log_error(...)   log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_at(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
