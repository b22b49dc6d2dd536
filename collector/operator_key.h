// The operator's Ed25519 key: signs bundles (and case files), never runs anything. serve does not
// need it, so it may live on another machine.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/util.h"

#define OPERATOR_KEY_SIZE       32
#define OPERATOR_SIGNATURE_SIZE 64

struct operator_key;

// Reads a PEM file (PKCS #8), mode 0600 or stricter. -ENOENT: there is none.
int operator_key_read(const char *path, struct operator_key **ret, struct errmsg *e);
// Makes one; never overwrites: -EEXIST.
int operator_key_make(const char *path, struct operator_key **ret, struct errmsg *e);
void operator_key_free(struct operator_key *k);
DEFINE_CLEANUP(struct operator_key *, operator_key_free)

void operator_key_public(const struct operator_key *k, uint8_t ret[OPERATOR_KEY_SIZE]);
int operator_key_sign(const struct operator_key *k, const void *data, size_t size,
                      uint8_t ret[OPERATOR_SIGNATURE_SIZE], struct errmsg *e);

// ---- the public half, for whoever checks a signature

#define OPERATOR_PEM_SIZE 256

// As a PEM file holds it (SubjectPublicKeyInfo), which openssl reads too.
int operator_key_public_pem(const struct operator_key *k, char ret[OPERATOR_PEM_SIZE],
                            struct errmsg *e);
// -EINVAL: no Ed25519 public key in PEM.
int operator_public_parse(const char *pem, size_t size, uint8_t ret[OPERATOR_KEY_SIZE]);
bool operator_public_verify(const uint8_t key[OPERATOR_KEY_SIZE], const void *data, size_t size,
                            const uint8_t signature[OPERATOR_SIGNATURE_SIZE]);
