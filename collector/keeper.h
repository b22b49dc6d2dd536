// The keeper: one thread, one database connection. Keeps the keyring as the database has it, within
// a second and at once when sensor add or revoke notify it, and makes partitions ahead.
#pragma once

#include "collector/keyring.h"

struct keeper;
// Reads the keyring once before it returns.
int keeper_start(const char *conninfo, struct keyring *keyring, struct keeper **ret,
                 struct errmsg *e);
void keeper_stop(struct keeper *k);
