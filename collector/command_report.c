#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "collector/command.h"
#include "collector/interrupt.h"
#include "collector/progress.h"
#include "collector/report_page.h"
#include "collector/report_site.h"
#include "common/clock.h"

static const char usage[] =
    "usage: hirundo-collector report [-c FILE] PERIOD --out DIR [--extra PORT] [--lang ja|en] "
    "[--audience public|internal] [--quiet]\n"
    "Writes a site that opens from disk and from any web server: index.html (both languages "
    "inside, --lang is the one it opens in, default ja), report.json with all data, one CSV per "
    "figure. PERIOD: 2023Q1, 2023-02, 2023-W06, 2023-02-08 or FROM..TO (TO exclusive), in the "
    "reporting time zone.\n"
    "  --extra PORT          an extra edition about one port (22/TCP; TCP where no protocol is "
    "said): since when, where, from where, tools, TTLs, what it is not\n"
    "  --audience public     the default: fit for anybody; sensors by label alone, whole weeks or "
    "months, nothing that a single sensor could have moved\n"
    "  --audience internal   everything, regions beside labels too; readable for you alone\n"
    "  --quiet               no progress, no list of what was written\n";

// A year of hundreds of sensors, on a slow disk.
#define REPORT_TIMEOUT_MS (30 * 60 * 1000)
#define FIGURES_MAX       1000

struct options {
    const char *out, *lang, *audience, *extra;
    bool quiet;
};

static int choice(const char *name, const char *value, const char *a, const char *b,
                  const char **ret)
{
    if (strcmp(value, a) != 0 && strcmp(value, b) != 0) {
        fprintf(stderr, "hirundo-collector: --%s %s: must be %s or %s\n", name, value, a, b);
        return -EINVAL;
    }
    *ret = value;
    return 0;
}

static int on_option(int option, const char *value, void *data)
{
    struct options *o = data;
    switch (option) {
    case 'o':
        o->out = value;
        return 0;
    case 'l':
        return choice("lang", value, "ja", "en", &o->lang);
    case 'e':
        o->extra = value;
        return 0;
    case 'a':
        return choice("audience", value, "public", "internal", &o->audience);
    default:
        o->quiet = true;
        return 0;
    }
}

static bool is_file_name(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && id[n] == '\0' && n < sizeof((struct report_figure *)NULL)->id;
}

// Which figures there are. Each is known by its id, which becomes a file's name.
static int list_figures(struct db *db, const char *const *values, struct report_site *site,
                        PGresult **ret_entries, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *list = NULL;
    int r = db_query(
        db, "select id, to_jsonb(f) from hirundo.report_entries(hirundo.period($1), $2, $3) f", 3,
        values, &list, e);
    if (r != 0)
        return r;
    int n = PQntuples(list);
    site->figures = calloc((size_t)MIN(n, FIGURES_MAX) + 1, sizeof *site->figures);
    if (!site->figures)
        return errmsg_set(e, -ENOMEM, "out of memory");
    for (int i = 0; i < n && i < FIGURES_MAX; i++) {
        const char *id = PQgetvalue(list, i, 0);
        if (!is_file_name(id))
            return errmsg_set(e, -EINVAL, "the figure \"%s\" has no fit name for a file", id);
        snprintf(site->figures[i].id, sizeof site->figures[i].id, "%s", id);
        site->n++;
    }
    *ret_entries = list;
    list = NULL;
    return 0;
}

static int make_figures(struct db *db, const PGresult *entries, struct report_site *site,
                        struct progress *progress, struct errmsg *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < site->n; i++) {
        struct report_figure *figure = &site->figures[i];
        const char *entry[] = {PQgetvalue(entries, (int)i, 1)};
        int64_t begun = mono_ms();
        progress_show(progress, figure->id, i, site->n);
        r = db_query(db,
                     "select f, hirundo.report_csv(f), jsonb_array_length(f -> 'rows') from "
                     "hirundo.report_make($1) f",
                     1, entry, &figure->made, e);
        figure->ms = mono_ms() - begun;
        if (r != 0)
            errmsg_prefix(e, "figure %s", figure->id);
    }
    progress_clear(progress);
    return r;
}

