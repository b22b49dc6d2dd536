// The serving collector: keyring, authentication, listener and writers, from start to stop.
#pragma once

#include "collector/collector_conf.h"

// Runs until SIGTERM or SIGINT. 0, or -errno with *e: could not start, or had to give up.
int serve(const struct collector_conf *conf, struct errmsg *e);
