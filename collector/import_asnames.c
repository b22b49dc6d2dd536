#include <inttypes.h>
#include <string.h>

#include "collector/as_names.h"
#include "collector/import.h"
#include "collector/lines.h"
#include "collector/mmdb.h"

#define FLUSH_BYTES (1u << 20)

static int take_line(struct import *i, char *text, const struct line *line, size_t number,
                     struct as_names *names)
{
    uint32_t asn = 0;
    const char *name = NULL, *kind = "line";
    struct errmsg why;
    int r = line->wrong ? errmsg_set(&why, -EINVAL, "%s", line->wrong)
                        : as_names_parse_line(text, &asn, &name, &kind, &why);
    if (r < 0)
        refusals_add(&i->refusals, number, kind, &why);
    return r == 0 ? as_names_add(names, asn, name, &i->e) : 0;
}

static int read_text(struct import *i, const char *path, struct as_names *names)
{
    _cleanup_(fclosep) FILE *f = import_file(path, &i->e);
    if (!f)
        return -EINVAL;
    char text[AS_NAME_MAX_SIZE + 16];
    struct line line = {.ended = true};
    int r = 0;
    for (size_t number = 1; r == 0 && line_read(f, text, sizeof text, &line); number++)
        r = take_line(i, text, &line, number, names);
    if (r == 0 && ferror(f))
        r = errmsg_set(&i->e, -EIO, "%s: cannot be read", path);
    if (r == 0 && !line.ended && !i->force)
        r = errmsg_set(&i->e, -EINVAL,
                       "%s: its last line has no end: cut off? Nothing was changed; --force takes "
                       "it",
                       path);
    return r;
}

static int read_database(struct import *i, const char *path, struct as_names *names)
{
    struct prefix_list networks = {0};
    struct refusals uncounted = {.file = path};
    int r = mmdb_read(path, &uncounted, &i->progress, &networks, names, &i->e);
    prefix_list_release(&networks);
    return r;
}

static int copy_names(struct db *db, const struct as_names *names, struct errmsg *e)
{
    _cleanup_(copy_buffer_release) struct copy_buffer b = {0};
    int r = copy_begin(&b);
    if (r == 0)
        r = db_copy_begin(
            db, "copy hirundo.as_name (" COPY_AS_NAME_COLUMNS ") from stdin (format binary)", e);
    for (size_t i = 0; i < names->n && r == 0; i++) {
        r = copy_as_name(&b, names->list[i].asn, names->list[i].name);
        if (r == 0 && b.used > FLUSH_BYTES) {
            r = db_copy_put(db, b.p, b.used, e);
            b.used = 0;
        }
    }
    if (r == 0)
        r = copy_end(&b);
    if (r == 0)
        r = db_copy_put(db, b.p, b.used, e);
    return r == 0 ? db_copy_end(db, e) : r;
}

static int check_size(const struct import *i, struct db *db, size_t n, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select count(*) from hirundo.as_name", 0, NULL, &result, e);
    if (r != 0 || i->force)
        return r;
    uint64_t before = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    if (!dataset_shrunk(before, n))
        return 0;
    return errmsg_set(e, -EINVAL,
                      "%s: %zu names, where there are %" PRIu64
                      ": cut off? Nothing was changed; --force loads them",
                      i->files[0], n, before);
}

static int replace(struct import *i, struct db *db, const struct as_names *names)
{
    int r = db_exec(db, "begin", &i->e);
    if (r == 0) // another import's names are not seen before it commits, nor deleted here
        r = db_exec(db, "lock table hirundo.as_name in share row exclusive mode", &i->e);
    if (r == 0)
        r = check_size(i, db, names->n, &i->e);
    if (r == 0)
        r = db_exec(db, "delete from hirundo.as_name", &i->e);
    if (r == 0)
        r = copy_names(db, names, &i->e);
    return r == 0 ? db_exec(db, "commit", &i->e) : r;
}

static int load(struct import *i)
{
    _cleanup_(db_freep) struct db *db = NULL;
    if (import_open(i, &db))
        return 1;
    _cleanup_(as_names_release) struct as_names names = {0};
    char refused[256];
    int r = 0;
    for (size_t k = 0; k < i->n_files && r == 0; k++) {
        const char *path = i->refusals.file = i->files[k];
        r = mmdb_is_one(path) ? read_database(i, path, &names) : read_text(i, path, &names);
    }
    refusals_end(&i->refusals);
    size_t given = names.n;
    as_names_sort(&names);
    if (r == 0 && names.n == 0)
        r = errmsg_set(&i->e, -EINVAL, "%s: no name in it that can be taken; nothing was changed",
                       i->files[0]);
    if (r == 0)
        r = replace(i, db, &names);
    if (r != 0)
        return r > 0 ? -EINVAL : r;
    refusals_summary(&i->refusals, "lines", refused, sizeof refused);
    printf("%zu names loaded; %s, %zu names given twice (the last counts)\n", names.n, refused,
           given - names.n);
    return 0;
}

int import_asnames(int argc, char **argv)
{
    struct import i;
    int code;
    if (import_begin(argc, argv, 8, &i, &code))
        return code;
    return import_end(&i, load(&i));
}
