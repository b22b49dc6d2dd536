#include <string.h>

#include "collector/import.h"
#include "collector/scanners.h"

static int copy_range(struct copy_buffer *b, int32_t set_id, const struct range *range,
                      const void *context)
{
    const struct scanner_list *list = context;
    return copy_scanner(b, set_id, &range->lo, &range->hi, list->names[range->label]);
}

static const struct dataset_kind scanners = {"hirundo.scanner_set", "hirundo.scanner_range",
                                             COPY_SCANNER_COLUMNS, "hirundo.scanner_set_for",
                                             copy_range};

static int read_file(struct import *i, const char *path, struct scanner_list *list)
{
    char name[SCANNER_NAME_SIZE];
    const char *whose = i->name;
    if (!whose && strcmp(path, "-") != 0 && scanners_name(path, name) == 0)
        whose = name;
    _cleanup_(fclosep) FILE *f = import_file(path, &i->e);
    if (!f)
        return -EINVAL;
    i->refusals.file = path;
    int r = scanners_read(f, whose, &i->refusals, list, &i->e);
    if (r == -EINVAL || r == -EIO)
        errmsg_prefix(&i->e, "%s", path);
    return r;
}

static int load_list(struct import *i, struct db *db, struct scanner_list *list)
{
    _cleanup_(flattened_release) struct flattened flat = {0};
    char source[160], refused[256];
    int r = prefixes_flatten(list->prefixes.p, list->prefixes.n, &flat);
    if (r < 0)
        return r;
    import_source(i, source, sizeof source);
    struct dataset set = {.as_of = i->as_of,
                          .source = source,
                          .prefixes = list->prefixes.n - flat.duplicates,
                          .flat = &flat,
                          .context = list,
                          .force = i->force,
                          .progress = &i->progress};
    struct dataset_report report;
    r = dataset_load(db, &scanners, &set, &report, &i->e);
    if (r != 0)
        return r;
    refusals_summary(&i->refusals, "lines", refused, sizeof refused);
    printf("%zu prefixes of %zu scanners loaded as of %s, as %zu ranges; %s, %zu prefixes given "
           "twice (the last counts)\n",
           set.prefixes, list->n_names, i->as_of, flat.n, refused, flat.duplicates);
    import_print_report(&report);
    return 0;
}

static int load(struct import *i)
{
    _cleanup_(db_freep) struct db *db = NULL;
    if (import_open(i, &db))
        return 1;
    _cleanup_(scanner_list_release) struct scanner_list list = {0};
    int r = 0;
    for (size_t k = 0; k < i->n_files && r == 0; k++)
        r = read_file(i, i->files[k], &list);
    refusals_end(&i->refusals);
    if (r == 0 && list.prefixes.n == 0)
        r = errmsg_set(&i->e, -EINVAL, "%s: no prefix in it that can be taken; nothing was changed",
                       i->files[0]);
    if (r == 0)
        r = load_list(i, db, &list);
    return r > 0 ? -EINVAL : r;
}

int import_scanners(int argc, char **argv)
{
    struct import i;
    int code;
    if (import_begin(argc, argv, IMPORT_FILES_MAX, &i, &code))
        return code;
    return import_end(&i, load(&i));
}
