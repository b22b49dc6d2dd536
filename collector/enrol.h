// Enrolment on the collector's side: making bundles, and the audit of what people do.
#pragma once

#include "collector/collector_conf.h"
#include "collector/db.h"
#include "collector/operator_key.h"
#include "common/bundle.h"

// "USER@HOST" of the person at the keyboard: the one behind sudo, if any.
void enrol_unix_user(char *ret, size_t size);
// One row of hirundo.audit, in the transaction that is open.
int enrol_audit(struct db *db, const char *action, const char *sensor, const char *detail,
                struct errmsg *e);

struct enrol_options {
    struct conf_list endpoints; // as sensors reach the collector; empty: what is known
    struct conf_list exclude;
    const char *operator_key; // path; NULL: the configuration's
    const char *out;          // path; NULL: NAME.bundle
    int64_t window_ms, spool_cap, max_kbit, valid_days;
    int wait_ms; // for serve to note its address, when it never has
    bool with_key;
};
void enrol_options_init(struct enrol_options *o);
void enrol_options_release(struct enrol_options *o);

// -EINVAL with *e: not tcp://ADDRESS:PORT with an address, in numbers, that another machine can
// reach. where: who said it.
int enrol_check_endpoint(const char *where, const char *endpoint, struct errmsg *e);

// Fills what a bundle says of the collector: keys from the database, or from the key file;
// endpoints from the options, the configuration or the database. -ENOENT: *e says what is not
// known.
int enrol_describe_collector(struct db *db, const struct collector_conf *conf,
                             const struct enrol_options *o, struct bundle *b, struct errmsg *e);

// The operator's key, made when it is missing.
int enrol_open_operator(const struct collector_conf *conf, const struct enrol_options *o,
                        struct operator_key **ret, bool *ret_made, struct errmsg *e);

// For people, on standard error: it was made, and where.
void enrol_say_operator_made(const struct collector_conf *conf, const struct enrol_options *o);

// Signs the bundle, notes it in the database inside the open transaction and writes it to a new
// file, 0600. *ret is for the message. The caller removes the file if it cannot commit.
struct enrol_written {
    char path[512];
    char fingerprint[BUNDLE_FINGERPRINT];
    bool has_next; // the collector's next key is in it
};
int enrol_write_bundle(struct db *db, const struct operator_key *key, const struct enrol_options *o,
                       struct bundle *b, struct enrol_written *ret, struct errmsg *e);
