// A growing text, for array parameters of SQL. The first failed allocation sets `bad`; later calls
// are harmless and the caller looks once at the end.
#pragma once

#include "common/util.h"

struct text {
    char *p; // NUL-terminated once something was added
    size_t used, size;
    bool bad;
};

__attribute__((format(printf, 2, 3))) void text_add(struct text *t, const char *format, ...);
// Begins an array ("{") or goes on in one (","), then the number.
void text_array_int(struct text *t, int64_t value);
// Likewise, quoted; value must hold no quote and no backslash. NULL: null.
void text_array_word(struct text *t, const char *value);
void text_array_null(struct text *t);
void text_array_end(struct text *t); // also makes an empty one "{}"
// How many bytes of it make at most max, without cutting a character of UTF-8: for %.*s.
int text_within(const char *text, int max);
void text_clear(struct text *t);
void text_release(struct text *t);
