#include "json.h"

#include <inttypes.h>

static void put_text(FILE *file, const char *text)
{
    (void)putc('"', file);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            (void)putc('\\', file);
        }
        (void)putc(*c, file); // UTF-8 as it is; there are no control characters here
    }
    (void)putc('"', file);
}

static bool is_inline(const struct json *json)
{
    return json->inline_depth != 0 && json->depth >= json->inline_depth;
}

static void begin_line(struct json *json)
{
    if (is_inline(json)) {
        if (json->follows) {
            (void)fputs(" ", json->file);
        }
        return;
    }
    if (json->depth > 0) {
        (void)putc('\n', json->file);
    }
    for (int i = 0; i < json->depth; i++) {
        (void)fputs("  ", json->file);
    }
}

static void begin_value(struct json *json, const char *key)
{
    if (json->follows) {
        (void)putc(',', json->file);
    }
    begin_line(json);
    if (key != NULL) {
        put_text(json->file, key);
        (void)fputs(": ", json->file);
    }
    json->follows = true;
}

void json_open(struct json *json, const char *key, char bracket)
{
    begin_value(json, key);
    (void)putc(bracket, json->file);
    json->depth++;
    json->follows = false;
}

void json_open_inline(struct json *json, const char *key, char bracket)
{
    json_open(json, key, bracket);
    if (json->inline_depth == 0) {
        json->inline_depth = json->depth;
    }
}

void json_close(struct json *json, char bracket)
{
    bool stays = is_inline(json);

    if (json->inline_depth == json->depth) {
        json->inline_depth = 0;
    }
    json->depth--;
    if (!stays && json->follows) {
        (void)putc('\n', json->file);
        for (int i = 0; i < json->depth; i++) {
            (void)fputs("  ", json->file);
        }
    }
    (void)putc(bracket, json->file);
    json->follows = true;
    if (json->depth == 0) {
        (void)putc('\n', json->file);
    }
}

void json_string(struct json *json, const char *key, const char *value)
{
    begin_value(json, key);
    put_text(json->file, value);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    begin_value(json, key);
    (void)fprintf(json->file, "%" PRIu64, value);
}

void json_ratio(struct json *json, const char *key, uint64_t numerator, uint64_t denominator)
{
    begin_value(json, key);
    (void)fprintf(json->file, "%.6f",
                  denominator == 0 ? 0.0 : (double)numerator / (double)denominator);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    (void)fputs(value ? "true" : "false", json->file);
}
