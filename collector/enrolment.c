#include "collector/enrolment.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "collector/command_sensor.h"
#include "collector/country.h"
#include "common/printable.h"

int enrol_check_name(const char *name, struct errmsg *e)
{
    if (sensor_name_is_valid(name))
        return 0;
    return errmsg_set(e, -EINVAL,
                      "sensor name \"%.80s\": must be 1 to 63 lower-case letters, digits and "
                      "hyphens, not beginning with a hyphen",
                      name);
}

int enrol_check_country(const char *text, char ret[3], struct errmsg *e)
{
    if (strlen(text) != 2 || !isalpha((unsigned char)text[0]) || !isalpha((unsigned char)text[1]))
        return errmsg_set(e, -EINVAL, "country \"%.20s\": must be two letters, such as JP", text);
    const char code[3] = {(char)toupper((unsigned char)text[0]),
                          (char)toupper((unsigned char)text[1])};
    if (!country_is_known(code))
        return errmsg_set(e, -EINVAL,
                          "country \"%s\": there is no such country: must be an ISO 3166-1 alpha-2 "
                          "code, such as JP, or ZZ for none%s",
                          code, strcmp(code, "UK") == 0 ? "; the United Kingdom is GB" : "");
    memcpy(ret, code, sizeof code);
    return 0;
}

int enrol_check_text(const char *what, const char *text, struct errmsg *e)
{
    if (!text || is_printable(text))
        return 0;
    struct errmsg shown = {""};
    snprintf(shown.text, sizeof shown.text, "%.80s", text);
    printable(shown.text);
    return errmsg_set(e, -EINVAL,
                      "%s \"%s\": must be one line of UTF-8 without control characters (line ends, "
                      "tabs, marks that turn the direction of writing)",
                      what, shown.text);
}

static int explain(struct db *db, const struct enrolment *x, int r, struct errmsg *e)
{
    if (r != DB_REFUSED || strcmp(db_sqlstate(db), "23505") != 0)
        return r;
    if (!x->key || strstr(e->text, "sensor_name"))
        return errmsg_set(e, -EEXIST, "there is a sensor %s already: see sensor show %s", x->name,
                          x->name);
    return errmsg_set(e, -EEXIST,
                      "this key is enrolled already, for another sensor or earlier: a "
                      "key belongs to one sensor for ever; make a new one");
}

static int audit_added(struct db *db, const struct enrolment *x, struct errmsg *e)
{
    char hex[KEY_HEX_SIZE], detail[160];
    if (!x->key)
        return enrol_audit(db, "sensor added", x->name, x->country, e);
    sodium_bin2hex(hex, sizeof hex, x->key, KEY_SIZE); // as in a request
    snprintf(detail, sizeof detail, "with %s %s",
             x->bundle.has_key ? "a key made here," : "its key", hex);
    return enrol_audit(db, "sensor added", x->name, detail, e);
}

static int insert_sensor(struct db *db, struct enrolment *x, struct errmsg *e)
{
    const char *label_en = x->label_en ? x->label_en : x->name;
    const char *values[] = {x->name,
                            x->country,
                            label_en,
                            x->label_ja ? x->label_ja : label_en,
                            x->hosted_by ? x->hosted_by : "",
                            (const char *)x->key};
    const int lengths[] = {-1, -1, -1, -1, -1, x->key ? KEY_SIZE : -1};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    // Citus would read the distributed tables in parallel, and then write no table that others
    // refer to. Elsewhere it is a name without a meaning.
    int r = db_exec(db, "set local citus.multi_shard_modify_mode = 'sequential'", e);
    if (r != 0)
        return r;
    r = db_query_mixed(
        db,
        // past every id that rows are left of: the sensor's own row may be older than they are,
        // where parts of a database were set back
        "with q as (select pg_get_serial_sequence('hirundo.sensor', 'sensor_id')::regclass as q), "
        "i as (select setval(q, greatest(nextval(q), 1 + (select max(m) from (select "
        "max(sensor_id) as m from hirundo.sensor union all select max(sensor_id) from "
        "hirundo.ledger union all select max(sensor_id) from hirundo.observation union all select "
        "max(sensor_id) from hirundo.sensor_address union all select max(sensor_id) from "
        "hirundo.bundle) t)))::smallint as id from q), "
        "s as (insert into hirundo.sensor (sensor_id, name, country, label_en, label_ja, "
        "hosted_by) select id, $1, $2, $3, $4, $5 from i returning sensor_id), "
        "k as (insert into hirundo.sensor_key (public_key, sensor_id) "
        "select $6::bytea, sensor_id from s where $6::bytea is not null) "
        "select sensor_id, pg_notify('hirundo_keys', '') from s",
        6, values, lengths, &result, e);
    if (r != 0)
        return explain(db, x, r, e);
    snprintf(x->sensor_id, sizeof x->sensor_id, "%s", PQgetvalue(result, 0, 0));
    return audit_added(db, x, e);
}

