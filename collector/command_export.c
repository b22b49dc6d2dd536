// hirundo-collector export: a case file for a notice.
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "collector/command.h"
#include "collector/enrol.h"
#include "collector/export.h"
#include "collector/partner.h"
#include "common/clock.h"
#include "common/printable.h"

static const char usage[] =
    "usage: hirundo-collector export [-c FILE] ORGANISATION PERIOD --out DIR [--format "
    "html,csv,xarf] [--quiet]\n"
    "Writes a case file for a notice to an organisation under watch (import organisations):\n"
    "documents in English and Japanese, its hosts and each observation as CSV, X-ARF v4, and a\n"
    "manifest with the SHA-256 of each file, signed with the operator's key. Sensors have\n"
    "pseudonyms in it, made for that organisation; their addresses are nowhere. DIR must not be\n"
    "there yet, or be empty. PERIOD: 2023Q1, 2023-02, 2023-W06, 2023-02-08 or FROM..TO (TO\n"
    "exclusive), in the reporting time zone.\n"
    "  --format LIST         some of html (with plain text), csv, xarf; without it all, X-ARF\n"
    "                        where the settings reporter_name and reporter_contact say who "
    "reports\n"
    "  --operator-key FILE   signs it (default: [enrolment] operator_key); made when it is "
    "missing\n"
    "  --pseudonym-key FILE  0600, from which sensors get their names (default: [sharing]\n"
    "                        pseudonym_key); made when it is missing\n"
    "  --quiet               no progress, no list of what was written\n";

// A year of hundreds of sensors, on a slow disk.
#define EXPORT_TIMEOUT_MS (60 * 60 * 1000)
#define MIB               (1024.0 * 1024)

struct options {
    const char *out, *operator_key, *pseudonym_key;
    int formats; // 0: all there can be
    bool quiet;
};

static int parse_formats(const char *list, int *ret)
{
    static const char *const names[] = {"html", "csv", "xarf"};
    int formats = 0;
    for (const char *p = list;; p++) {
        size_t n = strcspn(p, ","), i = 0;
        while (i < ARRAY_SIZE(names) && (strlen(names[i]) != n || strncmp(names[i], p, n) != 0))
            i++;
        if (i == ARRAY_SIZE(names)) {
            fprintf(stderr, "hirundo-collector: --format %s: must be some of html,csv,xarf\n",
                    list);
            return -EINVAL;
        }
        formats |= 1 << i; // as enum export_format has them
        p += n;
        if (*p == '\0')
            break;
    }
    *ret = formats;
    return 0;
}

static int on_option(int option, const char *value, void *data)
{
    struct options *o = data;
    switch (option) {
    case 'o':
        o->out = value;
        return 0;
    case 'f':
        return parse_formats(value, &o->formats);
    case 'k':
        o->operator_key = value;
        return 0;
    case 'p':
        o->pseudonym_key = value;
        return 0;
    default:
        o->quiet = true;
        return 0;
    }
}

// X-ARF where it was asked for, else where it can be.
static int choose_formats(const struct options *o, struct export *x, struct errmsg *e)
{
    const char *why = export_value(x, EXPORT_NO_XARF);
    x->formats = o->formats ? o->formats : EXPORT_HTML | EXPORT_CSV | EXPORT_XARF;
    if (!(x->formats & EXPORT_XARF) || !*why)
        return 0;
    if (o->formats)
        return errmsg_set(e, -EINVAL, "%s", why);
    x->formats &= ~EXPORT_XARF;
    if (!o->quiet)
        fprintf(stderr, "without X-ARF: %s\n", why);
    return 0;
}

struct keys {
    struct operator_key *operator_key;
    struct pseudonym_key pseudonyms;
};

static int open_keys(struct db *db, const struct collector_conf *conf, const struct options *o,
                     struct keys *ret, struct errmsg *e)
{
    const struct enrol_options enrol = {.operator_key = o->operator_key};
    const char *path = o->pseudonym_key ? o->pseudonym_key : conf->pseudonym_key;
    bool made = false;
    int r = enrol_open_operator(conf, &enrol, &ret->operator_key, &made, e);
    if (r == 0 && made)
        enrol_say_operator_made(conf, &enrol);
    made = false;
    if (r == 0)
        r = partner_open_key(db, path, false, &ret->pseudonyms, &made, e);
    if (r == 0 && made)
        fprintf(stderr, "made the pseudonym key %s: keep a copy in a safe place\n", path);
    return r;
}

// ---- for the person at the keyboard

