#include "collector/command.h"

#include <getopt.h>
#include <string.h>
#include <time.h>

#include "collector/migrate.h"
#include "common/printable.h"

int command_fail(const struct errmsg *e)
{
    struct errmsg shown = *e; // it may hold a name of others'
    printable(shown.text);
    fprintf(stderr, "hirundo-collector: %s\n", shown.text);
    return EXIT_FAILURE;
}

// -c FILE may stand before a subcommand's name: puts the name first.
void command_name_first(int argc, char **argv)
{
    bool apart = argc > 3 && (strcmp(argv[1], "-c") == 0 || strcmp(argv[1], "--config") == 0);
    bool joined = argc > 2 && !apart &&
                  (strncmp(argv[1], "--config=", 9) == 0 ||
                   (strncmp(argv[1], "-c", 2) == 0 && argv[1][2] != '\0'));
    if (!apart && !joined)
        return;
    size_t options = apart ? 2 : 1;
    char *name = argv[1 + options];
    memmove(&argv[2], &argv[1], options * sizeof *argv);
    argv[1] = name;
}

int command_dispatch(const struct subcommand *table, size_t n, const char *usage, int argc,
                     char **argv)
{
    command_name_first(argc, argv);
    if (argc < 2) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < n; i++)
        if (strcmp(argv[1], table[i].name) == 0) {
            char name[96];
            snprintf(name, sizeof name, "%s %s", argv[0], table[i].name);
            argv[1] = name;
            return table[i].run(argc - 1, argv + 1);
        }
    fprintf(stderr, "%s: unknown command \"%s\"\n%s", argv[0], argv[1], usage);
    return EXIT_USAGE;
}

static int usage_error(const struct command_line *line, int *ret_exit)
{
    fputs(line->usage, stderr);
    *ret_exit = EXIT_USAGE;
    return 1;
}

#define OPTIONS_MAX 24

int command_parse(const struct command_line *line, int argc, char **argv, const char **ret_conf,
                  char ***ret_words, int *ret_exit)
{
    struct option options[OPTIONS_MAX] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
    };
    for (size_t i = 0; line->extra && line->extra[i].name && i + 3 < OPTIONS_MAX; i++)
        options[i + 2] = line->extra[i];
    const char *conf = NULL;
    optind = 0;
    int c;
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(line->usage, stdout);
            *ret_exit = EXIT_SUCCESS;
            return 1;
        }
        if (c == 'c')
            conf = optarg;
        else if (c == '?' || line->on_option(c, optarg, line->data) < 0)
            return usage_error(line, ret_exit);
    }
    int words = argc - optind;
    if (words < line->words_min || words > line->words_max) {
        fprintf(stderr, "%s: %s\n", argv[0],
                words < line->words_min ? "an argument is missing" : "too many arguments");
        return usage_error(line, ret_exit);
    }
    *ret_conf = conf;
    *ret_words = argv + optind;
    return 0;
}

int command_set_number(const struct conf_key *key, const char *value, void *values)
{
    struct errmsg e = {"out of memory"};
    if (conf_set(key, value, values, &e) == 0)
        return 0;
    command_fail(&e);
    return -EINVAL;
}

int command_set_day(const char *name, const char *value, const char **ret)
{
    struct tm tm = {0};
    const char *end = strptime(value, "%Y-%m-%d", &tm);
    if (!end || *end || strlen(value) != 10) {
        fprintf(stderr, "hirundo-collector: --%s %s: must be a day such as 2023-02-08\n", name,
                value);
        return -EINVAL;
    }
    *ret = value;
    return 0;
}

int command_open(const char *conf_path, const char *role, struct collector_conf *ret_conf,
                 struct db **ret_db)
{
    struct collector_conf conf;
    struct errmsg e = {"out of memory"};
    int r = collector_conf_read(conf_path, &conf, &e);
    if (r < 0) {
        command_fail(&e);
        return r;
    }
    r = db_open(conf.connection, role, ret_db, &e);
    if (r < 0) {
        command_fail(&e);
        collector_conf_free(&conf);
        return r;
    }
    *ret_conf = conf;
    return 0;
}