static int write_bundle(struct db *db, void *data, struct errmsg *e)
{
    struct enrolment *x = data;
    return enrol_write_bundle(db, x->operator_key, x->options, &x->bundle, &x->written, e);
}

static int add_in_transaction(struct db *db, void *data, struct errmsg *e)
{
    struct enrolment *x = data;
    int r = insert_sensor(db, x, e);
    return r == 0 && x->has_bundle ? write_bundle(db, x, e) : r;
}

static int run(struct db *db, int (*work)(struct db *, void *, struct errmsg *),
               struct enrolment *x, struct errmsg *e)
{
    int r = command_transaction(db, work, x, e);
    if (r != 0 && x->written.path[0])
        unlink(x->written.path); // it promises what was not committed
    return r;
}

// A pass phrase is asked for once.
static int open_operator(struct enrolment *x, struct errmsg *e)
{
    int r = 0;
    if (x->shared_key && *x->shared_key)
        x->operator_key = *x->shared_key;
    else
        r = enrol_open_operator(x->conf, x->options, &x->operator_key, &x->made_operator_key, e);
    if (r == 0 && x->shared_key)
        *x->shared_key = x->operator_key;
    return r;
}

// Everything a bundle takes that may be missing.
static int prepare(struct db *db, struct enrolment *x, struct errmsg *e)
{
    x->bundle.name = strdup(x->name);
    x->bundle.country = x->country ? strdup(x->country) : x->bundle.country;
    if (!x->bundle.name || !x->bundle.country)
        return errmsg_set(e, -ENOMEM, "out of memory");
    int r = enrol_describe_collector(db, x->conf, x->options, &x->bundle, e);
    if (r == 0)
        r = open_operator(x, e);
    x->has_bundle = r == 0;
    return r;
}

static int make_key(struct enrolment *x, struct errmsg *e)
{
    int r = key_pair_generate(&x->bundle.key);
    if (r < 0)
        return errmsg_set(e, r, "cannot make a key: %s", strerror(-r));
    x->bundle.has_key = true;
    x->key = x->bundle.key.public_key;
    return 0;
}

int enrolment_add(struct db *db, struct enrolment *x, struct errmsg *why, struct errmsg *e)
{
    int r = x->key ? 0 : prepare(db, x, why);
    if (r == -ENOENT || r == -EACCES) {
        r = 0;
    } else if (r != 0) {
        *e = *why;
        return r;
    }
    if (x->has_bundle && x->options->with_key)
        r = make_key(x, e);
    return r == 0 ? run(db, add_in_transaction, x, e) : r;
}

static int read_country(struct db *db, const char *name, char **ret, struct errmsg *e)
{
    const char *values[] = {name};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = sensor_require(db, name, e);
    if (r == 0)
        r = db_query(db,
                     "select country, revoked_at is not null from hirundo.sensor where name = $1",
                     1, values, &result, e);
    if (r != 0)
        return r;
    if (*PQgetvalue(result, 0, 1) == 't')
        return errmsg_set(e, -EINVAL, "sensor %s is revoked: add a new one, under another name",
                          name);
    *ret = strdup(PQgetvalue(result, 0, 0));
    return *ret ? 0 : errmsg_set(e, -ENOMEM, "out of memory");
}

int enrolment_bundle(struct db *db, struct enrolment *x, struct errmsg *e)
{
    int r = read_country(db, x->name, &x->bundle.country, e);
    if (r == 0)
        r = prepare(db, x, e);
    return r == 0 ? run(db, write_bundle, x, e) : r;
}

void enrolment_release(struct enrolment *x)
{
    if (!x->shared_key)
        operator_key_free(x->operator_key);
    bundle_free(&x->bundle);
}
