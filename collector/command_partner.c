// hirundo-collector partner: who outside reads what.
#include <getopt.h>
#include <string.h>

#include "collector/command.h"
#include "collector/partner.h"

static const char usage[] =
    "usage: hirundo-collector partner add NAME [--sensors A,B,...] [conditions]\n"
    "       hirundo-collector partner set NAME [--sensors A,B,...] [conditions]\n"
    "       hirundo-collector partner list | show NAME | drop NAME\n"
    "NAME: lower-case letters, digits and hyphens. add makes the login partner_NAME, which reads "
    "the\n"
    "schema partner_NAME and nothing else: rows of its own sensors, figures of all others. It has "
    "no\n"
    "password: set one in psql with \\password partner_NAME, or admit it by certificate.\n"
    "  --sensors A,B,...     its own sensors, all of them; set replaces the list; \"\" for none\n"
    "Conditions for figures of others' sensors (set changes those that are given):\n"
    "  --min-sensors N       a figure needs so many that received something, 3 to 1000 (5), and "
    "more\n"
    "                        than half of those that observed\n"
    "  --delay TIME          published so long after its bucket's end, at least 1d (7d)\n"
    "  --bucket day|week|month  how coarse time is (month)\n"
    "  --ports N             the N busiest ports, and countries, of a bucket (20)\n"
    "  --since DATE          nothing before this day (add: all that was rolled up)\n"
    "  --pseudonym-key FILE  0600, from which sensors get their names towards partners (default:\n"
    "                        [sharing] pseudonym_key); add makes it when it is missing\n"
    "  --make-key            make another where the one in use is lost\n";

enum { OPT_SENSORS = 256, OPT_MIN, OPT_DELAY, OPT_BUCKET, OPT_PORTS, OPT_SINCE, OPT_KEY, OPT_MAKE };

static const struct option long_options[] = {
    {"sensors", required_argument, NULL, OPT_SENSORS},
    {"min-sensors", required_argument, NULL, OPT_MIN},
    {"delay", required_argument, NULL, OPT_DELAY},
    {"bucket", required_argument, NULL, OPT_BUCKET},
    {"ports", required_argument, NULL, OPT_PORTS},
    {"since", required_argument, NULL, OPT_SINCE},
    {"pseudonym-key", required_argument, NULL, OPT_KEY},
    {"make-key", no_argument, NULL, OPT_MAKE},
    {0},
};

#define DAY_MS 86400000LL

static const struct conf_key numbers[] = {
    {"partner", "--min-sensors", CONF_INTEGER, offsetof(struct partner, min_sensors), NULL, false,
     3, 1000, "sensors"},
    {"partner", "--delay", CONF_DURATION, offsetof(struct partner, delay_ms), NULL, false, DAY_MS,
     3650 * DAY_MS, "how long after the end of a bucket"},
    {"partner", "--ports", CONF_INTEGER, offsetof(struct partner, ports), NULL, false, 0, 1000,
     "ports"},
};

static int refuse(const char *text)
{
    struct errmsg e;
    errmsg_set(&e, 0, "%s", text);
    command_fail(&e);
    return -EINVAL;
}

static int on_option(int option, const char *value, void *data)
{
    struct partner *p = data;
    switch (option) {
    case OPT_SENSORS:
        p->sensors = value;
        return 0;
    case OPT_MIN:
        return command_set_number(&numbers[0], value, p);
    case OPT_DELAY:
        return command_set_number(&numbers[1], value, p);
    case OPT_PORTS:
        return command_set_number(&numbers[2], value, p);
    case OPT_BUCKET:
        p->bucket = value;
        if (strcmp(value, "day") != 0 && strcmp(value, "week") != 0 && strcmp(value, "month") != 0)
            return refuse("--bucket: must be day, week or month");
        return 0;
    case OPT_SINCE:
        p->since = value;
        if (strlen(value) != 10 || strspn(value, "0123456789-") != 10)
            return refuse("--since: must be a day, such as 2023-02-08");
        return 0;
    case OPT_KEY:
        p->key_path = value;
        return 0;
    default:
        p->make_key = true;
        return 0;
    }
}

// Where the login may go beside this database: there nobody closed anything.
static void warn_of_databases(struct db *db, const struct partner *p)
{
    const char *values[] = {p->login};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    struct errmsg e = {""};
    if (db_query(db,
                 "select string_agg(datname, ', ' order by datname) from pg_catalog.pg_database "
                 "where datallowconn and datname <> current_database() and "
                 "has_database_privilege($1, datname, 'connect')",
                 1, values, &result, &e) == 0 &&
        !PQgetisnull(result, 0, 0))
        fprintf(stderr,
                "warning: %s may also connect to %s, where PostgreSQL tells how busy this database "
                "is: let pg_hba.conf admit +hirundo_partner to this database alone "
                "(docs/operations.md, Partners)\n",
                p->login, PQgetvalue(result, 0, 0));
}

static int work_add(struct db *db, void *data, struct errmsg *e)
{
    return partner_add_all(db, data, e);
}

static int work_set(struct db *db, void *data, struct errmsg *e)
{
    return partner_set_all(db, data, e);
}

static int work_drop(struct db *db, void *data, struct errmsg *e)
{
    return partner_drop_all(db, data, e);
}

// ---- add, set, drop

typedef int (*partner_work_fn)(struct db *db, void *data, struct errmsg *e);

