// Writes JSON, nothing more: two spaces a level, one member a line, except inside inline values.
// Errors stay in the stream; ask ferror() at the end.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *file;
    int depth;
    int inline_depth; // the level from which on everything stays on one line; 0: none
    bool follows;     // a value precedes on this level
};

// key is NULL for array elements and the document itself.
void json_open(struct json *json, const char *key, char bracket);
void json_open_inline(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
void json_string(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, uint64_t value);
// With six decimals.
void json_ratio(struct json *json, const char *key, uint64_t numerator, uint64_t denominator);
void json_bool(struct json *json, const char *key, bool value);