static int take_owner(struct db *db, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select from pg_catalog.pg_roles o where o.rolname = 'hirundo_owner' and "
                     "pg_catalog.pg_has_role(o.oid, 'member') and current_user <> "
                     "'hirundo_analyst'",
                     0, NULL, &result, e);
    return r == 0 && PQntuples(result) > 0 ? db_exec(db, "set role hirundo_owner", e) : r;
}

int command_open_reader(const char *conf_path, struct collector_conf *ret_conf, struct db **ret_db)
{
    struct collector_conf conf;
    struct errmsg e = {"out of memory"};
    _cleanup_(db_freep) struct db *db = NULL;
    int r = command_open(conf_path, "hirundo_analyst", &conf, &db);
    if (r < 0)
        return r;
    r = take_owner(db, &e);
    if (r != 0) {
        command_fail(&e);
        collector_conf_free(&conf);
        return r < 0 ? r : -EPERM;
    }
    *ret_conf = conf;
    *ret_db = db;
    db = NULL;
    return 0;
}

int command_open_owner(const char *conf_path, struct collector_conf *ret_conf, struct db **ret_db)
{
    struct collector_conf conf;
    struct errmsg e = {"out of memory"};
    _cleanup_(db_freep) struct db *db = NULL;
    int r = command_open(conf_path, "hirundo_owner", &conf, &db);
    if (r < 0)
        return r;
    r = migrate_check(db, &e);
    if (r == 0 && ret_conf)
        *ret_conf = conf;
    else
        collector_conf_free(&conf);
    if (r < 0) {
        command_fail(&e);
        return r;
    }
    *ret_db = db;
    db = NULL;
    return 0;
}

int command_require_function(struct db *db, const char *function, struct errmsg *e)
{
    const char *values[] = {function};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select to_regprocedure($1) is not null", 1, values, &result, e);
    if (r == 0 && *PQgetvalue(result, 0, 0) != 't')
        r = errmsg_set(e, -EINVAL,
                       "the database is older than this program: run hirundo-collector migrate");
    return r;
}

int command_transaction(struct db *db, int (*work)(struct db *db, void *data, struct errmsg *e),
                        void *data, struct errmsg *e)
{
    int r = db_exec(db, "begin", e);
    if (r != 0)
        return r;
    r = work(db, data, e);
    if (r == 0)
        return db_exec(db, "commit", e);
    if (db_is_open(db))
        (void)db_exec(db, "rollback", NULL);
    return r;
}

// How many columns a terminal takes for the text.
static int width_of(const char *text)
{
    int encoding = pg_char_to_encoding("UTF8");
    int width = 0;
    for (const char *p = text; *p;) {
        int step = PQmblenBounded(p, encoding);
        width += MAX(PQdsplen(p, encoding), 0);
        p += MAX(step, 1);
    }
    return width;
}

static void print_cell(const char *text, int width, bool right, bool last)
{
    int pad = width - width_of(text);
    printf("%*s%s%*s%s", right ? pad : 0, "", text, right || last ? 0 : pad, "",
           last ? "\n" : "  ");
}

static bool is_number(const PGresult *result, int column)
{
    enum { INT8 = 20, INT4 = 23, NUMERIC = 1700 }; // their OIDs, which never change
    Oid type = PQftype(result, column);
    return type == INT8 || type == INT4 || type == NUMERIC;
}

void command_print_table(const PGresult *result)
{
    enum { COLUMNS_MAX = 16 };
    int columns = MIN(PQnfields(result), COLUMNS_MAX), rows = PQntuples(result);
    int widths[COLUMNS_MAX];
    for (int i = 0; i < columns; i++) {
        widths[i] = width_of(PQfname(result, i));
        for (int row = 0; row < rows; row++)
            widths[i] = MAX(widths[i], width_of(PQgetvalue(result, row, i)));
    }
    for (int row = -1; row < rows; row++)
        for (int i = 0; i < columns; i++)
            print_cell(row < 0 ? PQfname(result, i) : PQgetvalue(result, row, i), widths[i],
                       is_number(result, i), i == columns - 1);
}
