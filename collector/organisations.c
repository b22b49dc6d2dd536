#include "collector/organisations.h"

#include <csv.h>
#include <string.h>

#include "collector/prefixes.h"
#include "collector/text.h"

enum { NAME, PREFIXES, CONTACTS, TLP, COLUMNS };
static const char *const column_names[COLUMNS] = {"name", "prefixes", "contacts", "tlp"};
#define LINE_MAX_BYTES (4 * 1024 * 1024)
#define FIELDS_MAX     16

// The reader's place: libcsv calls back for each field and each record.
struct reader {
    struct refusals *refusals;
    struct organisations out;
    size_t line;               // physical, of what is fed now
    size_t records;            // ended
    size_t field;              // of the present record
    int column_of[FIELDS_MAX]; // field -> column, -1: ignored
    char *values[COLUMNS];
    int result;
    struct errmsg *e;
};

static void clear_values(struct reader *r)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        free(r->values[i]);
        r->values[i] = NULL;
    }
    r->field = 0;
}

static void on_heading(struct reader *r, const char *text)
{
    for (int i = 0; i < COLUMNS; i++)
        if (strcasecmp(text, column_names[i]) == 0)
            r->column_of[r->field] = i;
}

// A field is not a string: libcsv gives its bytes and their number.
static char *copy_field(const void *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return NULL;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static void on_field(void *data, size_t size, void *context)
{
    struct reader *r = context;
    if (r->result == 0 && r->field < FIELDS_MAX) {
        char *text = copy_field(data, size);
        int column = r->column_of[r->field];
        if (!text) {
            r->result = -ENOMEM;
        } else if (r->records == 0) {
            on_heading(r, text);
            free(text);
        } else if (column >= 0 && !r->values[column]) {
            r->values[column] = text;
        } else {
            free(text);
        }
    }
    r->field++;
}

// "a; b" as the array "{a,b}", each a prefix.
static int check_prefixes(const char *list, char **ret, size_t *ret_n, struct errmsg *e)
{
    struct text array = {0};
    size_t n = 0;
    int r = 0;
    for (const char *p = list; r == 0 && *p;) {
        p += strspn(p, "; \t\r\n");
        size_t size = strcspn(p, "; \t\r\n");
        char word[64];
        struct prefix parsed;
        if (size == 0)
            break;
        snprintf(word, sizeof word, "%.*s", (int)MIN(size, sizeof word - 1), p);
        r = prefix_parse(word, &parsed, e);
        text_array_word(&array, word);
        if (++n > ORGANISATION_PREFIXES_MAX)
            r = errmsg_set(e, -EINVAL, "more than %d prefixes", ORGANISATION_PREFIXES_MAX);
        p += size;
    }
    text_array_end(&array);
    if (r == 0 && n == 0)
        r = errmsg_set(e, -EINVAL, "no prefixes");
    if (r < 0 || array.bad) {
        text_release(&array);
        return r < 0 ? r : -ENOMEM;
    }
    *ret = array.p;
    *ret_n = n;
    return 0;
}

static int check_tlp(const char *tlp, struct errmsg *e)
{
    static const char *const known[] = {"CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED"};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(tlp, known[i]) == 0)
            return 0;
    return errmsg_set(e, -EINVAL, "tlp \"%.20s\": must be CLEAR, GREEN, AMBER, AMBER+STRICT or RED",
                      tlp);
}

static int set_default(char **value, const char *text)
{
    if (*value && **value)
        return 0;
    free(*value);
    *value = strdup(text);
    return *value ? 0 : -ENOMEM;
}

static int check_name(const struct reader *r, struct errmsg *e)
{
    const char *name = r->values[NAME];
    if (!name || !*name)
        return errmsg_set(e, -EINVAL, "no name");
    for (size_t i = 0; i < r->out.n; i++)
        if (strcmp(r->out.list[i].name, name) == 0)
            return errmsg_set(e, -EINVAL, "\"%.60s\" is in this file already", name);
    return 0;
}

