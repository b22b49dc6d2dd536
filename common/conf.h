// Configuration files: INI (read by inih), typed by one table per program.
//
// Every key has a default, a range and a unit; an unknown section or key, a key given twice or a
// value out of range is an error that names file, line and key, and says what is allowed. Not
// thread safe; read once at start.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/util.h"

enum conf_type {
    CONF_TEXT,    // char **: malloc'ed
    CONF_LIST,    // struct conf_list: the key may be given several times, and a value holds items
                  // separated by white space or commas
    CONF_BOOL,    // bool: yes/no, true/false, on/off, 1/0
    CONF_INTEGER, // int64_t
    CONF_BYTES,   // int64_t, bytes: a number with an optional suffix K, M, G (binary; KiB, MiB, GiB
                  // too)
    CONF_DURATION, // int64_t, milliseconds: a number with a suffix ms, s, m, h, d
};

struct conf_list {
    size_t n;
    char **items;
};

// Adds what `value` holds; -ENOMEM leaves what was added so far.
int conf_list_add(struct conf_list *list, const char *value);
void conf_list_clear(struct conf_list *list);
// A line "name = item" each.
void conf_list_write(FILE *out, const char *name, const struct conf_list *list);

// One key. `field` is the offset of the variable in the program's configuration struct.
struct conf_key {
    const char *section;
    const char *name;
    enum conf_type type;
    size_t field;
    const char
        *fallback; // as it would stand in the file; NULL: none (the text stays NULL), or required
    bool required;
    int64_t min, max; // of numbers; with max 0 no range
    const char *help; // one line, with the unit
};

// Fills the struct at `conf` (all fallbacks first, then the file). On failure nothing needs
// freeing.
int conf_read(const struct conf_key *keys, size_t n, const char *path, void *conf,
              struct errmsg *e);
// The same from a stream; `name` stands for it in messages.
int conf_read_stream(const struct conf_key *keys, size_t n, const char *name, FILE *f, void *conf,
                     struct errmsg *e);
// Fallbacks only.
int conf_defaults(const struct conf_key *keys, size_t n, void *conf, struct errmsg *e);
// Sets one value, as a line of a file would (a command-line option, say; key->name stands for it in
// messages). -EINVAL, -ERANGE with *e filled.
int conf_set(const struct conf_key *key, const char *value, void *conf, struct errmsg *e);
void conf_free(const struct conf_key *keys, size_t n, void *conf);
// Writes every key with its present value, its help, range and default: a complete configuration
// file.
void conf_dump(const struct conf_key *keys, size_t n, const void *conf, FILE *out);
