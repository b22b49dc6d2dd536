// hirundo-collector sensor add, sensor bundle.
#include <ctype.h>
#include <getopt.h>
#include <string.h>

#include "collector/command_sensor.h"
#include "collector/enrol.h"
#include "common/keys.h"

#define DEFAULTS_MS 900000

struct options {
    const char *country, *label_en, *label_ja, *hosted_by, *key;
    struct enrol_options enrol;
    struct errmsg *e;
};

enum {
    OPT_HOSTED_BY = 256,
    OPT_OUT,
    OPT_ENDPOINT,
    OPT_VALID,
    OPT_WINDOW,
    OPT_CAP,
    OPT_KBIT,
    OPT_EXCLUDE,
    OPT_WITH_KEY,
    OPT_OPERATOR
};

static const struct option long_options[] = {
    {"country", required_argument, NULL, 'C'},
    {"label-en", required_argument, NULL, 'e'},
    {"label-ja", required_argument, NULL, 'j'},
    {"key", required_argument, NULL, 'k'},
    {"hosted-by", required_argument, NULL, OPT_HOSTED_BY},
    {"out", required_argument, NULL, OPT_OUT},
    {"endpoint", required_argument, NULL, OPT_ENDPOINT},
    {"valid", required_argument, NULL, OPT_VALID},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"spool-cap", required_argument, NULL, OPT_CAP},
    {"max-kbit", required_argument, NULL, OPT_KBIT},
    {"exclude", required_argument, NULL, OPT_EXCLUDE},
    {"with-key", no_argument, NULL, OPT_WITH_KEY},
    {"operator-key", required_argument, NULL, OPT_OPERATOR},
    {0},
};

// The numbers among the options, with the ranges a sensor's configuration has.
static const struct conf_key numbers[] = {
    {"bundle", "--valid", CONF_INTEGER, offsetof(struct enrol_options, valid_days), NULL, false, 1,
     BUNDLE_VALID_DAYS_MAX, "days"},
    {"bundle", "--window", CONF_DURATION, offsetof(struct enrol_options, window_ms), NULL, false,
     1000, DEFAULTS_MS, "length of a window; divides 15 minutes"},
    {"bundle", "--spool-cap", CONF_BYTES, offsetof(struct enrol_options, spool_cap), NULL, false,
     2LL << 20, 1LL << 40, "bytes"},
    {"bundle", "--max-kbit", CONF_INTEGER, offsetof(struct enrol_options, max_kbit), NULL, false, 0,
     10000000, "kbit/s"},
};

static int set_number(struct options *o, int option, const char *value)
{
    const struct conf_key *key = &numbers[option == OPT_VALID    ? 0
                                          : option == OPT_WINDOW ? 1
                                          : option == OPT_CAP    ? 2
                                                                 : 3];
    if (conf_set(key, value, &o->enrol, o->e) < 0) {
        command_fail(o->e);
        return -EINVAL;
    }
    if (option == OPT_WINDOW && DEFAULTS_MS % o->enrol.window_ms != 0) {
        errmsg_set(o->e, -EINVAL, "--window must divide 15 minutes: 60s, 30s, 5m and such");
        command_fail(o->e);
        return -EINVAL;
    }
    return 0;
}

static int add_exclude(struct options *o, const char *value)
{
    if (strspn(value, "0123456789abcdefABCDEF.:/tcpud") == strlen(value))
        return conf_list_add(&o->enrol.exclude, value);
    errmsg_set(o->e, -EINVAL, "--exclude %.80s: must be CIDR[:tcp/PORT|:udp/PORT]", value);
    command_fail(o->e);
    return -EINVAL;
}

static int on_option(int option, const char *value, void *data)
{
    struct options *o = data;
    switch (option) {
    case 'C':
        o->country = value;
        return 0;
    case 'e':
        o->label_en = value;
        return 0;
    case 'j':
        o->label_ja = value;
        return 0;
    case 'k':
        o->key = value;
        return 0;
    case OPT_HOSTED_BY:
        o->hosted_by = value;
        return 0;
    case OPT_OUT:
        o->enrol.out = value;
        return 0;
    case OPT_OPERATOR:
        o->enrol.operator_key = value;
        return 0;
    case OPT_WITH_KEY:
        o->enrol.with_key = true;
        return 0;
    case OPT_ENDPOINT:
        return conf_list_add(&o->enrol.endpoints, value);
    case OPT_EXCLUDE:
        return add_exclude(o, value);
    default:
        return set_number(o, option, value);
    }
}

// Upper case into ret_country.
static int check_country(const char *country, char ret_country[3], struct errmsg *e)
{
    if (!country)
        return errmsg_set(e, -EINVAL, "--country is missing: two letters, such as JP");
    if (strlen(country) != 2 || !isalpha((unsigned char)country[0]) ||
        !isalpha((unsigned char)country[1]))
        return errmsg_set(e, -EINVAL, "--country %.20s: must be two letters, such as JP", country);
    ret_country[0] = (char)toupper((unsigned char)country[0]);
    ret_country[1] = (char)toupper((unsigned char)country[1]);
    ret_country[2] = '\0';
    return 0;
}

