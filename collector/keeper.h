// The keeper: one thread, one database connection. Keeps the keyring as the database has it, within
// a second and at once when sensor add or revoke notify it, makes partitions ahead, and notes what
// enrolment needs to know: first uses of keys, strangers, alarms, where this collector is reached.
#pragma once

#include "collector/alarms.h"
#include "collector/keyring.h"
#include "collector/strangers.h"
#include "common/conf.h"
#include "common/pulse.h"

struct keeper;
// Reads the keyring once before it returns.
int keeper_start(const char *conninfo, struct keyring *keyring, struct strangers *strangers,
                 struct alarms *alarms, struct keeper **ret, struct errmsg *e);
// Where sensors reach this collector, and with which key: noted now and every quarter of an hour.
// The list is copied. At most twice: the present key's, the next one's.
int keeper_announce(struct keeper *k, const uint8_t key[KEY_SIZE],
                    const struct conf_list *endpoints, bool is_next);
// Beaten at least as often as the keyring is read.
const struct pulse *keeper_pulse(const struct keeper *k);
void keeper_stop(struct keeper *k);
