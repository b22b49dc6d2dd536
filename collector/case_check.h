// Whether a case file is as the operator signed it: the signature of its manifest, then each file
// by size and digest, and that there is no other.
#pragma once

#include "collector/case_dir.h"
#include "collector/operator_key.h"

// What a manifest says. Texts are for people: cut where they are too long, fit for a terminal.
struct case_manifest {
    char organisation[256], period[64], made[32], tlp[16];
    struct case_file files[CASE_FILES_MAX]; // name, bytes, sha256
    size_t n;
};

#define CASE_MANIFEST_MAX (256 * 1024) // bytes

// -EINVAL: not a manifest, *e says why.
int case_manifest_parse(const char *text, size_t size, struct case_manifest *ret, struct errmsg *e);

// How the key to check with is known.
struct case_trust {
    bool by_fingerprint;
    const char *fingerprint;        // of the key that is in the directory
    uint8_t key[OPERATOR_KEY_SIZE]; // else
};

// Each thing that is wrong goes to `say`, a line each, fit for a terminal. 0: all is as it was
// signed; 1: it is not; -errno: the directory cannot be read.
typedef void (*case_say_fn)(void *data, const char *text);
int case_check(const char *directory, const struct case_trust *trust, case_say_fn say, void *data,
               struct case_manifest *ret, struct errmsg *e);
