// What the import commands share. Each returns the exit code.
#pragma once

#include <stdio.h>

#include "collector/command.h"
#include "collector/dataset.h"
#include "collector/refusals.h"

#define IMPORT_FILES_MAX 1000

extern const char import_usage[];

struct import {
    // options
    const char *as_of; // "": today
    const char *name;
    const char *out; // directory of bundles; NULL: here
    bool with_key;
    bool force, quiet;
    char today[16];
    // the rest
    const char *conf_path;
    char **files;
    size_t n_files;
    struct progress progress;
    struct refusals refusals;
    struct errmsg e;
};

// The command line, with up to files_max files. 0; 1: end with *ret_exit.
int import_begin(int argc, char **argv, int files_max, struct import *ret, int *ret_exit);
// Connects as hirundo_owner, to a database of this version. 0; 1: failed, and it is said.
int import_open(const struct import *i, struct db **ret);
// A file or standard input, past a byte order mark; what is compressed is refused.
FILE *import_file(const char *path, struct errmsg *e);
// The database and the only file. 0; 1: failed, and it is said; -EINVAL.
int import_open_with_file(struct import *i, struct db **ret_db, FILE **ret_f);
// Of a file whose reading gave r, and n of `what`: tells of what was refused. 0; r, with the file's
// name before i->e; -EINVAL: nothing is left.
int import_check(struct import *i, int r, size_t n, const char *what);
// Prints i->e, or nothing where it is said (r is 1).
int import_end(struct import *i, int r);
// "a.tsv", "a.tsv and 3 more".
void import_source(const struct import *i, char *text, size_t size);
// What a data set's arrival changed beside itself, if anything.
void import_print_report(const struct dataset_report *report);

int import_prefixes(int argc, char **argv);
int import_organisations(int argc, char **argv);
int import_scanners(int argc, char **argv);
int import_asnames(int argc, char **argv);
int import_holidays(int argc, char **argv);
int import_sensors(int argc, char **argv);
