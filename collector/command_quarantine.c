#include <getopt.h>
#include <string.h>

#include "collector/command.h"
#include "collector/quarantine.h"
#include "collector/text.h"

static const char usage[] =
    "usage: hirundo-collector quarantine list [--sensor NAME] [--reason TEXT] [--resolved]\n"
    "       hirundo-collector quarantine show ID\n"
    "       hirundo-collector quarantine retry ID... | --sensor NAME | --reason TEXT | --all\n"
    "       hirundo-collector quarantine drop  ID... | --sensor NAME | --reason TEXT | --all\n"
    "Messages of enrolled sensors that could not be taken, kept raw.\n"
    "  list   what lies there; --resolved: also what was retried or dropped\n"
    "  show   one, with its header and the beginning of its payload in hex\n"
    "  retry  decode, check and insert again, with this program and the settings of now; what is\n"
    "         still refused stays, with the reason\n"
    "  drop   give up: its frames stay booked as quarantined, its bytes are deleted\n"
    "  --sensor NAME, --reason TEXT   only of this sensor, only with TEXT in the reason\n";

#define IDS_MAX 1000

struct choice {
    struct quarantine_choice which;
    bool all;
};

static const struct option long_options[] = {
    {"sensor", required_argument, NULL, 's'},
    {"reason", required_argument, NULL, 'r'},
    {"resolved", no_argument, NULL, 'R'},
    {"all", no_argument, NULL, 'a'},
    {0},
};

static int on_option(int option, const char *value, void *data)
{
    struct choice *c = data;
    if (option == 's')
        c->which.sensor = value;
    else if (option == 'r')
        c->which.reason = value;
    else if (option == 'R')
        c->which.resolved = true;
    else
        c->all = true;
    return 0;
}

static int is_id(const char *command, const char *word)
{
    size_t digits = strspn(word, "0123456789");
    if (digits > 0 && !word[digits] && digits <= 18)
        return 0;
    fprintf(stderr, "hirundo-collector: quarantine %s %s: ID is a number\n%s", command, word,
            usage);
    return -EINVAL;
}

static int check_sensor(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    if (!name)
        return 0;
    int r = db_query(db, "select from hirundo.sensor where name = $1", 1, values, &result, e);
    if (r == 0 && PQntuples(result) == 0)
        return errmsg_set(e, -ENOENT, "there is no sensor %s: see sensor list", name);
    return r;
}

static int quarantine_list(int argc, char **argv)
{
    struct choice c = {0};
    const struct command_line line = {
        .usage = usage, .extra = long_options, .on_option = on_option, .data = &c};
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
    if (check_sensor(db, c.which.sensor, &e) != 0 ||
        quarantine_select(db, &c.which, QUARANTINE_LIST, &result, &e) != 0)
        return command_fail(&e);
    command_print_table(result);
    return EXIT_SUCCESS;
}

static int quarantine_show(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    if (is_id("show", words[0]) < 0)
        return EXIT_USAGE;
    _cleanup_(db_freep) struct db *db = NULL;
    _cleanup_(db_result_freep) PGresult *result = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    int r = db_query(
        db,
        "select q.quarantine_id as id, s.name as sensor, q.spool_id, q.seq, q.received_at, q.peer, "
        "q.reason, q.frames, q.first_window, q.booked_slot, q.resolved_at, "
        "q.resolution, encode(q.header, 'hex') as header, length(q.payload) as payload_bytes, "
        "encode(substr(q.payload, 1, 64), 'hex') as payload_begins from hirundo.quarantine q left "
        "join hirundo.sensor s using (sensor_id) where q.quarantine_id = $1::bigint",
        1, (const char *const *)words, &result, &e);
    if (r == 0 && PQntuples(result) == 0)
        r = errmsg_set(&e, -ENOENT, "there is no message %s in quarantine: see quarantine list",
                       words[0]);
    if (r != 0)
        return command_fail(&e);
    for (int i = 0; i < PQnfields(result); i++)
        printf("%s: %s\n", PQfname(result, i), PQgetvalue(result, 0, i));
    return EXIT_SUCCESS;
}

// ---- retry and drop

struct tally {
    unsigned done, resolved, refused;
};

