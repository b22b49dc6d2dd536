#include "sensor/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

void cmd_say(const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fprintf(stderr, "hirundo-sensor: %s\n", text);
}

int cmd_help(const char *text)
{
    fputs(text, stdout);
    return 0;
}

int cmd_usage(const char *text)
{
    fputs(text, stderr);
    return EXIT_USAGE;
}

int cmd_conf(const char *path, struct sensor_conf **ret)
{
    struct errmsg e;
    if (sensor_conf_read(path, ret, &e) < 0) {
        cmd_say("%s", e.text);
        return EXIT_FAILED;
    }
    log_set_level((*ret)->log_level);
    return 0;
}

int cmd_keys(const struct sensor_conf *conf, const char *conf_path, struct sensor_keys *ret)
{
    struct errmsg e;
    int r = sensor_keys_read(conf->values.key, ret, &e);
    if (r == 0)
        return 0;
    if (r == -ENOENT)
        cmd_say("key file %s is missing: make it with hirundo-sensor keygen -c %s",
                conf->values.key, conf_path);
    else
        cmd_say("%s", e.text);
    return EXIT_FAILED;
}
