#include "common/conf.h"

#include <ctype.h>
#include <ini.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

static void *field_of(const struct conf_key *key, void *conf)
{
    return (char *)conf + key->field;
}

static const void *field_of_const(const struct conf_key *key, const void *conf)
{
    return (const char *)conf + key->field;
}

struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit byte_units[] = {
    {"", 1},          {"K", 1 << 10},   {"KiB", 1 << 10},   {"M", 1 << 20},
    {"MiB", 1 << 20}, {"G", 1LL << 30}, {"GiB", 1LL << 30},
};
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24LL * 3600 * 1000},
};

// A whole number and one of the units' suffixes.
static int parse_number(const char *value, const struct unit *units, size_t n, int64_t *ret)
{
    const char *digits = value + (*value == '-');
    if (!isdigit((unsigned char)*digits))
        return -EINVAL;
    errno = 0;
    char *end;
    long long number = strtoll(value, &end, 10);
    if (errno)
        return -ERANGE;
    end += strspn(end, " \t");
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(end, units[i].suffix) == 0)
            return __builtin_mul_overflow(number, units[i].factor, ret) ? -ERANGE : 0;
    }
    return -EINVAL;
}

static int parse_bool(const char *value, bool *ret)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (strcasecmp(value, words[i]) == 0) {
            *ret = i % 2 == 1;
            return 0;
        }
    }
    return -EINVAL;
}

int conf_list_add(struct conf_list *list, const char *value)
{
    static const char separators[] = " \t,";
    for (const char *p = value + strspn(value, separators); *p; p += strspn(p, separators)) {
        size_t length = strcspn(p, separators);
        char **items = realloc(list->items, (list->n + 1) * sizeof *items);
        if (!items)
            return -ENOMEM;
        list->items = items;
        items[list->n] = strndup(p, length);
        if (!items[list->n])
            return -ENOMEM;
        list->n++;
        p += length;
    }
    return 0;
}

void conf_list_write(FILE *out, const char *name, const struct conf_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        fprintf(out, "%s = %s\n", name, list->items[i]);
}

void conf_list_clear(struct conf_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct conf_list){0};
}

static int set_number(const struct conf_key *key, const char *value, int64_t *field)
{
    static const struct unit plain[] = {{"", 1}};
    int64_t number;
    int r;
    if (key->type == CONF_BYTES)
        r = parse_number(value, byte_units, ARRAY_SIZE(byte_units), &number);
    else if (key->type == CONF_DURATION)
        r = parse_number(value, duration_units, ARRAY_SIZE(duration_units), &number);
    else
        r = parse_number(value, plain, ARRAY_SIZE(plain), &number);
    if (r < 0)
        return r;
    if (key->max != 0 && (number < key->min || number > key->max))
        return -ERANGE;
    *field = number;
    return 0;
}

static int set_value(const struct conf_key *key, const char *value, void *conf)
{
    void *field = field_of(key, conf);
    switch (key->type) {
    case CONF_TEXT: {
        char *copy = strdup(value);
        if (!copy)
            return -ENOMEM;
        free(*(char **)field);
        *(char **)field = copy;
        return 0;
    }
    case CONF_LIST:
        return conf_list_add(field, value);
    case CONF_BOOL:
        return parse_bool(value, field);
    case CONF_INTEGER:
    case CONF_BYTES:
    case CONF_DURATION:
        return set_number(key, value, field);
    }
    return -EINVAL;
}

static void format_number(enum conf_type type, int64_t number, char *text, size_t size)
{
    const struct unit *units = type == CONF_BYTES ? byte_units : duration_units;
    size_t n = type == CONF_BYTES      ? ARRAY_SIZE(byte_units)
               : type == CONF_DURATION ? ARRAY_SIZE(duration_units)
                                       : 0;
    const char *suffix = "";
    for (size_t i = 0; i < n; i++) {
        if (number != 0 && number % units[i].factor != 0)
            continue;
        if (number == 0 && i > 0)
            break;
        suffix = units[i].suffix;
        if (i + 1 == n || number % units[i + 1].factor != 0) {
            number /= units[i].factor;
            snprintf(text, size, "%" PRId64 "%s", number, suffix);
            return;
        }
    }
    snprintf(text, size, "%" PRId64 "%s", number, suffix);
}

