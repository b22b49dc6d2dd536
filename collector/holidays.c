#include "collector/holidays.h"

#include <string.h>
#include <time.h>

#include "collector/as_names.h"
#include "collector/csv_table.h"

enum { COUNTRY, DAY, NAME, COLUMNS };
static const char *const column_names[COLUMNS] = {"country", "day", "name"};
static const struct csv_table_format format = {column_names, COLUMNS, COLUMNS, "country,day,name"};

struct reader {
    struct refusals *refusals;
    struct holidays out;
    struct errmsg *e;
};

static int check_country(const char *text, struct holiday *h, struct errmsg *e)
{
    if (strlen(text) != 2 || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 2)
        return errmsg_set(e, -EINVAL, "country \"%.20s\": must be two capital letters, as JP",
                          text);
    memcpy(h->country, text, sizeof h->country);
    return 0;
}

static int check_day(const char *text, struct holiday *h, struct errmsg *e)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    struct tm same = tm;
    // a day that no month has becomes another one
    if (!end || *end || strlen(text) != 10 || timegm(&same) == (time_t)-1 ||
        same.tm_mday != tm.tm_mday || tm.tm_year < 0 || tm.tm_year > 300)
        return errmsg_set(e, -EINVAL,
                          "day \"%.20s\": must be a day from 1900 to 2200, as 2023-02-23", text);
    h->year = tm.tm_year + 1900;
    h->month = tm.tm_mon + 1;
    h->day = tm.tm_mday;
    return 0;
}

static int check_holiday(char **values, const char **ret_kind, struct holiday *h, struct errmsg *e)
{
    *ret_kind = "country";
    int bad = check_country(values[COUNTRY] ? values[COUNTRY] : "", h, e);
    if (bad == 0) {
        *ret_kind = "day";
        bad = check_day(values[DAY] ? values[DAY] : "", h, e);
    }
    if (bad == 0) {
        const char *name = values[NAME] ? values[NAME] : "";
        *ret_kind = "name";
        bad = name_check(name, e);
        if (bad == 0 && strlen(name) > HOLIDAY_NAME_MAX)
            bad = errmsg_set(e, -EINVAL, "a name of more than %d bytes", HOLIDAY_NAME_MAX);
    }
    return bad;
}

static int keep(struct reader *r, char **values, const struct holiday *h)
{
    struct holidays *out = &r->out;
    if (out->n == HOLIDAYS_MAX)
        return errmsg_set(r->e, -E2BIG, "more than %d holidays", HOLIDAYS_MAX);
    if (out->n == out->size) {
        size_t size = out->size ? out->size * 2 : 64;
        struct holiday *grown = realloc(out->list, size * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        out->list = grown;
        out->size = size;
    }
    out->list[out->n] = *h;
    out->list[out->n].given = out->n;
    out->list[out->n++].name = values[NAME];
    values[NAME] = NULL;
    return 0;
}

static int on_record(void *context, size_t line, char **values)
{
    struct reader *r = context;
    struct holiday h = {0};
    struct errmsg e = {"out of memory"};
    const char *kind = NULL;
    int bad = check_holiday(values, &kind, &h, &e);
    if (bad == -EINVAL) {
        refusals_add(r->refusals, line, kind, &e);
        return 0;
    }
    return bad < 0 ? bad : keep(r, values, &h);
}

static int compare(const struct holiday *a, const struct holiday *b)
{
    int country = strcmp(a->country, b->country);
    if (country != 0)
        return country;
    if (a->year != b->year)
        return a->year - b->year;
    return a->month != b->month ? a->month - b->month : a->day - b->day;
}

static int by_day(const void *a, const void *b)
{
    const struct holiday *x = a, *y = b;
    int r = compare(x, y);
    return r != 0 ? r : (x->given < y->given ? -1 : x->given > y->given);
}

static void sort(struct holidays *h)
{
    size_t kept = 0;
    if (h->n > 1)
        qsort(h->list, h->n, sizeof *h->list, by_day);
    for (size_t i = 0; i < h->n; i++) {
        if (kept > 0 && compare(&h->list[kept - 1], &h->list[i]) == 0)
            free(h->list[i].name);
        else
            h->list[kept++] = h->list[i];
    }
    h->n = kept;
}

static int read_lines(struct csv_table *table, FILE *f, struct errmsg *e)
{
    int c;
    while ((c = getc(f)) == '#') {
        while (c != '\n' && c != EOF)
            c = getc(f);
        csv_table_skip(table);
    }
    if (c != EOF)
        (void)ungetc(c, f);
    return csv_table_file(table, f, e);
}

int holidays_read(FILE *f, struct refusals *refusals, struct holidays *ret, struct errmsg *e)
{
    struct reader r = {.refusals = refusals, .e = e};
    _cleanup_(csv_table_freep) struct csv_table *table = NULL;
    int result = csv_table_new(&format, on_record, &r, &table);
    if (result == 0)
        result = read_lines(table, f, e);
    if (result < 0) {
        holidays_release(&r.out);
        return result;
    }
    sort(&r.out);
    *ret = r.out;
    return 0;
}

void holidays_release(struct holidays *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->list[i].name);
    free(h->list);
    *h = (struct holidays){0};
}
