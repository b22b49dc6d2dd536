// The keys that were refused, the last ones: noted by the authentication, written to
// hirundo.unknown_key by the keeper, so that an operator sees who waits for approval. Fixed memory,
// whatever comes; any thread.
#pragma once

#include "collector/db.h"
#include "common/keys.h"

#define STRANGERS_MAX 256

struct strangers;

int strangers_new(struct strangers **ret);
void strangers_free(struct strangers *s);
DEFINE_CLEANUP(struct strangers *, strangers_free)

// address: text, cut at 63 characters. Beyond STRANGERS_MAX the one seen longest ago makes room.
void strangers_note(struct strangers *s, const uint8_t key[KEY_SIZE], const char *address,
                    int64_t now_ms);
// Writes what is new since the last call, and keeps the table at its STRANGERS_MAX newest rows.
// What could not be written is tried again with the next call.
int strangers_save(struct strangers *s, struct db *db, struct errmsg *e);
