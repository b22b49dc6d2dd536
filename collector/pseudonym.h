// What sensors are called towards a partner: HMAC-SHA256 over both names, with a key that is in a
// file of the owner's and in no database. Who has the database alone cannot tell which sensor a
// name belongs to that another partner was given, nor can two partners compare theirs.
#pragma once

#include "common/util.h"

#define PSEUDONYM_KEY_SIZE 32
#define PSEUDONYM_SIZE     19 // "s-" and 16 hex digits, with its NUL

struct pseudonym_key {
    unsigned char bytes[PSEUDONYM_KEY_SIZE];
};

// A key file is one line of 64 hex digits, mode 0600 or stricter, owned by the user or root.
// -ENOENT: there is none.
int pseudonym_key_read(const char *path, struct pseudonym_key *ret, struct errmsg *e);
// Makes one; never overwrites: -EEXIST.
int pseudonym_key_make(const char *path, struct pseudonym_key *ret, struct errmsg *e);
void pseudonym_key_wipe(struct pseudonym_key *key);

int pseudonym_make(const struct pseudonym_key *key, const char *partner, const char *sensor,
                   char ret[PSEUDONYM_SIZE], struct errmsg *e);
