// The parts of `hirundo-collector sensor`: each a subcommand with its own words.
#pragma once

#include "collector/command.h"

int sensor_add(int argc, char **argv);
int sensor_bundle(int argc, char **argv);
int sensor_approve(int argc, char **argv);
int sensor_rotate(int argc, char **argv);
int sensor_revoke(int argc, char **argv);

extern const char sensor_usage[];

// -ENOENT with *e: there is none of that name.
int sensor_require(struct db *db, const char *name, struct errmsg *e);
