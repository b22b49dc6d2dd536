#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "collector/command.h"
#include "collector/copy_row.h"
#include "collector/migrate.h"
#include "collector/organisations.h"
#include "collector/prefixes.h"

static const char usage[] =
    "usage: hirundo-collector import prefixes FILE [--as-of YYYY-MM-DD]\n"
    "       hirundo-collector import organisations FILE\n"
    "prefixes: lines of prefix, AS, country, separated by tabs; AS and country may be empty. They "
    "become "
    "the data set of that day (default: today), replacing an earlier one of the same day.\n"
    "organisations: CSV with the heading name,prefixes,contacts,tlp; prefixes separated by "
    "semicolons. An "
    "organisation that is known is replaced.\n"
    "FILE may be - for standard input. Lines that cannot be taken are named and left out.\n";

#define FLUSH_BYTES (1u << 20)

static int open_owner(const char *conf_path, struct db **ret)
{
    struct collector_conf conf;
    struct errmsg e = {"out of memory"};
    _cleanup_(db_freep) struct db *db = NULL;
    int r = command_open(conf_path, "hirundo_owner", &conf, &db);
    if (r < 0)
        return r;
    collector_conf_free(&conf);
    r = migrate_check(db, &e);
    if (r < 0) {
        command_fail(&e);
        return r;
    }
    db_set_timeout(db, 10 * 60 * 1000);
    *ret = db;
    db = NULL;
    return 0;
}

// Spreadsheets put one before UTF-8. Nothing else that is taken begins with its first byte.
static void skip_byte_order_mark(FILE *f)
{
    int c = getc(f);
    if (c == 0xef && (c = getc(f)) == 0xbb && (c = getc(f)) == 0xbf)
        return;
    if (c != EOF)
        (void)ungetc(c, f);
}

