#include <getopt.h>
#include <string.h>

#include "collector/command.h"
#include "collector/enrol.h"
#include "collector/text.h"

static const char usage[] =
    "usage: hirundo-collector notice add ORGANISATION --sent YYYY-MM-DD [--ports PORT,...] "
    "[--reference TEXT]\n"
    "       hirundo-collector notice list [ORGANISATION]\n"
    "Notices that were sent to organisations under watch (import organisations), so that\n"
    "hirundo.organisation_case can say whether their traffic fell afterwards.\n"
    "  --sent       the day it was sent, in the reporting time zone\n"
    "  --ports      what it was about, such as 22/TCP,5900/TCP; without it all ports\n"
    "  --reference  its number or subject\n";

#define REFERENCE_MAX 200

struct notice {
    const char *organisation, *sent, *ports, *reference;
};

static int on_option(int option, const char *value, void *data)
{
    struct notice *n = data;
    switch (option) {
    case 's':
        return command_set_day("sent", value, &n->sent);
    case 'p':
        n->ports = value;
        return 0;
    default:
        if (strlen(value) > REFERENCE_MAX) {
            fprintf(stderr, "hirundo-collector: --reference: at most %d bytes\n", REFERENCE_MAX);
            return -EINVAL;
        }
        n->reference = value;
        return 0;
    }
}

static int check_organisation(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select from hirundo.organisation where name = $1", 1, values, &result, e);
    if (r == 0 && PQntuples(result) == 0)
        return errmsg_set(e, -ENOENT,
                          "there is no organisation \"%.100s\" under watch: hirundo-collector "
                          "import organisations FILE brings one in",
                          name);
    return r;
}

static int check_day(struct db *db, const char *sent, struct errmsg *e)
{
    const char *values[] = {sent};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select $1::date > (now() at time zone hirundo.time_zone())::date", 1,
                     values, &result, e);
    if (r == 0 && *PQgetvalue(result, 0, 0) == 't')
        return errmsg_set(e, -EINVAL, "--sent %s: is in the future", sent);
    return r;
}

static int insert_notice(struct db *db, const struct notice *n, struct errmsg *e)
{
    const char *values[] = {n->organisation, n->sent, n->ports, n->reference};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    // port_codes refuses what is no port; names are written as hirundo.port_label writes them
    int r = db_query(
        db,
        "insert into hirundo.notice (organisation_id, sent, ports, reference) select "
        "o.organisation_id, $2::date, (select array_agg(hirundo.port_label(c) order by c) from "
        "unnest(hirundo.port_codes(string_to_array($3, ','))) c), $4 from hirundo.organisation o "
        "where o.name = $1 on conflict (organisation_id, sent, reference) do nothing returning "
        "notice_id",
        4, values, &result, e);
    if (r == 0 && PQntuples(result) == 0)
        return errmsg_set(e, -EEXIST,
                          "a notice of %s%s%s to %.100s is noted already: give this one another "
                          "--reference",
                          n->sent, *n->reference ? " with reference " : "", n->reference,
                          n->organisation);
    return r;
}

static int add(struct db *db, const struct notice *n, struct errmsg *e)
{
    char detail[1024];
    int r = check_organisation(db, n->organisation, e);
    if (r == 0)
        r = check_day(db, n->sent, e);
    if (r == 0)
        r = db_exec(db, "begin", e);
    if (r == 0)
        r = insert_notice(db, n, e);
    snprintf(detail, sizeof detail, "to %.*s, sent %s, about %.300s%s%.200s",
             text_within(n->organisation, 200), n->organisation, n->sent,
             n->ports ? n->ports : "all ports", *n->reference ? ", reference " : "", n->reference);
    if (r == 0)
        r = enrol_audit(db, "notice", NULL, detail, e);
    return r == 0 ? db_exec(db, "commit", e) : r;
}

static int notice_add(int argc, char **argv)
{
    static const struct option options[] = {{"sent", required_argument, NULL, 's'},
                                            {"ports", required_argument, NULL, 'p'},
                                            {"reference", required_argument, NULL, 'r'},
                                            {0}};
    struct notice n = {.reference = ""};
    const struct command_line line = {usage, options, on_option, &n, 1, 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    if (!n.sent) {
        fprintf(stderr, "hirundo-collector: notice add: --sent is missing\n%s", usage);
        return EXIT_USAGE;
    }
    n.organisation = words[0];
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    if (add(db, &n, &e) != 0)
        return command_fail(&e);
    printf("notice of %s to %s noted\n", n.sent, n.organisation);
    return EXIT_SUCCESS;
}

static int notice_list(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    _cleanup_(db_freep) struct db *db = NULL;
    _cleanup_(db_result_freep) PGresult *result = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    const char *values[] = {words[0]};
    int r = words[0] ? check_organisation(db, words[0], &e) : 0;
    if (r == 0)
        r = db_query(
            db,
            "select n.notice_id as id, o.name as organisation, n.sent, "
            "coalesce(array_to_string(n.ports, ','), 'all') as ports, n.reference, n.added_at from "
            "hirundo.notice n join hirundo.organisation o using (organisation_id) where $1::text "
            "is null or o.name = $1 order by n.sent, n.notice_id",
            1, values, &result, &e);
    if (r != 0)
        return command_fail(&e);
    command_print_table(result);
    return EXIT_SUCCESS;
}

int command_notice(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"add", notice_add},
        {"list", notice_list},
    };
    return command_dispatch(table, ARRAY_SIZE(table), usage, argc, argv);
}