static void describe_allowed(const struct conf_key *key, char *text, size_t size)
{
    static const char *const shapes[] = {
        [CONF_TEXT] = "a text",
        [CONF_LIST] = "a list",
        [CONF_BOOL] = "yes or no",
        [CONF_INTEGER] = "a whole number",
        [CONF_BYTES] = "a size such as 64M",
        [CONF_DURATION] = "a time such as 500ms, 60s, 15m, 24h or 7d",
    };
    if (key->max == 0) {
        snprintf(text, size, "%s", shapes[key->type]);
        return;
    }
    char low[32], high[32];
    format_number(key->type, key->min, low, sizeof low);
    format_number(key->type, key->max, high, sizeof high);
    snprintf(text, size, "%s, from %s to %s", shapes[key->type], low, high);
}

int conf_set(const struct conf_key *key, const char *value, void *conf, struct errmsg *e)
{
    int r = set_value(key, value, conf);
    if (r == -EINVAL || r == -ERANGE) {
        char allowed[128];
        describe_allowed(key, allowed, sizeof allowed);
        return errmsg_set(e, r, "%s %.80s: must be %s", key->name, value, allowed);
    }
    return r;
}

struct reader {
    const struct conf_key *keys;
    size_t n;
    const char *path;
    void *conf;
    bool *seen;
    struct errmsg *e;
    FILE *file;
    int line; // of what inih was given last: Debian's inih does not tell its handler
    int result;
};

static const struct conf_key *find_key(const struct reader *reader, const char *section,
                                       const char *name, bool *ret_section_known)
{
    *ret_section_known = false;
    for (size_t i = 0; i < reader->n; i++) {
        if (strcmp(reader->keys[i].section, section) != 0)
            continue;
        *ret_section_known = true;
        if (strcmp(reader->keys[i].name, name) == 0)
            return &reader->keys[i];
    }
    return NULL;
}

static int refuse_unknown(struct reader *reader, int line, const char *section, const char *name,
                          bool section_known)
{
    char known[200] = ""; // the section's keys, or the sections, which stand together in the table
    size_t used = 0;
    for (size_t i = 0; i < reader->n && used < sizeof known; i++) {
        const struct conf_key *key = &reader->keys[i];
        const char *word = section_known ? key->name : key->section;
        bool wanted = section_known ? strcmp(key->section, section) == 0
                                    : i == 0 || strcmp(reader->keys[i - 1].section, word) != 0;
        if (wanted)
            used += (size_t)snprintf(known + used, sizeof known - used, " %s", word);
    }
    if (!*section)
        return errmsg_set(reader->e, -EINVAL, "%s, line %d: \"%s\" stands before any [section]",
                          reader->path, line, name);
    if (!section_known)
        return errmsg_set(reader->e, -EINVAL, "%s, line %d: unknown section [%s]; there are:%s",
                          reader->path, line, section, known);
    return errmsg_set(reader->e, -EINVAL, "%s, line %d: unknown key \"%s\" in [%s], which has:%s",
                      reader->path, line, name, section, known);
}

static int read_key(struct reader *reader, int line, const char *section, const char *name,
                    const char *value)
{
    bool section_known;
    const struct conf_key *key = find_key(reader, section, name, &section_known);
    if (!key)
        return refuse_unknown(reader, line, section, name, section_known);
    bool *seen = &reader->seen[key - reader->keys];
    if (*seen && key->type != CONF_LIST)
        return errmsg_set(reader->e, -EINVAL, "%s, line %d: %s is given twice in [%s]",
                          reader->path, line, name, section);
    if (!*seen && key->type == CONF_LIST)
        conf_list_clear(field_of(key, reader->conf)); // the file's items replace the default ones
    *seen = true;
    int r = set_value(key, value, reader->conf);
    if (r == -EINVAL || r == -ERANGE) {
        char allowed[128];
        describe_allowed(key, allowed, sizeof allowed);
        return errmsg_set(reader->e, r, "%s, line %d: [%s] %s = %.80s: must be %s", reader->path,
                          line, section, name, value, allowed);
    }
    return r;
}

static int on_key(void *data, const char *section, const char *name, const char *value)
{
    struct reader *reader = data;
    if (reader->result == 0)
        reader->result = read_key(reader, reader->line, section, name, value);
    return reader->result == 0;
}

// inih's reader: one line, like fgets. A line that does not fit is an error, never two lines.
static char *next_line(char *text, int size, void *data)
{
    struct reader *reader = data;
    if (reader->result < 0 || !fgets(text, size, reader->file))
        return NULL;
    reader->line++;
    if (!strchr(text, '\n') && !feof(reader->file)) {
        reader->result = errmsg_set(reader->e, -EINVAL, "%s, line %d: longer than %d characters",
                                    reader->path, reader->line, size - 2);
        return NULL;
    }
    return text;
}

