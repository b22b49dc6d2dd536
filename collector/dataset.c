#include "collector/dataset.h"

#include <inttypes.h>

#define FLUSH_BYTES   (1u << 20)
#define COMPARED_MIN  1000 // prefixes of the set before
#define SHRUNK_TENTHS 9

bool dataset_shrunk(uint64_t before, uint64_t n)
{
    return before >= COMPARED_MIN && n < before / 10 * SHRUNK_TENTHS;
}

static int check_size(struct db *db, const struct dataset_kind *kind, const struct dataset *set,
                      struct errmsg *e)
{
    char sql[256];
    _cleanup_(db_result_freep) PGresult *result = NULL;
    snprintf(sql, sizeof sql, "select prefixes, as_of from %s where set_id = %s($1::date)",
             kind->sets, kind->set_for);
    int r = db_query(db, sql, 1, &set->as_of, &result, e);
    if (r != 0 || set->force || PQntuples(result) == 0)
        return r;
    uint64_t before = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    if (!dataset_shrunk(before, set->prefixes))
        return 0;
    return errmsg_set(e, -EINVAL,
                      "%s has %zu prefixes, the data set of %s before it %" PRIu64
                      ": cut off, or another kind of list? Nothing was changed; --force loads it",
                      set->source, set->prefixes, PQgetvalue(result, 0, 1), before);
}

static int make_set(struct db *db, const struct dataset_kind *kind, const struct dataset *set,
                    int32_t *ret_id, struct errmsg *e)
{
    char sql[320], n_prefixes[24], n_ranges[24];
    snprintf(n_prefixes, sizeof n_prefixes, "%zu", set->prefixes);
    snprintf(n_ranges, sizeof n_ranges, "%zu", set->flat->n);
    const char *values[] = {set->as_of, set->source, n_prefixes, n_ranges};
    snprintf(sql, sizeof sql,
             "delete from %s where set_id in (select set_id from %s where as_of = $1::date)",
             kind->ranges, kind->sets);
    int r = db_query(db, sql, 1, values, NULL, e);
    snprintf(sql, sizeof sql, "delete from %s where as_of = $1::date", kind->sets);
    if (r == 0)
        r = db_query(db, sql, 1, values, NULL, e);
    _cleanup_(db_result_freep) PGresult *result = NULL;
    snprintf(sql, sizeof sql,
             "insert into %s (as_of, source, prefixes, ranges) values ($1::date, $2, $3::bigint, "
             "$4::bigint) returning set_id",
             kind->sets);
    if (r == 0)
        r = db_query(db, sql, 4, values, &result, e);
    if (r == 0)
        *ret_id = (int32_t)atoi(PQgetvalue(result, 0, 0));
    return r;
}

static int copy_ranges(struct db *db, const struct dataset_kind *kind, const struct dataset *set,
                       int32_t set_id, struct errmsg *e)
{
    _cleanup_(copy_buffer_release) struct copy_buffer b = {0};
    char sql[160];
    snprintf(sql, sizeof sql, "copy %s (%s) from stdin (format binary)", kind->ranges,
             kind->columns);
    int r = copy_begin(&b);
    if (r == 0)
        r = db_copy_begin(db, sql, e);
    for (size_t i = 0; i < set->flat->n && r == 0; i++) {
        r = kind->copy(&b, set_id, &set->flat->ranges[i], set->context);
        if (r == 0 && b.used > FLUSH_BYTES) {
            r = db_copy_put(db, b.p, b.used, e);
            b.used = 0;
            progress_show(set->progress, "loading", i, set->flat->n);
        }
    }
    if (r == 0)
        r = copy_end(&b);
    if (r == 0)
        r = db_copy_put(db, b.p, b.used, e);
    return r == 0 ? db_copy_end(db, e) : r;
}

// For which days the set counts.
static int find_span(struct db *db, const struct dataset_kind *kind, const char *as_of,
                     struct dataset_report *report, struct errmsg *e)
{
    char sql[320];
    _cleanup_(db_result_freep) PGresult *result = NULL;
    snprintf(sql, sizeof sql,
             "select (select $1::date from %s where as_of < $1::date limit 1), (select min(as_of) "
             "from %s where as_of > $1::date)",
             kind->sets, kind->sets);
    int r = db_query(db, sql, 1, &as_of, &result, e);
    if (r != 0)
        return r;
    snprintf(report->first, sizeof report->first, "%s", PQgetvalue(result, 0, 0));
    snprintf(report->past, sizeof report->past, "%s", PQgetvalue(result, 0, 1));
    return 0;
}

// Those days that were rolled up with another set.
static int mark_days(struct db *db, struct dataset_report *report, struct errmsg *e)
{
    const char *span[] = {report->first, report->past};
    return db_query_number(db,
                           "select hirundo.rollup_restamp(coalesce(nullif($1, '')::date, "
                           "'-infinity'), coalesce(nullif($2, '')::date, 'infinity'))",
                           2, span, &report->days_marked, e);
}

static int in_transaction(struct db *db, const struct dataset_kind *kind, const struct dataset *set,
                          struct dataset_report *report, struct errmsg *e)
{
    int32_t set_id = 0;
    // Two imports of one day at once would not see each other's set, and both stay. Both kinds,
    // since old sets of either are deleted below.
    int r = db_exec(
        db, "lock table hirundo.prefix_set, hirundo.scanner_set in share row exclusive mode", e);
    if (r == 0)
        r = check_size(db, kind, set, e);
    if (r == 0)
        r = make_set(db, kind, set, &set_id, e);
    if (r == 0)
        r = copy_ranges(db, kind, set, set_id, e);
    progress_show(set->progress, "committing", 0, 0);
    if (r == 0)
        r = db_query_number(db, "select count(*) from hirundo.data_sets_expire()", 0, NULL,
                            &report->sets_deleted, e);
    if (r == 0)
        r = find_span(db, kind, set->as_of, report, e);
    if (r == 0) // last: it holds up the rollup job until the commit
        r = mark_days(db, report, e);
    return r;
}

int dataset_load(struct db *db, const struct dataset_kind *kind, const struct dataset *set,
                 struct dataset_report *ret, struct errmsg *e)
{
    struct dataset_report report = {0};
    char sql[64];
    int r = db_exec(db, "begin", e);
    if (r == 0)
        r = in_transaction(db, kind, set, &report, e);
    if (r == 0)
        r = db_exec(db, "commit", e);
    snprintf(sql, sizeof sql, "analyze %s", kind->ranges);
    if (r == 0)
        r = db_exec(db, sql, e);
    progress_clear(set->progress);
    if (r == 0)
        *ret = report;
    return r;
}
