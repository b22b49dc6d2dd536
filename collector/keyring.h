// The keys that are let in, as the database has them, and the settings that ingest needs: read by
// many threads, replaced by one.
#pragma once

#include "collector/db.h"
#include "collector/validate.h"
#include "common/keys.h"

#define KEYRING_NAME_MAX 64

struct keyring;

int keyring_new(struct keyring **ret);
void keyring_free(struct keyring *k);
DEFINE_CLEANUP(struct keyring *, keyring_free)

// Reads sensors, keys and settings. 0; DB_REFUSED, -EPIPE, -ENOMEM: what was there stays.
int keyring_refresh(struct keyring *k, struct db *db, struct errmsg *e);

enum keyring_state {
    KEYRING_UNKNOWN,
    KEYRING_ENROLLED, // let in
    KEYRING_REVOKED,
    KEYRING_EXPIRED, // it came in a bundle and was not used before that expired
};

// What is known of a key, in Z85; unless it is unknown, whose it is.
enum keyring_state keyring_look(struct keyring *k, const char *key, int16_t *ret_sensor_id,
                                char ret_name[KEYRING_NAME_MAX]);
// Somebody has connected with this key: remembered if the database does not know of a first use.
void keyring_note_used(struct keyring *k, const uint8_t key[KEY_SIZE]);
// One of the keys so remembered, which is then forgotten; false: there is none.
bool keyring_take_used(struct keyring *k, uint8_t ret_key[KEY_SIZE]);
// True while the sensor has at least one key that is let in.
bool keyring_has_sensor(struct keyring *k, int16_t sensor_id);
size_t keyring_count(struct keyring *k);
// Limits as of now.
void keyring_limits(struct keyring *k, int64_t now_ms, struct validate_limits *ret);