static int run(const char *conf_path, struct partner *p, partner_work_fn work, const char *done)
{
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, &conf, &db) < 0)
        return EXIT_FAILURE;
    if (!p->key_path)
        p->key_path = conf.pseudonym_key;
    int r = command_transaction(db, work, p, &e);
    if (r != 0 && p->made_key && db_is_open(db))
        unlink(p->key_path);        // no name was given from it
    else if (r != 0 && p->made_key) // a commit may have succeeded unheard
        fprintf(stderr,
                "the pseudonym key %s was made and stays: whether names from it are in the "
                "database cannot be known (hirundo-collector partner list shows partner %s then); "
                "run the command again\n",
                p->key_path, p->name);
    if (r == 0 && p->closed > 0)
        fprintf(stderr,
                "closed %d functions and tables of PostgreSQL's own that told every login how busy "
                "the sensors are; Hirundo's roles and pg_monitor keep them\n",
                p->closed);
    if (r == 0 && p->made_key)
        fprintf(stderr, "made the pseudonym key %s: keep a copy in a safe place\n", p->key_path);
    if (r == 0) {
        printf("partner %s %s\n", p->name, done);
        if (work != work_drop)
            warn_of_databases(db, p);
        if (work == work_add)
            printf("login %s, which has no password yet: \\password %s in psql, or a certificate "
                   "(docs/operations.md)\n",
                   p->login, p->login);
    }
    collector_conf_free(&conf);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
}

static int parse(int argc, char **argv, bool options, struct partner *ret, const char **ret_conf,
                 int *ret_exit)
{
    struct partner p = {.min_sensors = -1, .delay_ms = -1, .ports = -1};
    const struct command_line line = {.usage = usage,
                                      .extra = options ? long_options : NULL,
                                      .on_option = on_option,
                                      .data = &p,
                                      .words_min = 1,
                                      .words_max = 1};
    struct errmsg e = {"out of memory"};
    char **words;
    if (command_parse(&line, argc, argv, ret_conf, &words, ret_exit))
        return 1;
    p.name = words[0];
    if (partner_check_name(p.name, &e) < 0) {
        command_fail(&e);
        *ret_exit = EXIT_USAGE;
        return 1;
    }
    *ret = p;
    return 0;
}

static int change(int argc, char **argv, partner_work_fn work, const char *done)
{
    struct partner p;
    const char *conf_path;
    int code;
    if (parse(argc, argv, work != work_drop, &p, &conf_path, &code))
        return code;
    return run(conf_path, &p, work, done);
}

static int partner_add(int argc, char **argv)
{
    return change(argc, argv, work_add, "added");
}

static int partner_set(int argc, char **argv)
{
    return change(argc, argv, work_set, "changed");
}

static int partner_drop(int argc, char **argv)
{
    return change(argc, argv, work_drop, "dropped, with its login and what it could read");
}

// ---- list, show

static const char list_sql[] =
    "select p.name, hirundo.partner_role(p.name)::text as login, (select count(*) from "
    "hirundo.partner_sensor x where x.partner_id = p.partner_id and x.removed_at is null) as "
    "sensors, p.min_sensors, p.delay::text as delay, p.bucket, p.ports, coalesce((select "
    "max(b.past)::text from hirundo.partner_bucket b where b.partner_id = p.partner_id), '-') as "
    "published_to, case when r.rolname is null then 'no such role: run partner set' when not "
    "r.rolcanlogin then 'may not log in' else 'ok' end as state "
    "from hirundo.partner p left join pg_catalog.pg_roles r on r.rolname = "
    "hirundo.partner_role(p.name) order by p.name";

static const char show_sql[] =
    "select y.pseudonym as sensor, s.name, case when x.sensor_id is null then '' when x.removed_at "
    "is null then 'its own' else 'its own until ' || x.removed_at::date end as whose "
    "from hirundo.partner p join hirundo.partner_pseudonym y using (partner_id) join "
    "hirundo.sensor s using (sensor_id) left join hirundo.partner_sensor x on x.partner_id = "
    "p.partner_id and x.sensor_id = s.sensor_id where p.name = $1 order by x.sensor_id is null, "
    "s.name";

static int print(struct db *db, const char *sql, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, sql, name ? 1 : 0, values, &result, e);
    if (r == 0)
        command_print_table(result);
    return r;
}

static int print_conditions(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db,
                     "select name, hirundo.partner_role(name) as login, min_sensors, delay, "
                     "bucket, ports, coalesce(since::text, 'what was rolled up first') as since, "
                     "added_at::timestamptz(0) from hirundo.partner where name = $1",
                     1, values, &result, e);
    if (r == 0 && PQntuples(result) == 0)
        return partner_require(db, name, e);
    for (int i = 0; r == 0 && i < PQnfields(result); i++)
        printf("%s: %s\n", PQfname(result, i), PQgetvalue(result, 0, i));
    return r;
}

static int look(int argc, char **argv, int words_n)
{
    const struct command_line line = {.usage = usage, .words_min = words_n, .words_max = words_n};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    int r = words_n > 0 ? print_conditions(db, words[0], &e) : print(db, list_sql, NULL, &e);
    if (r == 0 && words_n > 0)
        r = print(db, show_sql, words[0], &e);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
}

static int partner_list(int argc, char **argv)
{
    return look(argc, argv, 0);
}

static int partner_show(int argc, char **argv)
{
    return look(argc, argv, 1);
}

int command_partner(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"add", partner_add}, {"drop", partner_drop}, {"list", partner_list},
        {"set", partner_set}, {"show", partner_show},
    };
    return command_dispatch(table, ARRAY_SIZE(table), usage, argc, argv);
}