// NULL: drop. -errno: cannot go on.
static int resolve_one(struct retrier *retrier, struct db *db, const char *id, const char *sensor,
                       struct tally *t)
{
    struct errmsg e = {"out of memory"};
    int r = retrier ? quarantine_retry(retrier, db, id, &e) : quarantine_drop(db, id, &e);
    if (r == 0) {
        t->done++;
    } else if (r == QUARANTINE_RESOLVED) {
        t->resolved++;
        printf("%s: nothing to do\n", e.text);
    } else if (r == QUARANTINE_REFUSED) {
        t->refused++;
        fprintf(stderr, "hirundo-collector: message %s of sensor %s is still refused: %s\n", id,
                sensor, e.text);
    } else {
        command_fail(&e);
        return r < 0 ? r : -EIO;
    }
    return 0;
}

static int resolve_all(struct db *db, const struct quarantine_choice *which, bool retry, int words,
                       struct tally *t, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    _cleanup_(retrier_freep) struct retrier *retrier = NULL;
    int r = check_sensor(db, which->sensor, e);
    if (r == 0)
        r = quarantine_select(db, which, "select q.quarantine_id, coalesce(s.name, '')", &result,
                              e);
    if (r == 0 && PQntuples(result) < words)
        r = errmsg_set(e, -ENOENT,
                       "%d of these %d messages are not in quarantine%s: see quarantine list; "
                       "nothing was done",
                       words - PQntuples(result), words,
                       which->sensor || which->reason ? " with that sensor and reason" : "");
    if (r == 0 && retry)
        r = retrier_new(&retrier);
    if (r != 0) {
        command_fail(e);
        return -EINVAL;
    }
    for (int i = 0; i < PQntuples(result); i++) {
        r = resolve_one(retrier, db, PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), t);
        if (r < 0)
            return r;
    }
    return 0;
}

// The words as an array of PostgreSQL's, each once.
static int list_ids(const char *command, char **words, struct text *ret)
{
    for (; *words; words++) {
        if (is_id(command, *words) < 0)
            return -EINVAL;
        bool again = false;
        for (char **other = words + 1; *other; other++)
            again |= strtoll(*words, NULL, 10) == strtoll(*other, NULL, 10);
        if (!again)
            text_array_int(ret, strtoll(*words, NULL, 10));
    }
    text_array_end(ret);
    return ret->bad ? -ENOMEM : 0;
}

static int count_ids(const struct text *ids)
{
    int n = 1;
    for (const char *p = ids->p; *p; p++)
        n += *p == ',';
    return n;
}

static int run_resolve(int argc, char **argv, bool retry)
{
    struct choice c = {0};
    const struct command_line line = {.usage = usage,
                                      .extra = long_options,
                                      .on_option = on_option,
                                      .data = &c,
                                      .words_max = IDS_MAX};
    const char *name = retry ? "retry" : "drop";
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    if (!words[0] && !c.all && !c.which.sensor && !c.which.reason) {
        fprintf(stderr,
                "hirundo-collector: quarantine %s: which? an ID, --sensor, --reason or "
                "--all\n%s",
                name, usage);
        return EXIT_USAGE;
    }
    _cleanup_(text_release) struct text ids = {0};
    int n = 0;
    if (words[0]) {
        if (list_ids(name, words, &ids) < 0)
            return EXIT_USAGE;
        n = count_ids(&ids);
        c.which.ids = ids.p;
    }
    c.which.resolved = n > 0; // asked for by its number it gets an answer
    _cleanup_(db_freep) struct db *db = NULL;
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    struct errmsg e = {"out of memory"};
    struct tally t = {0};
    int r = resolve_all(db, &c.which, retry, n, &t, &e);
    if (r == 0 || t.done + t.refused > 0)
        printf("%u message%s %s%s", t.done, t.done == 1 ? "" : "s", retry ? "taken in" : "dropped",
               t.refused ? "" : "\n");
    if (t.refused)
        printf(", %u still refused\n", t.refused);
    return r == 0 && t.refused == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int quarantine_retry_command(int argc, char **argv)
{
    return run_resolve(argc, argv, true);
}

static int quarantine_drop_command(int argc, char **argv)
{
    return run_resolve(argc, argv, false);
}

int command_quarantine(int argc, char **argv)
{
    static const struct subcommand table[] = {
        {"list", quarantine_list},
        {"show", quarantine_show},
        {"retry", quarantine_retry_command},
        {"drop", quarantine_drop_command},
    };
    return command_dispatch(table, ARRAY_SIZE(table), usage, argc, argv);
}
