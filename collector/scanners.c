#include "collector/scanners.h"

#include <string.h>

#include "collector/as_names.h"
#include "collector/csv_table.h"

enum { PREFIX, NAME, COLUMNS };
static const char *const column_names[COLUMNS] = {"prefix", "name"};
static const struct csv_table_format format = {column_names, COLUMNS, COLUMNS, "prefix,name"};

struct reader {
    struct refusals *refusals;
    struct scanner_list *list;
    struct errmsg *e;
};

// Lists are sorted by name as a rule, so the last names are looked at first.
static int label_of(struct scanner_list *list, const char *name, uint32_t *ret, struct errmsg *e)
{
    for (size_t i = list->n_names; i-- > 0;)
        if (strcmp(list->names[i], name) == 0) {
            *ret = (uint32_t)i;
            return 0;
        }
    if (list->n_names == SCANNER_NAMES_MAX)
        return errmsg_set(e, -E2BIG, "more than %d names", SCANNER_NAMES_MAX);
    if (list->n_names == list->size) {
        size_t size = list->size ? list->size * 2 : 64;
        char(*grown)[SCANNER_NAME_SIZE] = realloc(list->names, size * sizeof *grown);
        if (!grown)
            return errmsg_set(e, -ENOMEM, "out of memory");
        list->names = grown;
        list->size = size;
    }
    snprintf(list->names[list->n_names], SCANNER_NAME_SIZE, "%s", name);
    *ret = (uint32_t)list->n_names++;
    return 0;
}

static int check_name(const char *name, struct errmsg *e)
{
    if (strlen(name) >= SCANNER_NAME_SIZE)
        return errmsg_set(e, -EINVAL, "a name longer than %d bytes", SCANNER_NAME_SIZE - 1);
    return name_check(name, e);
}

static int add(struct reader *r, size_t line, const char *address, const char *name)
{
    struct prefix p;
    struct errmsg why;
    const char *kind = "name";
    int bad = check_name(name, &why);
    if (bad == 0) {
        kind = "prefix";
        bad = prefix_parse_address(address, &p, &why);
    }
    if (bad < 0) {
        refusals_add(r->refusals, line, kind, &why);
        return 0;
    }
    p.line = (uint32_t)r->list->prefixes.n;
    int result = label_of(r->list, name, &p.label, r->e);
    return result < 0 ? result : prefix_list_add(&r->list->prefixes, &p, r->e);
}

static int on_record(void *context, size_t line, char **values)
{
    return add(context, line, values[PREFIX] ? values[PREFIX] : "",
               values[NAME] ? values[NAME] : "");
}

// "  192.0.2.1  # a comment": where the address is and how long.
static const char *find_word(const char *line, size_t *ret_n)
{
    const char *word = line + strspn(line, " \t\r");
    *ret_n = strcspn(word, " \t\r#;");
    return word;
}

static int take_plain(struct reader *r, size_t number, const char *text, const struct line *line,
                      const char *name)
{
    char address[64];
    size_t n;
    const char *word = find_word(text, &n);
    if (line->wrong) {
        struct errmsg why;
        errmsg_set(&why, -EINVAL, "%s", line->wrong);
        refusals_add(r->refusals, number, "line", &why);
        return 0;
    }
    if (n == 0)
        return 0;
    snprintf(address, sizeof address, "%.*s", (int)MIN(n, sizeof address - 1), word);
    return add(r, number, address, name);
}

// What the first line with anything in it says of the file.
enum kind { UNKNOWN, PLAIN, CSV };

static int tell_kind(const char *text, const char *name, enum kind *ret, struct errmsg *e)
{
    size_t n;
    find_word(text, &n);
    if (n == 0)
        return 0;
    *ret = strchr(text, ',') ? CSV : PLAIN;
    if (*ret == PLAIN && !name)
        return errmsg_set(e, -EINVAL, "a plain list needs --name: whose addresses are they?");
    return 0;
}

static int read_lines(FILE *f, const char *name, struct reader *r, struct csv_table *table)
{
    _cleanup_(freep) char *text = malloc(CSV_TABLE_LINE_MAX);
    enum kind kind = UNKNOWN;
    struct line line;
    int result = text ? 0 : -ENOMEM;
    for (size_t number = 1; result == 0 && line_read(f, text, CSV_TABLE_LINE_MAX, &line);
         number++) {
        if (kind == UNKNOWN)
            result = tell_kind(text, name, &kind, r->e);
        if (result == 0 && kind == CSV) {
            result = csv_table_line(table, text, &line, r->e);
        } else if (result == 0) {
            csv_table_skip(table);
            result = take_plain(r, number, text, &line, name);
        }
    }
    if (result == 0 && ferror(f))
        return errmsg_set(r->e, -EIO, "cannot be read");
    return result == 0 && kind == CSV ? csv_table_end(table, r->e) : result;
}

int scanners_read(FILE *f, const char *name, struct refusals *refusals, struct scanner_list *list,
                  struct errmsg *e)
{
    struct reader r = {refusals, list, e};
    _cleanup_(csv_table_freep) struct csv_table *table = NULL;
    int result = csv_table_new(&format, on_record, &r, &table);
    return result < 0 ? result : read_lines(f, name, &r, table);
}

int scanners_name(const char *path, char ret[static SCANNER_NAME_SIZE])
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t n = strcspn(base, ".");
    if (n > 3 && (memcmp(base + n - 3, "_v4", 3) == 0 || memcmp(base + n - 3, "_v6", 3) == 0))
        n -= 3;
    if (n == 0 || n >= SCANNER_NAME_SIZE)
        return -EINVAL;
    snprintf(ret, SCANNER_NAME_SIZE, "%.*s", (int)n, base);
    return 0;
}

void scanner_list_release(struct scanner_list *list)
{
    prefix_list_release(&list->prefixes);
    free(list->names);
    *list = (struct scanner_list){0};
}
