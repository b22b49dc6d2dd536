// The parts of `hirundo-collector sensor`: each a subcommand with its own words.
#pragma once

#include "collector/command.h"

int sensor_add(int argc, char **argv);
int sensor_bundle(int argc, char **argv);
int sensor_approve(int argc, char **argv);
int sensor_rotate(int argc, char **argv);
int sensor_revoke(int argc, char **argv);

extern const char sensor_usage[];

// The configuration and a database that has the schema, as its owner. Errors are printed.
int sensor_open(const char *conf_path, struct collector_conf *ret_conf, struct db **ret_db);
// -ENOENT with *e: there is none of that name.
int sensor_require(struct db *db, const char *name, struct errmsg *e);
// One transaction: begin, what `work` does, commit; rolled back if that fails.
int sensor_transaction(struct db *db, int (*work)(struct db *db, void *data, struct errmsg *e),
                       void *data, struct errmsg *e);
