#include <string.h>

#include "collector/import.h"
#include "collector/lines.h"
#include "collector/mmdb.h"

static int copy_range(struct copy_buffer *b, int32_t set_id, const struct range *range,
                      const void *context)
{
    (void)context;
    struct network_row row = {.set_id = set_id,
                              .lo = range->lo,
                              .hi = range->hi,
                              .has_asn = range->has_asn,
                              .asn = range->asn};
    memcpy(row.country, range->country, sizeof row.country);
    return copy_network(b, &row);
}

static const struct dataset_kind networks = {"hirundo.prefix_set", "hirundo.network",
                                             COPY_NETWORK_COLUMNS, "hirundo.prefix_set_for",
                                             copy_range};

static int take_line(struct import *i, char *text, const struct line *line, uint32_t number,
                     struct prefix_list *list)
{
    struct prefix p;
    struct errmsg why;
    const char *kind = "line";
    int r = line->wrong ? errmsg_set(&why, -EINVAL, "%s", line->wrong)
                        : prefix_parse_line(text, &p, &kind, &why);
    if (r < 0)
        refusals_add(&i->refusals, number, kind, &why);
    if (r != 0)
        return 0;
    p.line = number;
    return prefix_list_add(list, &p, &i->e);
}

static int read_text(struct import *i, const char *path, struct prefix_list *list)
{
    _cleanup_(fclosep) FILE *f = import_file(path, &i->e);
    if (!f)
        return -EINVAL;
    char text[512];
    struct line line = {.ended = true};
    int r = 0;
    for (uint32_t number = 1; r == 0 && line_read(f, text, sizeof text, &line); number++) {
        r = take_line(i, text, &line, number, list);
        progress_show(&i->progress, "reading lines,", number, 0);
    }
    progress_clear(&i->progress);
    if (r < 0)
        return r;
    if (ferror(f))
        return errmsg_set(&i->e, -EIO, "%s: cannot be read", path);
    if (list->n == 0)
        return errmsg_set(&i->e, -EINVAL,
                          "%s: no prefix in it that can be taken; nothing was changed", path);
    if (!line.ended && !i->force)
        return errmsg_set(&i->e, -EINVAL,
                          "%s: its last line has no end: cut off? Nothing was changed; --force "
                          "takes it",
                          path);
    return 0;
}

// What one file says, flattened.
static int read_file(struct import *i, const char *path, size_t *n_prefixes, size_t *n_duplicates,
                     struct flattened *ret)
{
    struct prefix_list list = {0};
    i->refusals.file = path;
    int r = mmdb_is_one(path) ? mmdb_read(path, &i->refusals, &i->progress, &list, NULL, &i->e)
                              : read_text(i, path, &list);
    if (r == 0)
        r = prefixes_flatten(list.p, list.n, ret);
    if (r == 0) {
        *n_prefixes += list.n - ret->duplicates;
        *n_duplicates += ret->duplicates;
    }
    prefix_list_release(&list);
    return r;
}

// Lays the next file under those before it.
static int add_file(struct import *i, const char *path, size_t *n_prefixes, size_t *n_duplicates,
                    struct flattened *flat)
{
    _cleanup_(flattened_release) struct flattened one = {0};
    struct flattened both;
    int r = read_file(i, path, n_prefixes, n_duplicates, &one);
    if (r == 0 && flat->n > 0)
        r = ranges_overlay(flat, &one, &both);
    if (r < 0)
        return r;
    if (flat->n == 0) {
        both = one;
        one = (struct flattened){0};
    }
    flattened_release(flat);
    *flat = both;
    return 0;
}

static bool any_database(const struct import *i)
{
    bool any = false;
    for (size_t k = 0; k < i->n_files; k++)
        any = any || mmdb_is_one(i->files[k]);
    return any;
}

static void print_summary(const struct import *i, const struct dataset *set, size_t duplicates,
                          const struct dataset_report *report)
{
    char refused[256];
    refusals_summary(&i->refusals, any_database(i) ? "networks" : "lines", refused, sizeof refused);
    printf("%zu prefixes loaded as of %s, as %zu ranges; %s, %zu prefixes given twice (the last "
           "counts)\n",
           set->prefixes, set->as_of, set->flat->n, refused, duplicates);
    import_print_report(report);
}

static int load(struct import *i)
{
    _cleanup_(db_freep) struct db *db = NULL;
    if (import_open(i, &db))
        return 1;
    _cleanup_(flattened_release) struct flattened flat = {0};
    size_t prefixes = 0, duplicates = 0;
    char source[160];
    int r = 0;
    for (size_t k = 0; k < i->n_files && r == 0; k++)
        r = add_file(i, i->files[k], &prefixes, &duplicates, &flat);
    refusals_end(&i->refusals);
    if (r < 0)
        return r;
    import_source(i, source, sizeof source);
    struct dataset set = {.as_of = i->as_of,
                          .source = source,
                          .prefixes = prefixes,
                          .flat = &flat,
                          .force = i->force,
                          .progress = &i->progress};
    struct dataset_report report;
    r = dataset_load(db, &networks, &set, &report, &i->e);
    if (r == 0)
        print_summary(i, &set, duplicates, &report);
    return r > 0 ? -EINVAL : r;
}

int import_prefixes(int argc, char **argv)
{
    struct import i;
    int code;
    if (import_begin(argc, argv, 8, &i, &code))
        return code;
    return import_end(&i, load(&i));
}
