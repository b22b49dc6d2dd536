// hirundo-collector sensor approve, rotate, revoke: the life of a sensor's keys.
#include <getopt.h>
#include <sodium.h>
#include <string.h>

#include "collector/command_sensor.h"
#include "collector/enrol.h"
#include "common/bundle.h"

struct change {
    const char *name;
    uint8_t key[KEY_SIZE];
    char hex[KEY_HEX_SIZE]; // the key, as in a request: so the audit names it
    bool rotate;
    char text[384]; // for people, when it is done
};

static int read_active_key(struct db *db, const char *name, uint8_t ret[KEY_SIZE], int *ret_n,
                           struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r =
        db_query(db,
                 "select encode(k.public_key, 'hex') from hirundo.sensor_key k join "
                 "hirundo.sensor s using (sensor_id) where s.name = $1 and k.revoked_at is null "
                 "order by k.added_at desc",
                 1, values, &result, e);
    if (r != 0)
        return r;
    *ret_n = PQntuples(result);
    return *ret_n > 0 && key_parse(PQgetvalue(result, 0, 0), ret) < 0 ? -EINVAL : 0;
}

static int refuse_revoked(struct db *db, const char *name, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = sensor_require(db, name, e);
    if (r == 0)
        r = db_query(db, // locked: two who approve at once would give it two keys
                     "select revoked_at is not null from hirundo.sensor where name = $1 for update",
                     1, values, &result, e);
    if (r == 0 && PQntuples(result) > 0 && *PQgetvalue(result, 0, 0) == 't')
        return errmsg_set(e, -EINVAL, "sensor %s is revoked: add a new one, under another name",
                          name);
    return r;
}

static int insert_key(struct db *db, const struct change *c, const uint8_t *replaces,
                      struct errmsg *e)
{
    const char *values[] = {c->name, (const char *)c->key, (const char *)replaces};
    const int lengths[] = {-1, KEY_SIZE, replaces ? KEY_SIZE : -1};
    int r =
        db_query_mixed(db,
                       "insert into hirundo.sensor_key (public_key, sensor_id, replaces) select "
                       "$2::bytea, sensor_id, $3::bytea from hirundo.sensor where name = $1",
                       3, values, lengths, NULL, e);
    if (r == DB_REFUSED && strcmp(db_sqlstate(db), "23505") == 0)
        return errmsg_set(e, -EEXIST,
                          "this key is enrolled already, for another sensor or earlier: a key "
                          "belongs to one sensor for ever; make a new one");
    if (r == 0)
        r = db_exec(db, "select pg_notify('hirundo_keys', '')", e);
    return r;
}

static int approve(struct db *db, struct change *c, const uint8_t *active, int n, struct errmsg *e)
{
    if (n > 0 && memcmp(active, c->key, KEY_SIZE) == 0) {
        snprintf(c->text, sizeof c->text, "sensor %s has this key already", c->name);
        return 0;
    }
    if (n > 0)
        return errmsg_set(e, -EEXIST,
                          "sensor %s has a key already. Another one for the same machine: sensor "
                          "rotate; for another machine: sensor revoke, then add under a new name",
                          c->name);
    struct errmsg words;
    errmsg_set(&words, 0, "key %s", c->hex);
    int r = insert_key(db, c, NULL, e);
    if (r == 0)
        r = enrol_audit(db, "sensor approved", c->name, words.text, e);
    snprintf(c->text, sizeof c->text, "sensor %s approved: it is let in from now on", c->name);
    return r;
}

static int rotate(struct db *db, struct change *c, const uint8_t *active, int n, struct errmsg *e)
{
    if (n == 0)
        return errmsg_set(e, -ENOENT, "sensor %s has no key that could be replaced: sensor approve",
                          c->name);
    if (n > 1)
        return errmsg_set(e, -EEXIST,
                          "sensor %s has a next key already that it has not used yet: sensor show "
                          "%s. If that key is lost: sensor rotate %s --cancel",
                          c->name, c->name, c->name);
    char old[KEY_HEX_SIZE];
    struct errmsg words;
    sodium_bin2hex(old, sizeof old, active, KEY_SIZE);
    errmsg_set(&words, 0, "key %s; until it is used, %s is valid", c->hex, old);
    int r = insert_key(db, c, active, e);
    if (r == 0)
        r = enrol_audit(db, "next key approved", c->name, words.text, e);
    snprintf(c->text, sizeof c->text,
             "sensor %s: its next key is let in from now on. Restart the sensor: it goes over to "
             "that key, and the present one, which goes on until then, is revoked",
             c->name);
    return r;
}

