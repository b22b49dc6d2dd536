// hirundo-collector sensor add, sensor bundle.
#include <getopt.h>
#include <string.h>

#include "collector/command_sensor.h"
#include "collector/enrolment.h"
#include "common/exclude.h"
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

static int set_window(struct options *o, const char *value)
{
    if (command_set_number(&numbers[1], value, &o->enrol) < 0)
        return -EINVAL;
    if (DEFAULTS_MS % o->enrol.window_ms == 0)
        return 0;
    errmsg_set(o->e, -EINVAL, "--window must divide 15 minutes: 60s, 30s, 5m and such");
    command_fail(o->e);
    return -EINVAL;
}

static int add_exclude(struct options *o, const char *value)
{
    struct capture_exclude ignored;
    if (capture_exclude_parse(value, &ignored, NULL) == 0)
        return conf_list_add(&o->enrol.exclude, value);
    errmsg_set(o->e, -EINVAL, "--exclude %.80s: must be CIDR[:tcp/PORT|:udp/PORT]", value);
    command_fail(o->e);
    return -EINVAL;
}

static int add_endpoint(struct options *o, const char *value)
{
    if (enrol_check_endpoint("--endpoint", value, o->e) == 0)
        return conf_list_add(&o->enrol.endpoints, value);
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
        return add_endpoint(o, value);
    case OPT_EXCLUDE:
        return add_exclude(o, value);
    case OPT_VALID:
        return command_set_number(&numbers[0], value, &o->enrol);
    case OPT_WINDOW:
        return set_window(o, value);
    case OPT_CAP:
        return command_set_number(&numbers[2], value, &o->enrol);
    default:
        return command_set_number(&numbers[3], value, &o->enrol);
    }
}

static int check_words(const char *name, const struct options *o, char ret_country[3],
                       uint8_t ret_key[KEY_SIZE], struct errmsg *e)
{
    if (!o->country)
        return errmsg_set(e, -EINVAL, "--country is missing: two letters, such as JP");
    int r = enrol_check_name(name, e);
    if (r == 0)
        r = enrol_check_country(o->country, ret_country, e);
    if (r == 0)
        r = enrol_check_text("--label-en", o->label_en, e);
    if (r == 0)
        r = enrol_check_text("--label-ja", o->label_ja, e);
    if (r == 0)
        r = enrol_check_text("--hosted-by", o->hosted_by, e);
    if (r == 0 && o->key && key_parse(o->key, ret_key) < 0)
        r = errmsg_set(e, -EINVAL,
                       "--key: not a public key: must be 40 characters of Z85 or 64 of hex, as "
                       "hirundo-sensor keygen prints it");
    if (r == 0 && o->key && o->enrol.with_key)
        r = errmsg_set(e, -EINVAL, "--key and --with-key exclude each other");
    return r;
}

// ---- what people are told

static void say_bundle(const struct enrolment *x)
{
    const struct enrol_written *w = &x->written;
    const char *slash = strrchr(w->path, '/');
    if (x->made_operator_key)
        enrol_say_operator_made(x->conf, x->options);
    printf("bundle %s, valid for %lld days, signed by operator %s\n", w->path,
           (long long)x->options->valid_days, w->fingerprint);
    if (w->has_next)
        puts("It has the collector's next key, too.");
    if (x->options->with_key)
        printf("It holds the sensor's secret key: whoever reads it can pose as %s. Send it over a "
               "secure way and delete it.\n",
               x->name);
    printf("On the new machine: hirundo-sensor enroll %s --fingerprint %s\n",
           slash ? slash + 1 : w->path, w->fingerprint);
    if (!x->options->with_key)
        printf("It prints a request; then here: hirundo-collector sensor approve %s REQUEST\n",
               x->name);
}

static void say_added(const struct enrolment *x, const struct errmsg *why)
{
    printf("sensor %s added (id %s, %s)%s\n", x->name, x->sensor_id, x->country,
           x->key ? "" : "; it has no key yet and cannot connect");
    if (x->has_bundle)
        say_bundle(x);
    else if (!x->key)
        fprintf(stderr, "no bundle was made: %s. Then: hirundo-collector sensor bundle %s\n",
                why->text, x->name);
}

static int add(const char *conf_path, const char *name, const struct options *o,
               const char *country, const uint8_t *key)
{
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"}, why = {""};
    if (command_open_owner(conf_path, &conf, &db) < 0)
        return EXIT_FAILURE;
    struct enrolment x = {
        .conf = &conf,
        .options = &o->enrol,
        .name = name,
        .country = country,
        .label_en = o->label_en,
        .label_ja = o->label_ja,
        .hosted_by = o->hosted_by,
        .key = key,
    };
    int r = enrolment_add(db, &x, &why, &e);
    if (r == 0)
        say_added(&x, &why);
    enrolment_release(&x);
    collector_conf_free(&conf);
    return r == 0 ? EXIT_SUCCESS : command_fail(&e);
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

static int make_bundle(const char *conf_path, const char *name, const struct options *o)
{
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    struct errmsg e = {"out of memory"};
    if (command_open_owner(conf_path, &conf, &db) < 0)
        return EXIT_FAILURE;
    struct enrolment x = {.conf = &conf, .options = &o->enrol, .name = name};
    int r = enrolment_bundle(db, &x, &e);
    if (r == 0)
        say_bundle(&x);
    enrolment_release(&x);
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
        if (o.enrol.with_key || o.key || o.country || o.label_en || o.label_ja || o.hosted_by) {
            errmsg_set(&e, -EINVAL,
                       "sensor bundle takes bundle options only, and not --with-key: that key "
                       "would have to be approved");
            command_fail(&e);
            code = EXIT_USAGE;
        } else {
            code = make_bundle(conf_path, words[0], &o);
        }
    }
    enrol_options_release(&o.enrol);
    return code;
}
