// Enrolment papers: the bundle that a collector's owner signs for a sensor, and the request with
// which the sensor answers.
//
// A bundle is a text file in the manner of a configuration (INI). It says who the sensor is and how
// to reach the collector, and is signed with the operator's Ed25519 key over every byte before its
// section [signature], which is its last. It holds no secret unless it was made for unattended
// roll-outs ([key]). The request is one line without white space: the sensor's name, its public key
// and a checksum against slips of copying. Neither is trusted for anything but enrolment: who may
// deliver is decided by the keys in the database.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/conf.h"
#include "common/keys.h"
#include "common/util.h"

#define BUNDLE_SIZE_MAX       16384 // bytes of a bundle
#define BUNDLE_SIGNATURE      64
#define BUNDLE_FINGERPRINT    40 // "xxxx-" eight times, the last without its hyphen, and NUL
#define SENSOR_NAME_MAX       63
#define REQUEST_SIZE          (8 + SENSOR_NAME_MAX + 1 + 2 * KEY_SIZE + 1 + 8 + 1)
#define BUNDLE_VALID_DAYS     7
#define BUNDLE_VALID_DAYS_MAX 366

struct bundle {
    char *name;
    char *country;                  // ISO 3166-1 alpha-2
    int64_t issued_s, expires_s;    // seconds since 1970-01-01T00:00:00Z
    uint8_t operator_key[KEY_SIZE]; // Ed25519 public key
    struct conf_list endpoints;     // tcp://ADDRESS:PORT, numeric
    uint8_t server_key[KEY_SIZE];
    bool has_next; // the collector's next key, and where it is served
    struct conf_list next_endpoints;
    uint8_t next_server_key[KEY_SIZE];
    int64_t max_kbit; // 0: none
    struct conf_list exclude;
    int64_t window_ms;
    int64_t spool_cap; // bytes
    bool has_key;      // the sensor's own pair is in it: a secret
    struct key_pair key;
};

void bundle_free(struct bundle *b); // what *b holds, wiped

// 1 to 63 lower-case letters, digits and hyphens, not beginning with a hyphen.
bool sensor_name_is_valid(const char *name);

// What is signed, as text. *ret is malloc'ed; the caller frees (and wipes) it.
int bundle_format(const struct bundle *b, char **ret);
// The last lines of the file.
int bundle_format_signature(const uint8_t signature[BUNDLE_SIGNATURE], char *ret, size_t size);

// Reads, checks the signature with the operator's key that is in the bundle, and every field. That
// the operator is the right one is for the caller to find out (bundle_fingerprint), as is expiry.
// -EINVAL: damaged or changed; what opening the file said. A bundle with a key must be 0600.
int bundle_read(const char *path, struct bundle *ret, struct errmsg *e);
// The same of a text of `size` bytes with a NUL behind it, which it may write to and leaves as it
// was; `name` stands for it in messages. After sodium_init.
int bundle_parse(const char *name, char *text, size_t size, struct bundle *ret, struct errmsg *e);

// Of an operator's public key, to be compared by people.
void bundle_fingerprint(const uint8_t operator_key[KEY_SIZE], char ret[BUNDLE_FINGERPRINT]);
// Does the text name that fingerprint? Case, hyphens, colons and spaces do not matter.
bool bundle_fingerprint_is(const uint8_t operator_key[KEY_SIZE], const char *text);

// "request:NAME:KEY:CHECK", KEY in hex, CHECK the first eight digits of SHA-256 over what is before
// it.
void request_format(const char *name, const uint8_t key[KEY_SIZE], char ret[REQUEST_SIZE]);
// -EINVAL with *e filled.
int request_parse(const char *text, char ret_name[SENSOR_NAME_MAX + 1], uint8_t ret_key[KEY_SIZE],
                  struct errmsg *e);