// The next key, never used, is let in no more; what it was to replace goes on.
static int cancel_in_transaction(struct db *db, void *data, struct errmsg *e)
{
    struct change *c = data;
    const char *values[] = {c->name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = refuse_revoked(db, c->name, e);
    if (r == 0)
        r = db_query(db,
                     "with k as (update hirundo.sensor_key n set revoked_at = now() from "
                     "hirundo.sensor s, hirundo.sensor_key o where s.name = $1 and n.sensor_id = "
                     "s.sensor_id and n.revoked_at is null and n.first_used_at is null and "
                     "o.public_key = n.replaces and o.revoked_at is null returning n.public_key, "
                     "n.replaces) select encode(public_key, 'hex'), encode(replaces, 'hex'), "
                     "pg_notify('hirundo_keys', '') from k",
                     1, values, &result, e);
    if (r != 0)
        return r;
    if (PQntuples(result) == 0)
        return errmsg_set(e, -ENOENT,
                          "sensor %s has no next key that was not used yet: sensor show %s",
                          c->name, c->name);
    struct errmsg words;
    errmsg_set(&words, 0, "key %s; %s goes on", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    snprintf(c->text, sizeof c->text,
             "sensor %s: its next key (%s) is withdrawn and will be refused; the present key goes "
             "on. Another one: hirundo-sensor rotate there, then sensor rotate here",
             c->name, PQgetvalue(result, 0, 0));
    return enrol_audit(db, "next key withdrawn", c->name, words.text, e);
}

static int change_in_transaction(struct db *db, void *data, struct errmsg *e)
{
    struct change *c = data;
    uint8_t active[KEY_SIZE];
    int n = 0;
    int r = refuse_revoked(db, c->name, e);
    if (r == 0)
        r = read_active_key(db, c->name, active, &n, e);
    if (r == 0)
        r = c->rotate ? rotate(db, c, active, n, e) : approve(db, c, active, n, e);
    return r;
}

static int run_change(const char *conf_path, struct change *c,
                      int (*work)(struct db *, void *, struct errmsg *))
{
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    if (command_transaction(db, work, c, &e) != 0)
        return command_fail(&e);
    puts(c->text);
    return EXIT_SUCCESS;
}

static int change_key(const char *conf_path, char **words, bool rotate_it)
{
    struct errmsg e = {"out of memory"};
    struct change c = {.name = words[0], .rotate = rotate_it};
    char name[SENSOR_NAME_MAX + 1];
    int r = request_parse(words[1], name, c.key, &e);
    if (r == 0 && strcmp(name, c.name) != 0)
        r = errmsg_set(
            &e, -EINVAL,
            "the request is from sensor %s, not from %s: was it pasted to the wrong name?", name,
            c.name);
    if (r < 0)
        return command_fail(&e);
    sodium_bin2hex(c.hex, sizeof c.hex, c.key, KEY_SIZE);
    return run_change(conf_path, &c, change_in_transaction);
}

int sensor_approve(int argc, char **argv)
{
    const struct command_line line = {.usage = sensor_usage, .words_min = 2, .words_max = 2};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    return change_key(conf_path, words, false);
}

static int on_cancel(int option, const char *value, void *data)
{
    (void)option;
    (void)value;
    *(bool *)data = true;
    return 0;
}

int sensor_rotate(int argc, char **argv)
{
    static const struct option options[] = {{"cancel", no_argument, NULL, 'x'}, {0}};
    bool cancel = false;
    const struct command_line line = {sensor_usage, options, on_cancel, &cancel, 1, 2};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    if ((words[1] != NULL) == cancel) {
        struct errmsg e;
        errmsg_set(&e, 0,
                   cancel ? "sensor rotate NAME --cancel takes no REQUEST"
                          : "sensor rotate NAME REQUEST: the request is missing, as "
                            "hirundo-sensor rotate prints it; or --cancel, to withdraw a next key");
        command_fail(&e);
        return EXIT_USAGE;
    }
    struct change c = {.name = words[0]};
    return cancel ? run_change(conf_path, &c, cancel_in_transaction)
                  : change_key(conf_path, words, true);
}

// ---- revoke

struct revocation {
    const char *name;
    char n_keys[16];
};

static int revoke_in_transaction(struct db *db, void *data, struct errmsg *e)
{
    struct revocation *v = data;
    const char *values[] = {v->name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = sensor_require(db, v->name, e);
    // Two statements, and now(): Citus takes neither coalesce nor a volatile function in an update.
    if (r == 0)
        r = db_query(db,
                     "update hirundo.sensor set revoked_at = now() where name = $1 and revoked_at "
                     "is null",
                     1, values, NULL, e);
    if (r == 0)
        r = db_query(db,
                     "with k as (update hirundo.sensor_key k set revoked_at = now() from "
                     "hirundo.sensor s where s.name = $1 and k.sensor_id = s.sensor_id and "
                     "k.revoked_at is null returning k.public_key) "
                     "select count(*), coalesce('key ' || string_agg(encode(public_key, 'hex'), "
                     "', ' order by public_key), 'it had no key that was let in'), "
                     "pg_notify('hirundo_keys', '') from k",
                     1, values, &result, e);
    if (r != 0)
        return r;
    snprintf(v->n_keys, sizeof v->n_keys, "%s", PQgetvalue(result, 0, 0));
    return enrol_audit(db, "sensor revoked", v->name, PQgetvalue(result, 0, 1), e);
}

int sensor_revoke(int argc, char **argv)
{
    const struct command_line line = {.usage = sensor_usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, NULL, &db) < 0)
        return EXIT_FAILURE;
    struct revocation v = {.name = words[0]};
    if (command_transaction(db, revoke_in_transaction, &v, &e) != 0)
        return command_fail(&e);
    printf("sensor %s revoked, %s key(s): nothing more is taken from it\n", v.name, v.n_keys);
    return EXIT_SUCCESS;
}
