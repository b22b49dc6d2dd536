// hirundo-collector import sensors: many sensors at once, each as sensor add would.
#include <string.h>
#include <sys/stat.h>

#include "collector/csv_table.h"
#include "collector/enrolment.h"
#include "collector/import.h"

enum { NAME, COUNTRY, LABEL_EN, LABEL_JA, HOSTED_BY, KEY, COLUMNS };
static const char *const column_names[COLUMNS] = {"name",     "country",   "label_en",
                                                  "label_ja", "hosted_by", "key"};
static const struct csv_table_format format = {column_names, COLUMNS, COUNTRY + 1,
                                               "name,country,label_en,label_ja,hosted_by,key"};

struct adding {
    struct import *import;
    struct db *db;
    const struct collector_conf *conf;
    struct enrol_options options;
    size_t added, bundles;
    bool made_operator_key;
    struct operator_key *operator_key;
    char fingerprint[BUNDLE_FINGERPRINT];
    struct errmsg why; // no bundles
};

static const char *value_or_null(const char *value)
{
    return value && *value ? value : NULL;
}

// 0; -EINVAL: not this one, *ret_kind says of what kind; DB_REFUSED, -EEXIST likewise; else the
// end.
static int add_sensor(struct adding *a, char **values, const char **ret_kind, struct errmsg *e)
{
    char country[3], path[1024]; // longer than a bundle's may be
    uint8_t key[KEY_SIZE];
    const char *name = values[NAME] ? values[NAME] : "", *key_text = value_or_null(values[KEY]);
    *ret_kind = "name";
    int r = enrol_check_name(name, e);
    if (r == 0) {
        *ret_kind = "country";
        r = enrol_check_country(values[COUNTRY] ? values[COUNTRY] : "", country, e);
    }
    for (int i = LABEL_EN; r == 0 && i <= HOSTED_BY; i++) {
        *ret_kind = column_names[i];
        r = enrol_check_text(column_names[i], values[i], e);
    }
    if (r == 0 && key_text && key_parse(key_text, key) < 0) {
        *ret_kind = "key";
        r = errmsg_set(e, -EINVAL, "key: must be 40 characters of Z85 or 64 of hex");
    }
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "%s/%s.bundle", a->import->out ? a->import->out : ".", name);
    a->options.out = path;
    struct enrolment x = {
        .conf = a->conf,
        .options = &a->options,
        .name = name,
        .country = country,
        .label_en = value_or_null(values[LABEL_EN]),
        .label_ja = value_or_null(values[LABEL_JA]),
        .hosted_by = value_or_null(values[HOSTED_BY]),
        .key = key_text ? key : NULL,
        .shared_key = &a->operator_key,
    };
    *ret_kind = "not added";
    r = enrolment_add(a->db, &x, &a->why, e);
    a->made_operator_key |= x.made_operator_key;
    if (r == 0)
        a->added++;
    if (r == 0 && x.has_bundle) {
        a->bundles++;
        memcpy(a->fingerprint, x.written.fingerprint, sizeof a->fingerprint);
    }
    enrolment_release(&x);
    return r;
}

// One bad sensor does not keep the others out; a lost database does.
static int on_record(void *context, size_t line, char **values)
{
    struct adding *a = context;
    const char *kind;
    struct errmsg e = {"out of memory"};
    int r = add_sensor(a, values, &kind, &e);
    if (r == -EPIPE || r == -ETIMEDOUT || r == -ENOMEM) {
        a->import->e = e;
        return r;
    }
    if (r != 0)
        refusals_add(&a->import->refusals, line, kind, &e);
    return 0;
}

static int read_file(struct adding *a, const char *path)
{
    struct import *i = a->import;
    _cleanup_(fclosep) FILE *f = import_file(path, &i->e);
    _cleanup_(csv_table_freep) struct csv_table *table = NULL;
    if (!f)
        return -EINVAL;
    i->refusals.file = path;
    int r = csv_table_new(&format, on_record, a, &table);
    if (r == 0)
        r = csv_table_file(table, f, &i->e);
    if (r < 0)
        errmsg_prefix(&i->e, "%s", path);
    refusals_end(&i->refusals);
    return r;
}

static void report(const struct adding *a)
{
    char refused[256];
    refusals_summary(&a->import->refusals, "lines", refused, sizeof refused);
    printf("%zu sensors added, %zu bundles written to %s; %s\n", a->added, a->bundles,
           a->import->out ? a->import->out : ".", refused);
    if (a->made_operator_key)
        enrol_say_operator_made(a->conf, &a->options);
    if (a->bundles > 0)
        printf("signed by operator %s, valid for %lld days%s\n", a->fingerprint,
               (long long)a->options.valid_days,
               a->options.with_key ? "; each holds its sensor's secret key" : "");
    else if (a->why.text[0])
        fprintf(stderr, "no bundles: %s\n", a->why.text);
}

static int load(struct import *i)
{
    struct collector_conf conf;
    _cleanup_(db_freep) struct db *db = NULL;
    struct stat st;
    if (i->out && (stat(i->out, &st) < 0 || !S_ISDIR(st.st_mode)))
        return errmsg_set(&i->e, -ENOTDIR, "--out %s: must be a directory that is there", i->out);
    if (command_open_owner(i->conf_path, &conf, &db) < 0)
        return 1;
    struct adding a = {.import = i, .db = db, .conf = &conf};
    enrol_options_init(&a.options);
    a.options.with_key = i->with_key;
    a.options.wait_ms = 0;
    int r = read_file(&a, i->files[0]);
    if (r == 0 || a.added > 0 || a.made_operator_key)
        report(&a);
    operator_key_free(a.operator_key);
    collector_conf_free(&conf);
    return r;
}

int import_sensors(int argc, char **argv)
{
    struct import i;
    int code;
    if (import_begin(argc, argv, 1, &i, &code))
        return code;
    return import_end(&i, load(&i));
}