static FILE *open_input(const char *path, struct errmsg *e)
{
    FILE *f = strcmp(path, "-") == 0 ? fdopen(dup(STDIN_FILENO), "re") : fopen(path, "re");
    if (!f)
        errmsg_set(e, -errno, "%s: %s", path, strerror(errno));
    else
        skip_byte_order_mark(f);
    return f;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// ---- prefixes

struct prefix_list {
    struct prefix *p;
    size_t n, size;
};

static int add_prefix(struct prefix_list *list, const struct prefix *p, struct errmsg *e)
{
    if (list->n == list->size) {
        size_t size = list->size ? list->size * 2 : 65536;
        struct prefix *grown = realloc(list->p, size * sizeof *grown);
        if (!grown)
            return errmsg_set(e, -ENOMEM, "out of memory");
        list->p = grown;
        list->size = size;
    }
    if (list->n == PREFIXES_MAX)
        return errmsg_set(e, -E2BIG, "more than %d prefixes", PREFIXES_MAX);
    list->p[list->n++] = *p;
    return 0;
}

// The next line without its end; false: there is none. *ret_wrong: why it cannot be taken, or NULL.
static bool read_line(FILE *f, char *line, size_t size, const char **ret_wrong)
{
    size_t n = 0;
    int c;
    *ret_wrong = NULL;
    while ((c = getc(f)) != EOF && c != '\n') {
        if (c == '\0')
            *ret_wrong = "a NUL byte in the line";
        else if (n + 1 < size)
            line[n++] = (char)c;
        else if (!*ret_wrong)
            *ret_wrong = "the line is too long for a prefix, an AS and a country";
    }
    line[n] = '\0';
    return c != EOF || n > 0 || *ret_wrong;
}

static int read_prefixes(FILE *f, struct refusals *refusals, struct prefix_list *list,
                         struct errmsg *e)
{
    char line[512];
    const char *wrong;
    for (uint32_t number = 1; read_line(f, line, sizeof line, &wrong); number++) {
        struct prefix p;
        struct errmsg why;
        int r = wrong ? errmsg_set(&why, -EINVAL, "%s", wrong) : prefix_parse_line(line, &p, &why);
        if (r == 0) {
            p.line = number;
            r = add_prefix(list, &p, e);
            if (r < 0)
                return r;
        } else if (r < 0) {
            refusals_add(refusals, number, &why);
        }
    }
    refusals_end(refusals);
    if (ferror(f))
        return errmsg_set(e, -EIO, "%s: cannot be read", refusals->file);
    if (list->n == 0)
        return errmsg_set(e, -EINVAL, "%s: no prefix in it that can be taken; nothing was changed",
                          refusals->file);
    return 0;
}

static int copy_ranges(struct db *db, int32_t set_id, const struct flattened *flat,
                       struct errmsg *e)
{
    _cleanup_(copy_buffer_release) struct copy_buffer b = {0};
    int r = copy_begin(&b);
    if (r == 0)
        r = db_copy_begin(
            db, "copy hirundo.network (" COPY_NETWORK_COLUMNS ") from stdin (format binary)", e);
    for (size_t i = 0; i < flat->n && r == 0; i++) {
        const struct range *range = &flat->ranges[i];
        struct network_row row = {.set_id = set_id,
                                  .lo = range->lo,
                                  .hi = range->hi,
                                  .has_asn = range->has_asn,
                                  .asn = range->asn};
        memcpy(row.country, range->country, sizeof row.country);
        r = copy_network(&b, &row);
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

static int new_set(struct db *db, const char *as_of, const char *source, size_t prefixes,
                   size_t ranges, int32_t *ret_id, struct errmsg *e)
{
    char n_prefixes[24], n_ranges[24];
    snprintf(n_prefixes, sizeof n_prefixes, "%zu", prefixes);
    snprintf(n_ranges, sizeof n_ranges, "%zu", ranges);
    const char *values[] = {as_of, source, n_prefixes, n_ranges};
    int r = db_query(db,
                     "delete from hirundo.network where set_id in (select set_id from "
                     "hirundo.prefix_set where as_of = $1::date)",
                     1, values, NULL, e);
    if (r == 0)
        r = db_query(db, "delete from hirundo.prefix_set where as_of = $1::date", 1, values, NULL,
                     e);
    _cleanup_(db_result_freep) PGresult *result = NULL;
    if (r == 0)
        r = db_query(db,
                     "insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values "
                     "($1::date, $2, $3::bigint, $4::bigint) returning set_id",
                     4, values, &result, e);
    if (r == 0)
        *ret_id = (int32_t)atoi(PQgetvalue(result, 0, 0));
    return r;
}

static int load_set(struct db *db, const char *as_of, const char *source, size_t prefixes,
                    const struct flattened *flat, struct errmsg *e)
{
    int32_t set_id = 0;
    int r = db_exec(db, "begin", e);
    if (r == 0)
        r = new_set(db, as_of, source, prefixes, flat->n, &set_id, e);
    if (r == 0)
        r = copy_ranges(db, set_id, flat, e);
    if (r == 0)
        r = db_exec(db, "commit", e);
    if (r == 0)
        r = db_exec(db, "analyze hirundo.network", e);
    return r;
}

static int on_prefix_option(int option, const char *value, void *data)
{
    struct tm tm = {0};
    const char *end = strptime(value, "%Y-%m-%d", &tm);
    if (option != 'a' || !end || *end || strlen(value) != 10) {
        fprintf(stderr, "hirundo-collector: --as-of %s: must be a day such as 2023-02-08\n", value);
        return -EINVAL;
    }
    *(const char **)data = value;
    return 0;
}

static int import_prefix_file(const char *conf_path, const char *path, const char *as_of,
                              struct errmsg *e)
{
    _cleanup_(fclosep) FILE *f = open_input(path, e);
    if (!f)
        return -EINVAL;
    _cleanup_(db_freep) struct db *db = NULL;
    if (open_owner(conf_path, &db) < 0)
        return 1; // said
    struct refusals refusals = {.file = path};
    struct prefix_list list = {0};
    struct flattened flat = {0};
    int r = read_prefixes(f, &refusals, &list, e);
    if (r == 0)
        r = prefixes_flatten(list.p, list.n, &flat);
    size_t kept = list.n - flat.duplicates;
    if (r == 0)
        r = load_set(db, as_of, base_name(path), kept, &flat, e);
    if (r == 0)
        printf("%zu prefixes loaded as of %s, as %zu ranges; %zu lines refused, %zu prefixes given "
               "twice (the last counts)\n",
               kept, as_of, flat.n, refusals.n, flat.duplicates);
    free(list.p);
    free(flat.ranges);
    return r > 0 ? -EINVAL : r;
}

static int import_prefixes(int argc, char **argv)
{
    static const struct option options[] = {{"as-of", required_argument, NULL, 'a'}, {0}};
    char today[16];
    time_t now = time(NULL);
    struct tm tm;
    strftime(today, sizeof today, "%Y-%m-%d", gmtime_r(&now, &tm));
    const char *as_of = today;
    const struct command_line line = {usage, options, on_prefix_option, &as_of, 1, 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    struct errmsg e = {"out of memory"};
    int r = import_prefix_file(conf_path, words[0], as_of, &e);
    return r == 0 ? EXIT_SUCCESS : r > 0 ? EXIT_FAILURE : command_fail(&e);
}

// ---- organisations

static int load_organisation(struct db *db, const struct organisation *o, struct errmsg *e)
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
    r = db_query(db, "delete from hirundo.organisation_prefix where organisation_id = $1::integer",
                 1, prefixes, NULL, e);
    if (r == 0)
        r = db_query(db,
                     "insert into hirundo.organisation_prefix (organisation_id, prefix) select "
                     "distinct $1::integer, unnest($2::cidr[])",
                     2, prefixes, NULL, e);
    return r;
}

static int load_organisations(struct db *db, const struct organisations *o, struct errmsg *e)
{
    int r = db_exec(db, "begin", e);
    for (size_t i = 0; i < o->n && r == 0; i++) {
        r = load_organisation(db, &o->list[i], e);
        if (r != 0)
            errmsg_prefix(e, "organisation \"%.60s\"", o->list[i].name);
    }
    return r == 0 ? db_exec(db, "commit", e) : r;
}

static int import_organisation_file(const char *conf_path, const char *path, struct errmsg *e)
{
    _cleanup_(fclosep) FILE *f = open_input(path, e);
    if (!f)
        return -EINVAL;
    _cleanup_(db_freep) struct db *db = NULL;
    if (open_owner(conf_path, &db) < 0)
        return 1; // said
    struct refusals refusals = {.file = path};
    _cleanup_(organisations_release) struct organisations o = {0};
    int r = organisations_read(f, &refusals, &o, e);
    if (r < 0) {
        errmsg_prefix(e, "%s", path);
        return r;
    }
    refusals_end(&refusals);
    if (o.n == 0)
        return errmsg_set(e, -EINVAL,
                          "%s: no organisation in it that can be taken; nothing was changed", path);
    r = load_organisations(db, &o, e);
    size_t prefixes = 0;
    for (size_t i = 0; i < o.n; i++)
        prefixes += o.list[i].n_prefixes;
    if (r == 0)
        printf("%zu organisations with %zu prefixes loaded; %zu lines refused\n", o.n, prefixes,
               refusals.n);
    return r > 0 ? -EINVAL : r;
}

static int import_organisations(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    struct errmsg e = {"out of memory"};
    int r = import_organisation_file(conf_path, words[0], &e);
    return r == 0 ? EXIT_SUCCESS : r > 0 ? EXIT_FAILURE : command_fail(&e);
}

int command_import(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"prefixes", import_prefixes},
        {"organisations", import_organisations},
    };
    return command_dispatch(table, ARRAY_SIZE(table), usage, argc, argv);
}