static int check_words(const char *name, const struct options *o, char ret_country[3],
                       uint8_t ret_key[KEY_SIZE], struct errmsg *e)
{
    if (!sensor_name_is_valid(name))
        return errmsg_set(e, -EINVAL,
                          "sensor name \"%.80s\": must be 1 to 63 lower-case letters, digits and "
                          "hyphens, not beginning with a hyphen",
                          name);
    int r = check_country(o->country, ret_country, e);
    if (r == 0 && o->key && key_parse(o->key, ret_key) < 0)
        r = errmsg_set(e, -EINVAL,
                       "--key: not a public key: must be 40 characters of Z85 or 64 of hex, as "
                       "hirundo-sensor keygen prints it");
    if (r == 0 && o->key && o->enrol.with_key)
        r = errmsg_set(e, -EINVAL, "--key and --with-key exclude each other");
    return r;
}

// ---- the database's part

struct adding {
    const struct collector_conf *conf;
    const struct options *options;
    const char *name;
    const uint8_t *key; // NULL: none yet
    bool is_new;        // sensor add, not sensor bundle
    struct bundle bundle;
    bool wants_bundle;
    char sensor_id[16];
    struct operator_key *operator_key;
    bool made_operator_key;
    struct enrol_written written;
};

static int explain_add(struct db *db, const struct adding *a, int r, struct errmsg *e)
{
    if (r != DB_REFUSED || strcmp(db_sqlstate(db), "23505") != 0)
        return r;
    if (!a->key || strstr(e->text, "sensor_name"))
        return errmsg_set(e, -EEXIST, "there is a sensor %s already: see sensor show %s", a->name,
                          a->name);
    return errmsg_set(e, -EEXIST,
                      "this key is enrolled already, for another sensor or earlier: a "
                      "key belongs to one sensor for ever; make a new one");
}

static int insert_sensor(struct db *db, struct adding *a, struct errmsg *e)
{
    const struct options *o = a->options;
    const char *label_en = o->label_en ? o->label_en : a->name;
    const char *values[] = {a->name,
                            a->bundle.country,
                            label_en,
                            o->label_ja ? o->label_ja : label_en,
                            o->hosted_by ? o->hosted_by : "",
                            (const char *)a->key};
    const int lengths[] = {-1, -1, -1, -1, -1, a->key ? KEY_SIZE : -1};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query_mixed(
        db,
        "with s as (insert into hirundo.sensor (name, country, label_en, label_ja, hosted_by) "
        "values ($1, $2, $3, $4, $5) returning sensor_id), "
        "k as (insert into hirundo.sensor_key (public_key, sensor_id) "
        "select $6::bytea, sensor_id from s where $6::bytea is not null) "
        "select sensor_id, pg_notify('hirundo_keys', '') from s",
        6, values, lengths, &result, e);
    if (r != 0)
        return explain_add(db, a, r, e);
    snprintf(a->sensor_id, sizeof a->sensor_id, "%s", PQgetvalue(result, 0, 0));
    return enrol_audit(db, "sensor added", a->name,
                       !a->key             ? a->bundle.country
                       : o->enrol.with_key ? "with a key made here"
                                           : "with its key",
                       e);
}

static int add_in_transaction(struct db *db, void *data, struct errmsg *e)
{
    struct adding *a = data;
    int r = a->is_new ? insert_sensor(db, a, e) : 0;
    if (r == 0 && a->wants_bundle)
        r = enrol_write_bundle(db, a->operator_key, &a->options->enrol, &a->bundle, &a->written, e);
    return r;
}

static int run_transaction(struct db *db, struct adding *a, struct errmsg *e)
{
    int r = sensor_transaction(db, add_in_transaction, a, e);
    if (r != 0 && a->written.path[0])
        unlink(a->written.path); // it promises what was not committed
    return r;
}

static void say_bundle(const struct adding *a)
{
    const struct enrol_written *w = &a->written;
    if (a->made_operator_key)
        fprintf(stderr, "made the operator's key %s: keep a copy in a safe place\n",
                a->options->enrol.operator_key ? a->options->enrol.operator_key
                                               : a->conf->operator_key);
    printf("bundle %s, valid for %lld days, signed by operator %s\n", w->path,
           (long long)a->options->enrol.valid_days, w->fingerprint);
    if (a->bundle.has_key)
        printf("It holds the sensor's secret key: whoever reads it can pose as %s. Send it over a "
               "secure way and delete it.\n",
               a->name);
    printf("On the new machine: hirundo-sensor enroll %s --fingerprint %s\n",
           strrchr(w->path, '/') ? strrchr(w->path, '/') + 1 : w->path, w->fingerprint);
    if (!a->bundle.has_key)
        printf("It prints a request; then here: hirundo-collector sensor approve %s REQUEST\n",
               a->name);
}

