// CURVE keys: 32 bytes, written as 40 characters of Z85 (ZeroMQ RFC 32); hex (64 characters) is
// read too.
#pragma once

#include <stdint.h>

#include "common/util.h"

#define KEY_SIZE     32
#define KEY_Z85_SIZE 41 // with its NUL
#define KEY_HEX_SIZE (2 * KEY_SIZE + 1)

struct key_pair {
    uint8_t public_key[KEY_SIZE];
    uint8_t secret_key[KEY_SIZE];
};

int key_pair_generate(struct key_pair *ret);
// Where a key file is to be read: in $CREDENTIALS_DIRECTORY if the service manager has put a file
// of that name there, else at its path. -ENAMETOOLONG.
int key_file_place(const char *path, char *ret, size_t size);
// A key file is two lines, "public = Z85" and "secret = Z85", mode 0600 or stricter, owned by the
// user or root, a regular file. Anything else is refused with a message that says how to mend it.
int key_file_read(const char *path, struct key_pair *ret, struct errmsg *e);
// Opens such a file for reading, if its mode, owner and kind are as they must be: a descriptor, or
// what went wrong.
int key_file_open(const char *path, struct errmsg *e);
// Never overwrites: -EEXIST.
int key_file_write(const char *path, const struct key_pair *pair, struct errmsg *e);
// Forgets the secret for good.
void key_pair_wipe(struct key_pair *pair);

int key_parse(const char *text, uint8_t ret_key[KEY_SIZE]); // -EINVAL
// "name = Z85" and a newline.
void key_write(FILE *out, const char *name, const uint8_t key[KEY_SIZE]);
void key_format(const uint8_t key[KEY_SIZE], char ret_text[KEY_Z85_SIZE]);
