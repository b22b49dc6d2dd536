#include "collector/organisations.h"

#include <string.h>

#include "collector/as_names.h"
#include "collector/csv_table.h"
#include "collector/prefixes.h"
#include "collector/text.h"

enum { NAME, PREFIXES, CONTACTS, TLP, COLUMNS };
static const char *const column_names[COLUMNS] = {"name", "prefixes", "contacts", "tlp"};
static const struct csv_table_format format = {column_names, COLUMNS, PREFIXES + 1,
                                               "name,prefixes,contacts,tlp"};

struct reader {
    struct refusals *refusals;
    struct organisations out;
};

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

static int check_organisation(const struct reader *r, char **values, const char **ret_kind,
                              struct organisation *o, struct errmsg *e)
{
    const char *name = values[NAME] ? values[NAME] : "";
    *ret_kind = "name";
    int bad = name_check(name, e);
    for (size_t i = 0; i < r->out.n && bad == 0; i++)
        if (strcmp(r->out.list[i].name, name) == 0)
            bad = errmsg_set(e, -EINVAL, "\"%.60s\" is in this file already", name);
    if (bad == 0 && *values[CONTACTS]) {
        *ret_kind = "contacts";
        bad = text_check(values[CONTACTS], e);
    }
    if (bad == 0) {
        *ret_kind = "tlp";
        bad = check_tlp(values[TLP], e);
    }
    if (bad == 0) {
        *ret_kind = "prefixes";
        bad = check_prefixes(values[PREFIXES] ? values[PREFIXES] : "", &o->prefixes, &o->n_prefixes,
                             e);
    }
    return bad;
}

static int keep(struct reader *r, char **values, struct organisation *o)
{
    struct organisation *list = realloc(r->out.list, (r->out.n + 1) * sizeof *list);
    if (!list) {
        free(o->prefixes);
        return -ENOMEM;
    }
    r->out.list = list;
    o->name = values[NAME];
    o->contacts = values[CONTACTS];
    o->tlp = values[TLP];
    values[NAME] = values[CONTACTS] = values[TLP] = NULL;
    list[r->out.n++] = *o;
    return 0;
}

static int on_record(void *context, size_t line, char **values)
{
    struct reader *r = context;
    struct organisation o = {0};
    struct errmsg e = {"out of memory"};
    const char *kind;
    int bad = set_default(&values[TLP], "AMBER");
    if (bad == 0)
        bad = set_default(&values[CONTACTS], "");
    if (bad == 0)
        bad = check_organisation(r, values, &kind, &o, &e);
    if (bad == -EINVAL) {
        refusals_add(r->refusals, line, kind, &e);
        return 0;
    }
    return bad < 0 ? bad : keep(r, values, &o);
}

int organisations_read(FILE *f, struct refusals *refusals, struct organisations *ret,
                       struct errmsg *e)
{
    struct reader r = {.refusals = refusals};
    _cleanup_(csv_table_freep) struct csv_table *table = NULL;
    int result = csv_table_new(&format, on_record, &r, &table);
    if (result == 0)
        result = csv_table_file(table, f, e);
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
