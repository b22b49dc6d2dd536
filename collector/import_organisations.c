#include <inttypes.h>

#include "collector/import.h"
#include "collector/organisations.h"
#include "collector/text.h"

// Adds to the array of prefixes those that the organisation has and shall not have, and the other
// way round.
static int add_changed(struct db *db, const char *id, const char *wanted, struct text *changed,
                       struct errmsg *e)
{
    const char *values[] = {id, wanted};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select coalesce(o.prefix, n.prefix)::text from (select prefix from "
                     "hirundo.organisation_prefix where organisation_id = $1::integer) o full join "
                     "(select distinct unnest($2::cidr[]) as prefix) n on n.prefix = o.prefix "
                     "where o.prefix is null or n.prefix is null",
                     2, values, &result, e);
    for (int i = 0; r == 0 && i < PQntuples(result); i++)
        text_array_word(changed, PQgetvalue(result, i, 0));
    return r;
}

static int load_organisation(struct db *db, const struct organisation *o, struct text *changed,
                             struct errmsg *e)
{
    const char *values[] = {o->name, o->contacts, o->tlp, o->prefixes};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "insert into hirundo.organisation (name, contacts, tlp) values ($1, $2, $3) "
                     "on conflict (name) do update set contacts = excluded.contacts, tlp = "
                     "excluded.tlp, imported_at = excluded.imported_at returning organisation_id",
                     3, values, &result, e);
    if (r != 0)
        return r;
    const char *prefixes[] = {PQgetvalue(result, 0, 0), o->prefixes};
    r = add_changed(db, prefixes[0], o->prefixes, changed, e);
    if (r == 0)
        r = db_query(db,
                     "delete from hirundo.organisation_prefix where organisation_id = $1::integer",
                     1, prefixes, NULL, e);
    if (r == 0)
        r = db_query(db,
                     "insert into hirundo.organisation_prefix (organisation_id, prefix) select "
                     "distinct $1::integer, unnest($2::cidr[])",
                     2, prefixes, NULL, e);
    return r;
}

// What was rolled up already names them too. Last: it holds up the rollup job until the commit.
static int restamp(struct db *db, struct text *changed, int64_t *ret_days, struct errmsg *e)
{
    if (changed->used == 0 && !changed->bad)
        return 0;
    text_array_end(changed);
    if (changed->bad)
        return -ENOMEM;
    const char *prefixes = changed->p;
    return db_query_number(db, "select hirundo.organisation_restamp($1::cidr[])", 1, &prefixes,
                           ret_days, e);
}

static int load_organisations(struct db *db, const struct organisations *o, int64_t *ret_days,
                              struct errmsg *e)
{
    _cleanup_(text_release) struct text changed = {0};
    int r = db_exec(db, "begin", e);
    if (r == 0) // another import may have the same names in another order
        r = db_exec(db, "lock table hirundo.organisation in share row exclusive mode", e);
    for (size_t i = 0; i < o->n && r == 0; i++) {
        r = load_organisation(db, &o->list[i], &changed, e);
        if (r != 0)
            errmsg_prefix(e, "organisation \"%.60s\"", o->list[i].name);
    }
    if (r == 0)
        r = restamp(db, &changed, ret_days, e);
    return r == 0 ? db_exec(db, "commit", e) : r;
}

static int load(struct import *i)
{
    _cleanup_(db_freep) struct db *db = NULL;
    _cleanup_(fclosep) FILE *f = NULL;
    _cleanup_(organisations_release) struct organisations o = {0};
    int r = import_open_with_file(i, &db, &f);
    if (r != 0)
        return r;
    r = organisations_read(f, &i->refusals, &o, &i->e);
    r = import_check(i, r, o.n, "organisation");
    if (r < 0)
        return r;
    int64_t days = 0;
    r = load_organisations(db, &o, &days, &i->e);
    size_t prefixes = 0;
    char refused[256];
    for (size_t k = 0; k < o.n; k++)
        prefixes += o.list[k].n_prefixes;
    refusals_summary(&i->refusals, "lines", refused, sizeof refused);
    if (r == 0)
        printf("%zu organisations with %zu prefixes loaded; %s\n", o.n, prefixes, refused);
    if (r == 0 && days > 0)
        printf("they count for all days: %" PRId64 " that were rolled up name them now\n", days);
    return r > 0 ? -EINVAL : r;
}

int import_organisations(int argc, char **argv)
{
    struct import i;
    int code;
    if (import_begin(argc, argv, 1, &i, &code))
        return code;
    return import_end(&i, load(&i));
}