// A bundle is made unless the key is given; where the collector or the operator's key cannot be had
// the sensor is added all the same, and `why` says what is missing.
static int prepare_bundle(struct db *db, struct adding *a, struct errmsg *why, struct errmsg *e)
{
    a->bundle.name = strdup(a->name);
    if (!a->bundle.name || !a->bundle.country)
        return errmsg_set(e, -ENOMEM, "out of memory");
    if (a->options->key)
        return 0;
    int r = enrol_describe_collector(db, a->conf, &a->options->enrol, &a->bundle, why);
    if (r == 0)
        r = enrol_open_operator(a->conf, &a->options->enrol, &a->operator_key,
                                &a->made_operator_key, why);
    if (r != 0 && r != -ENOENT && r != -EACCES) {
        *e = *why;
        return r;
    }
    a->wants_bundle = r == 0;
    if (r == 0 && a->options->enrol.with_key) {
        r = key_pair_generate(&a->bundle.key);
        a->bundle.has_key = r == 0;
        a->key = a->bundle.key.public_key;
    }
    return r < 0 && !a->wants_bundle ? 0 : r;
}

static int report_add(const struct adding *a, const struct errmsg *why)
{
    printf("sensor %s added (id %s, %s)%s\n", a->name, a->sensor_id, a->bundle.country,
           a->key ? "" : "; it has no key yet and cannot connect");
    if (a->wants_bundle)
        say_bundle(a);
    else if (!a->options->key)
        fprintf(stderr, "no bundle was made: %s. Then: hirundo-collector sensor bundle %s\n",
                why->text, a->name);
    return EXIT_SUCCESS;
}

static int add(const char *conf_path, const char *name, const struct options *o,
               const char *country, const uint8_t *key)
{
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"}, why = {""};
    if (sensor_open(conf_path, &conf, &db) < 0)
        return EXIT_FAILURE;
    struct adding a = {.conf = &conf, .options = o, .name = name, .key = key, .is_new = true};
    a.bundle.country = strdup(country);
    int r = prepare_bundle(db, &a, &why, &e);
    if (r == 0)
        r = run_transaction(db, &a, &e);
    int code = r == 0 ? report_add(&a, &why) : command_fail(&e);
    operator_key_free(a.operator_key);
    bundle_free(&a.bundle);
    collector_conf_free(&conf);
    return code;
}

int sensor_add(int argc, char **argv)
{
    struct errmsg e = {"out of memory"};
    struct options o = {.e = &e};
    enrol_options_init(&o.enrol);
    const struct command_line line = {sensor_usage, long_options, on_option, &o, 1, 1};
    const char *conf_path;
    char **words;
    char country[3];
    uint8_t key[KEY_SIZE];
    int code;
    if (!command_parse(&line, argc, argv, &conf_path, &words, &code)) {
        if (check_words(words[0], &o, country, key, &e) < 0) {
            command_fail(&e);
            code = EXIT_USAGE;
        } else {
            code = add(conf_path, words[0], &o, country, o.key ? key : NULL);
        }
    }
    enrol_options_release(&o.enrol);
    return code;
}

// ---- sensor bundle

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

static int make_bundle(const char *conf_path, const char *name, const struct options *o)
{
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (sensor_open(conf_path, &conf, &db) < 0)
        return EXIT_FAILURE;
    struct adding a = {.conf = &conf, .options = o, .name = name};
    int r = read_country(db, name, &a.bundle.country, &e);
    if (r == 0)
        r = prepare_bundle(db, &a, &e, &e);
    if (r == 0 && !a.wants_bundle)
        r = -ENOENT;
    if (r == 0)
        r = run_transaction(db, &a, &e);
    if (r == 0)
        say_bundle(&a);
    operator_key_free(a.operator_key);
    bundle_free(&a.bundle);
    collector_conf_free(&conf);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
}

int sensor_bundle(int argc, char **argv)
{
    struct errmsg e = {"out of memory"};
    struct options o = {.e = &e};
    enrol_options_init(&o.enrol);
    const struct command_line line = {sensor_usage, long_options, on_option, &o, 1, 1};
    const char *conf_path;
    char **words;
    int code;
    if (!command_parse(&line, argc, argv, &conf_path, &words, &code)) {
        if (o.enrol.with_key || o.key || o.country) {
            errmsg_set(&e, -EINVAL,
                       "sensor bundle takes bundle options only, and not --with-key: "
                       "that key would have to be approved");
            command_fail(&e);
            code = EXIT_USAGE;
        } else {
            code = make_bundle(conf_path, words[0], &o);
        }
    }
    enrol_options_release(&o.enrol);
    return code;
}