static int check_required(const struct reader *reader)
{
    for (size_t i = 0; i < reader->n; i++) {
        const struct conf_key *key = &reader->keys[i];
        if (key->required && !reader->seen[i])
            return errmsg_set(reader->e, -EINVAL, "%s: [%s] %s is missing: %s", reader->path,
                              key->section, key->name, key->help);
    }
    return 0;
}

static int read_into(const struct conf_key *keys, size_t n, const char *path, FILE *f, void *conf,
                     struct errmsg *e)
{
    int r = conf_defaults(keys, n, conf, e);
    if (r < 0)
        return r;
    _cleanup_(freep) bool *seen = calloc(n, sizeof *seen);
    if (!seen)
        return -ENOMEM;
    struct reader reader = {keys, n, path, conf, seen, e, f, 0, 0};
    int line = ini_parse_stream(next_line, &reader, on_key, &reader);
    if (ferror(f))
        return errmsg_set(e, -EIO, "configuration %s: cannot be read", path);
    if (reader.result < 0)
        return reader.result;
    if (line != 0)
        return errmsg_set(e, -EINVAL, "%s, line %d: neither [section] nor key = value", path, line);
    return check_required(&reader);
}

int conf_read_stream(const struct conf_key *keys, size_t n, const char *name, FILE *f, void *conf,
                     struct errmsg *e)
{
    int r = read_into(keys, n, name, f, conf, e);
    if (r < 0)
        conf_free(keys, n, conf);
    return r;
}

int conf_read(const struct conf_key *keys, size_t n, const char *path, void *conf, struct errmsg *e)
{
    _cleanup_(fclosep) FILE *f = fopen(path, "re");
    if (!f)
        return errmsg_set(e, -errno, "configuration %s: %s", path, strerror(errno));
    return conf_read_stream(keys, n, path, f, conf, e);
}

int conf_defaults(const struct conf_key *keys, size_t n, void *conf, struct errmsg *e)
{
    for (size_t i = 0; i < n; i++) {
        void *field = field_of(&keys[i], conf);
        if (keys[i].type == CONF_TEXT)
            *(char **)field = NULL;
        else if (keys[i].type == CONF_LIST)
            *(struct conf_list *)field = (struct conf_list){0};
    }
    for (size_t i = 0; i < n; i++) {
        int r = keys[i].fallback ? set_value(&keys[i], keys[i].fallback, conf) : 0;
        if (r < 0) {
            conf_free(keys, n, conf);
            return errmsg_set(e, r, "default of [%s] %s is unusable", keys[i].section,
                              keys[i].name);
        }
    }
    return 0;
}

void conf_free(const struct conf_key *keys, size_t n, void *conf)
{
    for (size_t i = 0; i < n; i++) {
        void *field = field_of(&keys[i], conf);
        if (keys[i].type == CONF_TEXT) {
            free(*(char **)field);
            *(char **)field = NULL;
        } else if (keys[i].type == CONF_LIST) {
            conf_list_clear(field);
        }
    }
}

static void dump_value(const struct conf_key *key, const void *conf, FILE *out)
{
    const void *field = field_of_const(key, conf);
    char text[32];
    switch (key->type) {
    case CONF_TEXT: {
        const char *value = *(char *const *)field;
        fprintf(out, "%s%s = %s\n", value ? "" : "#", key->name, value ? value : "");
        return;
    }
    case CONF_LIST: {
        const struct conf_list *list = field;
        fprintf(out, "%s%s =", list->n ? "" : "#", key->name);
        for (size_t i = 0; i < list->n; i++)
            fprintf(out, " %s", list->items[i]);
        fputc('\n', out);
        return;
    }
    case CONF_BOOL:
        fprintf(out, "%s = %s\n", key->name, *(const bool *)field ? "yes" : "no");
        return;
    case CONF_INTEGER:
    case CONF_BYTES:
    case CONF_DURATION:
        format_number(key->type, *(const int64_t *)field, text, sizeof text);
        fprintf(out, "%s = %s\n", key->name, text);
        return;
    }
}

void conf_dump(const struct conf_key *keys, size_t n, const void *conf, FILE *out)
{
    const char *section = "";
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i].section, section) != 0) {
            fprintf(out, "%s[%s]\n", i ? "\n" : "", keys[i].section);
            section = keys[i].section;
        }
        char allowed[128];
        describe_allowed(&keys[i], allowed, sizeof allowed);
        fprintf(out, "# %s (%s%s%s)\n", keys[i].help, allowed,
                keys[i].required   ? "; required"
                : keys[i].fallback ? "; default "
                                   : "",
                keys[i].required || !keys[i].fallback ? "" : keys[i].fallback);
        dump_value(&keys[i], conf, out);
    }
}
