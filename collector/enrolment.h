// A sensor's entry into the database, with the bundle that brings it there: what sensor add, sensor
// bundle and import sensors share.
#pragma once

#include "collector/enrol.h"

struct enrolment {
    const struct collector_conf *conf;
    const struct enrol_options *options;
    const char *name;
    const char *country;                         // two capital letters
    const char *label_en, *label_ja, *hosted_by; // NULL: the name, label_en, nobody
    const uint8_t *key;                          // NULL: to come
    struct operator_key *
        *shared_key; // opened by the first of many, who share it; NULL: for this one alone

    // results
    bool has_bundle;
    bool made_operator_key;
    char sensor_id[16];
    struct enrol_written written;

    // its own
    struct bundle bundle;
    struct operator_key *operator_key;
};

int enrol_check_name(const char *name, struct errmsg *e);
// Two letters that name a country, as capitals.
int enrol_check_country(const char *text, char ret[3], struct errmsg *e);
// What people read of a sensor, in tables and reports: one line of UTF-8, without control
// characters. what: how it is called; text: NULL is nothing.
int enrol_check_text(const char *what, const char *text, struct errmsg *e);

// Adds the sensor and, unless its key is given, makes a bundle: both or neither, in one
// transaction. Where the collector or the operator's key cannot be had the sensor is added all the
// same, and *why says what is missing.
int enrolment_add(struct db *db, struct enrolment *x, struct errmsg *why, struct errmsg *e);
// Another bundle for a sensor that is there.
int enrolment_bundle(struct db *db, struct enrolment *x, struct errmsg *e);
void enrolment_release(struct enrolment *x);
