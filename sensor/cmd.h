// What the subcommands share: messages, configuration, keys.
#pragma once

#include "common/keys.h"
#include "common/util.h"
#include "sensor/commands.h"
#include "sensor/sensor_conf.h"

// "hirundo-sensor: text" on standard error.
__attribute__((format(printf, 1, 2))) void cmd_say(const char *format, ...);
// The text of --help to standard output; 0.
int cmd_help(const char *text);
// The same to standard error; EXIT_USAGE.
int cmd_usage(const char *text);
// Reads the configuration, sets the log level. On failure the reason has been said; value: exit
// status.
int cmd_conf(const char *path, struct sensor_conf **ret);
int cmd_keys(const struct sensor_conf *conf, const char *conf_path, struct sensor_keys *ret);