// A word for the shell. What a terminal would obey goes as $'\033', which bash, zsh and ksh read.
static void print_quoted(const char *word)
{
    bool plain = is_printable(word);
    fputs(plain ? "'" : "$'", stdout);
    for (; *word; word++)
        if (!plain && (*word < ' ' || *word > '~' || *word == '\'' || *word == '\\'))
            printf("\\%03o", (unsigned char)*word);
        else if (*word == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*word);
    putchar('\'');
}

// What to type when it is sent, word for word.
static void print_notice(const struct export *x, const char *conf_path)
{
    const char *ports = PQgetvalue(x->notice, 0, 1);
    fputs("hirundo-collector notice add", stdout);
    if (conf_path) {
        fputs(" -c ", stdout);
        print_quoted(conf_path);
    }
    printf(" --sent %s%s%s --reference '%s' -- ", export_value(x, EXPORT_TODAY),
           *ports ? " --ports " : "", ports, x->reference);
    print_quoted(x->organisation);
    putchar('\n');
}

static void print_written(const struct export *x, const char *conf_path, int64_t ms)
{
    size_t n;
    uint64_t bytes = 0, sources = 0, reports = UINT64_MAX;
    const struct case_file *files = case_dir_files(x->dir, &n);
    for (size_t i = 0; i < n; i++) {
        char rows[32] = "";
        if (files[i].rows)
            snprintf(rows, sizeof rows, "%" PRIu64 " rows", files[i].rows);
        printf("%-14s %14s %14" PRIu64 " bytes  %6.2f s\n", files[i].name, rows, files[i].bytes,
               (double)files[i].ms / 1000);
        bytes += files[i].bytes;
        if (strcmp(files[i].name, "sources.csv") == 0)
            sources = files[i].rows;
        if (strcmp(files[i].name, "xarf.jsonl") == 0)
            reports = files[i].rows;
    }
    if (reports < sources)
        printf("X-ARF has %" PRIu64 " of %" PRIu64 " hosts and ports: it cannot say ICMP, GRE, "
               "fragments, nor what is no longer in hirundo.flow\n",
               reports, sources);
    printf("%s: %s hosts of %s, TLP:%s; %zu files, %.1f MiB in all, %.1f s\n", x->out,
           export_value(x, EXPORT_HOSTS), export_value(x, EXPORT_ORGANISATION),
           export_value(x, EXPORT_TLP), n, (double)bytes / MIB, (double)ms / 1000);
    if (*export_value(x, EXPORT_CONTACTS))
        printf("its contacts: %s\n", export_value(x, EXPORT_CONTACTS));
    puts("once it is sent, note that, with the day on which it was:");
    fputs("    ", stdout);
    print_notice(x, conf_path);
}

static int export_all(struct db *db, const struct collector_conf *conf, const char *conf_path,
                      struct export *x, const struct options *o, struct errmsg *e)
{
    struct keys keys = {0};
    int64_t begun = mono_ms();
    progress_begin(&x->progress, o->quiet);
    int r = command_require_function(db, "hirundo.export_head(text,text)", e);
    if (r == 0)
        r = export_begin(db, x, e);
    if (r == 0)
        r = choose_formats(o, x, e);
    if (r == 0)
        r = open_keys(db, conf, o, &keys, e);
    if (r == 0)
        r = export_write(db, x, keys.operator_key, &keys.pseudonyms, e);
    if (r == 0 && !o->quiet)
        print_written(x, conf_path, mono_ms() - begun);
    operator_key_free(keys.operator_key);
    pseudonym_key_wipe(&keys.pseudonyms);
    return r;
}

int command_export(int argc, char **argv)
{
    static const struct option extra[] = {{"out", required_argument, NULL, 'o'},
                                          {"format", required_argument, NULL, 'f'},
                                          {"operator-key", required_argument, NULL, 'k'},
                                          {"pseudonym-key", required_argument, NULL, 'p'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {0}};
    struct options o = {0};
    const struct command_line line = {usage, extra, on_option, &o, 2, 2};
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
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    if (command_open_reader(conf_path, &conf, &db) < 0)
        return EXIT_FAILURE;
    db_set_timeout(db, EXPORT_TIMEOUT_MS);
    struct export x = {.organisation = words[0], .period = words[1], .out = o.out};
    _cleanup_(interrupt_freep) struct interrupt *interrupt = NULL;
    int r = interrupt_new(db, &interrupt, &e);
    x.interrupt = interrupt;
    if (r == 0)
        r = export_all(db, &conf, conf_path, &x, &o, &e);
    // a statement that was cancelled says so in PostgreSQL's words
    if (r != 0 && interrupt)
        (void)interrupt_check(interrupt, &e);
    export_release(&x);
    collector_conf_free(&conf);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
}
