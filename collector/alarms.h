// Alarms on their way into hirundo.audit: raised by writers, written by the keeper. Fixed memory;
// of one sensor the same alarm is written at most every ten minutes. Any thread.
#pragma once

#include "collector/db.h"

struct alarms;

int alarms_new(struct alarms **ret);
void alarms_free(struct alarms *a);
DEFINE_CLEANUP(struct alarms *, alarms_free)

// action: a static text, "alarm fork". Beyond what fits the alarm is in the log alone.
void alarms_raise(struct alarms *a, const char *action, const char *sensor, const char *detail);
// Writes those that wait; what could not be written stays.
int alarms_save(struct alarms *a, struct db *db, struct errmsg *e);
