// A case file's directory while it is written: a new one beside the one that was asked for
// (part_dir), its files digested as they are written; renamed when all is there. One file is open
// at a time.
#pragma once

#include "common/util.h"

#define CASE_FILES_MAX   32
#define CASE_NAME_MAX    63
#define CASE_DIGEST_SIZE 65 // SHA-256 in hex, with its NUL
#define CASE_MANIFEST    "manifest.json"
#define CASE_SIGNATURE   "manifest.sig"
#define CASE_KEY         "operator.pub"

struct case_file {
    char name[CASE_NAME_MAX + 1];
    char sha256[CASE_DIGEST_SIZE];
    uint64_t bytes;
    uint64_t rows; // for the person who reads the list; not of every file
    int64_t ms;
};

struct case_dir;

// 1 to 63 letters, digits, dots, hyphens and underscores, not beginning with a dot: what a file of
// a case may be called.
bool case_name_is_valid(const char *name);

// Removes what a killed run left beside it. out: not there, or an empty directory; else -ENOTEMPTY,
// -ENOTDIR or what the system said.
int case_dir_new(const char *out, struct case_dir **ret, struct errmsg *e);
// Removes what was not finished.
void case_dir_free(struct case_dir *dir);
DEFINE_CLEANUP(struct case_dir *, case_dir_free)

int case_dir_begin(struct case_dir *dir, const char *name, struct errmsg *e);
int case_dir_put(struct case_dir *dir, const void *data, size_t size, struct errmsg *e);
int case_dir_end(struct case_dir *dir, uint64_t rows, struct errmsg *e);
// The three in one.
int case_dir_write(struct case_dir *dir, const char *name, const void *data, size_t size,
                   struct errmsg *e);
// Those that are written.
const struct case_file *case_dir_files(const struct case_dir *dir, size_t *ret_n);
// Puts the directory in its place.
int case_dir_finish(struct case_dir *dir, struct errmsg *e);
