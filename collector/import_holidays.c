#include <string.h>

#include "collector/holidays.h"
#include "collector/import.h"

// The years of a country that are given are replaced: its others stay.
static int clear_year(struct db *db, const struct holiday *h, struct errmsg *e)
{
    char year[16];
    const char *values[] = {h->country, year};
    snprintf(year, sizeof year, "%d", h->year);
    return db_query(db,
                    "delete from hirundo.holiday where country = $1::char(2) and day >= "
                    "make_date($2::integer, 1, 1) and day < make_date($2::integer + 1, 1, 1)",
                    2, values, NULL, e);
}

static int add(struct db *db, const struct holiday *h, struct errmsg *e)
{
    char day[40];
    const char *values[] = {h->country, day, h->name};
    snprintf(day, sizeof day, "%04d-%02d-%02d", h->year, h->month, h->day);
    return db_query(db,
                    "insert into hirundo.holiday (country, day, name) values ($1, $2::date, $3) on "
                    "conflict (country, day) do update set name = excluded.name",
                    3, values, NULL, e);
}

// whole: what their years had goes.
static int store(struct db *db, const struct holidays *h, bool whole, size_t *ret_years,
                 struct errmsg *e)
{
    int r = db_exec(db, "begin", e);
    if (r == 0) // another import's days are not seen before it commits
        r = db_exec(db, "lock table hirundo.holiday in share row exclusive mode", e);
    *ret_years = 0;
    for (size_t i = 0; i < h->n && r == 0; i++) {
        const struct holiday *one = &h->list[i], *before = i > 0 ? one - 1 : NULL;
        // sorted: those of a year stand together
        if (!before || before->year != one->year || strcmp(before->country, one->country) != 0) {
            ++*ret_years;
            r = whole ? clear_year(db, one, e) : 0;
        }
        if (r == 0)
            r = add(db, one, e);
    }
    return r == 0 ? db_exec(db, "commit", e) : r;
}

static int load(struct import *i)
{
    _cleanup_(db_freep) struct db *db = NULL;
    _cleanup_(fclosep) FILE *f = NULL;
    _cleanup_(holidays_release) struct holidays h = {0};
    int r = import_open_with_file(i, &db, &f);
    if (r != 0)
        return r;
    r = holidays_read(f, &i->refusals, &h, &i->e);
    r = import_check(i, r, h.n, "holiday");
    if (r < 0)
        return r;
    size_t years = 0;
    char refused[256];
    // A line that was refused may be a day that is there: nobody can tell which.
    bool whole = i->refusals.n == 0 || i->force;
    r = store(db, &h, whole, &years, &i->e);
    refusals_summary(&i->refusals, "lines", refused, sizeof refused);
    if (r == 0)
        printf("%zu holidays of %zu years loaded; %s%s\n", h.n, years, refused,
               whole ? "" : ": what these years had besides stays (--force replaces them)");
    return r > 0 ? -EINVAL : r;
}

int import_holidays(int argc, char **argv)
{
    struct import i;
    int code;
    if (import_begin(argc, argv, 1, &i, &code))
        return code;
    return import_end(&i, load(&i));
}