// One snapshot: all figures speak of the same rows.
static int gather(struct db *db, const char *const *values, struct report_site *site,
                  struct progress *progress, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *entries = NULL;
    int r = db_exec(db, "begin isolation level repeatable read, read only", e);
    if (r == 0)
        r = list_figures(db, values, site, &entries, e);
    if (r == 0)
        r = db_query(db, "select hirundo.report_head(hirundo.period($1), $2, $3)", 3, values,
                     &site->head, e);
    // before the long work
    if (r == 0)
        r = report_site_check(site, e);
    if (r == 0)
        r = make_figures(db, entries, site, progress, e);
    if (r == 0)
        r = db_exec(db, "rollback", e);
    return r;
}

static void print_written(const struct report_site *site, int64_t ms)
{
    for (size_t i = 0; i < site->n; i++) {
        const struct report_figure *f = &site->figures[i];
        printf("%-24s %6s rows  %8zu bytes of CSV  %6.2f s\n", f->id, PQgetvalue(f->made, 0, 2),
               strlen(PQgetvalue(f->made, 0, 1)), (double)f->ms / 1000);
    }
    printf("%s/index.html: %zu figures, %s; %.1f MiB in all, %.1f s\n", site->out, site->n,
           site->internal ? "for internal use" : "for the public",
           (double)site->bytes / (1024 * 1024), (double)ms / 1000);
}

static int report(struct db *db, const struct interrupt *interrupt, const char *period,
                  const struct options *o, struct errmsg *e)
{
    const char *values[] = {period, o->audience, o->extra};
    struct report_site site = {
        .out = o->out, .lang = o->lang, .internal = strcmp(o->audience, "internal") == 0};
    struct progress progress;
    int64_t begun = mono_ms();
    progress_begin(&progress, o->quiet);
    int r = command_require_function(db, "hirundo.report_make(jsonb)", e);
    if (r == 0)
        r = gather(db, values, &site, &progress, e);
    if (r == 0)
        r = interrupt_check(interrupt, e);
    if (r == 0)
        r = report_site_write(&site, e);
    if (r == 0 && !o->quiet)
        print_written(&site, mono_ms() - begun);
    report_site_release(&site);
    return r;
}

int command_report(int argc, char **argv)
{
    static const struct option extra[] = {
        {"out", required_argument, NULL, 'o'},      {"lang", required_argument, NULL, 'l'},
        {"audience", required_argument, NULL, 'a'}, {"extra", required_argument, NULL, 'e'},
        {"quiet", no_argument, NULL, 'q'},          {0}};
    struct options o = {.lang = "ja", .audience = "public"};
    const struct command_line line = {usage, extra, on_option, &o, 1, 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    if (!o.out || !*o.out) {
        fprintf(stderr, "%s: --out names the directory to write to\n", argv[0]);
        return EXIT_USAGE;
    }
    struct errmsg e = {"out of memory"};
    if (!report_page[0]) {
        errmsg_set(&e, -ENOSYS,
                   "this program was built without the report's page: run collector/report/build "
                   "in its source tree, and build it again");
        return command_fail(&e);
    }
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    if (command_open(conf_path, "hirundo_analyst", &conf, &db) < 0)
        return EXIT_FAILURE;
    collector_conf_free(&conf);
    db_set_timeout(db, REPORT_TIMEOUT_MS);
    _cleanup_(interrupt_freep) struct interrupt *interrupt = NULL;
    int r = interrupt_new(db, &interrupt, &e);
    if (r == 0)
        r = report(db, interrupt, *words, &o, &e);
    // a statement that was cancelled says so in PostgreSQL's words
    if (r != 0 && interrupt)
        (void)interrupt_check(interrupt, &e);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
}
