#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "collector/import.h"

const char import_usage[] =
    "usage: hirundo-collector import prefixes FILE... [--as-of YYYY-MM-DD] [--force] [--quiet]\n"
    "       hirundo-collector import scanners FILE... [--name NAME] [--as-of YYYY-MM-DD] [--force] "
    "[--quiet]\n"
    "       hirundo-collector import asnames FILE... [--force] [--quiet]\n"
    "       hirundo-collector import organisations FILE\n"
    "       hirundo-collector import holidays FILE\n"
    "       hirundo-collector import sensors FILE [--out DIRECTORY] [--with-key]\n"
    "prefixes: a MaxMind database (.mmdb: Country, City, ASN, ISP), or lines of prefix, AS, "
    "country, separated by tabs; AS and country may be empty. Of several files each fills in what "
    "those before it leave open: Country.mmdb ASN.mmdb. They become the data set of that day "
    "(default: today), replacing an earlier one of the same day. A data set counts from its day "
    "on until the next one's, the oldest for all days before it, too: what was rolled up of these "
    "days is rolled up again, where their flows are kept. For earlier days load it with --as-of.\n"
    "scanners: known research scanners: lists of prefixes or addresses, one a line, whose file "
    "names say whose they are (censys_v4.txt) unless --name does; or CSV with the heading "
    "prefix,name. All files together become the data set of that day, as with prefixes.\n"
    "asnames: lines of AS and name, separated by a tab, or a MaxMind database (ASN, ISP). They "
    "replace all names.\n"
    "organisations: CSV with the heading name,prefixes,contacts,tlp; prefixes separated by "
    "semicolons. An organisation that is known is replaced. They have no date: all days, rolled up "
    "or not, are of the organisations as they are now.\n"
    "holidays: CSV with the heading country,day,name. The years of a country that are in it are "
    "replaced; where lines are refused only with --force, else what is there stays.\n"
    "sensors: CSV with the heading name,country,label_en,label_ja,hosted_by,key (the last four may "
    "be missing or empty): each is added as by sensor add, with a bundle NAME.bundle in DIRECTORY "
    "unless its key is given.\n"
    "FILE may be - for standard input. What cannot be taken is named and left out. A file whose "
    "last line has no end, or that has far fewer prefixes than the data set before it, is taken "
    "only with --force. --quiet: no progress.\n";

static int on_option(int option, const char *value, void *data)
{
    struct import *i = data;
    switch (option) {
    case 'a':
        return command_set_day("as-of", value, &i->as_of);
    case 'n':
        i->name = value;
        return 0;
    case 'o':
        i->out = value;
        return 0;
    case 'k':
        i->with_key = true;
        return 0;
    case 'f':
        i->force = true;
        return 0;
    default:
        i->quiet = true;
        return 0;
    }
}

int import_begin(int argc, char **argv, int files_max, struct import *ret, int *ret_exit)
{
    static const struct option options[] = {{"as-of", required_argument, NULL, 'a'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"with-key", no_argument, NULL, 'k'},
                                            {"force", no_argument, NULL, 'f'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {0}};
    struct import i = {.e = {"out of memory"}};
    const struct command_line line = {import_usage, options, on_option, &i, 1, files_max};
    if (command_parse(&line, argc, argv, &i.conf_path, &i.files, ret_exit))
        return 1;
    for (char **word = i.files; *word; word++)
        i.n_files++;
    time_t now = time(NULL);
    struct tm tm;
    strftime(i.today, sizeof i.today, "%Y-%m-%d", gmtime_r(&now, &tm));
    progress_begin(&i.progress, i.quiet);
    *ret = i;
    if (!ret->as_of)
        ret->as_of = ret->today;
    return 0;
}

int import_open(const struct import *i, struct db **ret)
{
    if (command_open_owner(i->conf_path, NULL, ret) < 0)
        return 1;
    db_set_timeout(*ret, 10 * 60 * 1000);
    return 0;
}

// Spreadsheets put a byte order mark before UTF-8. Two bytes tell the usual compressed files.
static int check_start(FILE *f, const char *path, struct errmsg *e)
{
    int a = getc(f), b = a == EOF ? EOF : getc(f);
    if (a == 0xef && b == 0xbb && getc(f) == 0xbf)
        return 0;
    if ((a == 0x28 && b == 0xb5) || (a == 0x1f && b == 0x8b) || (a == 0xfd && b == '7'))
        return errmsg_set(e, -EINVAL, "%s is compressed: unpack it, or into import ... -", path);
    if (b != EOF)
        (void)ungetc(b, f);
    if (a != EOF)
        (void)ungetc(a, f);
    return 0;
}

FILE *import_file(const char *path, struct errmsg *e)
{
    FILE *f = strcmp(path, "-") == 0 ? fdopen(dup(STDIN_FILENO), "re") : fopen(path, "re");
    if (!f)
        errmsg_set(e, -errno, "%s: %s", path, strerror(errno));
    if (f && check_start(f, path, e) < 0) {
        fclose(f);
        f = NULL;
    }
    return f;
}

int import_open_with_file(struct import *i, struct db **ret_db, FILE **ret_f)
{
    if (import_open(i, ret_db))
        return 1;
    *ret_f = import_file(i->files[0], &i->e);
    if (!*ret_f)
        return -EINVAL;
    i->refusals.file = i->files[0];
    return 0;
}

int import_check(struct import *i, int r, size_t n, const char *what)
{
    if (r < 0) {
        errmsg_prefix(&i->e, "%s", i->files[0]);
        return r;
    }
    refusals_end(&i->refusals);
    if (n == 0)
        return errmsg_set(&i->e, -EINVAL, "%s: no %s in it that can be taken; nothing was changed",
                          i->files[0], what);
    return 0;
}

int import_end(struct import *i, int r)
{
    progress_clear(&i->progress);
    if (r == 0)
        return EXIT_SUCCESS;
    return r == 1 ? EXIT_FAILURE : command_fail(&i->e);
}

void import_source(const struct import *i, char *text, size_t size)
{
    const char *slash = strrchr(i->files[0], '/');
    const char *base = slash ? slash + 1 : i->files[0];
    if (i->n_files == 1)
        snprintf(text, size, "%s", base);
    else
        snprintf(text, size, "%s and %zu more", base, i->n_files - 1);
}

// For which days a set counts.
static void print_span(const struct dataset_report *report)
{
    const char *first = report->first, *past = report->past;
    if (*first && *past)
        printf("it counts for the days from %s on, until the data set of %s\n", first, past);
    else if (*first)
        printf("it counts for the days from %s on; for those before, older data sets do\n", first);
    else if (*past)
        printf("it counts for all days before the data set of %s\n", past);
    else
        printf("it counts for all days\n");
}

void import_print_report(const struct dataset_report *report)
{
    print_span(report);
    if (report->days_marked > 0)
        printf("%" PRId64 " days will be rolled up again, with this data set\n",
               report->days_marked);
    if (report->sets_deleted > 0)
        printf("%" PRId64 " old data sets deleted (setting keep_data_sets)\n",
               report->sets_deleted);
}

int command_import(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"prefixes", import_prefixes}, {"organisations", import_organisations},
        {"scanners", import_scanners}, {"asnames", import_asnames},
        {"sensors", import_sensors},   {"holidays", import_holidays},
    };
    return command_dispatch(table, ARRAY_SIZE(table), import_usage, argc, argv);
}