static int take_record(struct reader *r, struct errmsg *e)
{
    struct organisation o = {0};
    int bad = check_name(r, e);
    if (bad == 0)
        bad = set_default(&r->values[TLP], "AMBER");
    if (bad == 0)
        bad = set_default(&r->values[CONTACTS], "");
    if (bad == 0)
        bad = check_tlp(r->values[TLP], e);
    if (bad == 0)
        bad = check_prefixes(r->values[PREFIXES] ? r->values[PREFIXES] : "", &o.prefixes,
                             &o.n_prefixes, e);
    if (bad < 0)
        return bad;
    struct organisation *list = realloc(r->out.list, (r->out.n + 1) * sizeof *list);
    if (!list) {
        free(o.prefixes);
        return -ENOMEM;
    }
    r->out.list = list;
    o.name = r->values[NAME];
    o.contacts = r->values[CONTACTS];
    o.tlp = r->values[TLP];
    r->values[NAME] = r->values[CONTACTS] = r->values[TLP] = NULL;
    list[r->out.n++] = o;
    return 0;
}

static int check_heading(struct reader *r)
{
    bool has[COLUMNS] = {false};
    for (size_t i = 0; i < FIELDS_MAX; i++)
        if (r->column_of[i] >= 0)
            has[r->column_of[i]] = true;
    if (has[NAME] && has[PREFIXES])
        return 0;
    return errmsg_set(r->e, -EINVAL,
                      "line %zu: the heading must name the columns name,prefixes,contacts,tlp",
                      r->line);
}

static void on_record(int end, void *context)
{
    (void)end;
    struct reader *r = context;
    struct errmsg e = {"out of memory"};
    if (r->result == 0 && r->records == 0) {
        r->result = check_heading(r);
    } else if (r->result == 0) {
        int bad = take_record(r, &e);
        if (bad == -EINVAL)
            refusals_add(r->refusals, r->line, &e);
        else
            r->result = bad;
    }
    r->records++;
    clear_values(r);
}

static int feed(struct csv_parser *parser, FILE *f, struct reader *r)
{
    _cleanup_(freep) char *line = NULL;
    size_t size = 0;
    ssize_t n;
    while (r->result == 0 && (n = getline(&line, &size, f)) >= 0) {
        r->line++;
        if (n > LINE_MAX_BYTES)
            return errmsg_set(r->e, -EINVAL, "line %zu: longer than %d bytes", r->line,
                              LINE_MAX_BYTES);
        if (csv_parse(parser, line, (size_t)n, on_field, on_record, r) != (size_t)n)
            return errmsg_set(r->e, -EINVAL, "line %zu: %s (a quote out of place?)", r->line,
                              csv_strerror(csv_error(parser)));
    }
    if (ferror(f))
        return errmsg_set(r->e, -EIO, "cannot be read");
    if (r->result == 0 && csv_fini(parser, on_field, on_record, r) != 0)
        return errmsg_set(r->e, -EINVAL, "line %zu: a quoted field has no end", r->line);
    return r->result;
}

int organisations_read(FILE *f, struct refusals *refusals, struct organisations *ret,
                       struct errmsg *e)
{
    struct csv_parser parser;
    struct reader r = {.refusals = refusals, .e = e};
    for (size_t i = 0; i < FIELDS_MAX; i++)
        r.column_of[i] = -1;
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0)
        return -ENOMEM;
    int result = feed(&parser, f, &r);
    csv_free(&parser);
    clear_values(&r);
    if (result == 0 && r.records == 0)
        result = errmsg_set(e, -EINVAL, "empty");
    if (result < 0) {
        organisations_release(&r.out);
        return result;
    }
    *ret = r.out;
    return 0;
}

void organisations_release(struct organisations *o)
{
    for (size_t i = 0; i < o->n; i++) {
        free(o->list[i].name);
        free(o->list[i].prefixes);
        free(o->list[i].contacts);
        free(o->list[i].tlp);
    }
    free(o->list);
    *o = (struct organisations){0};
}
