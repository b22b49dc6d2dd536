#include "sensor/next_key.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "sensor/cmd.h"
#include "sensor/probe.h"

// Revoked are both keys of this sensor, or the next one alone.
static int settle_revoked(const struct sensor_conf *conf, struct sensor_keys *keys,
                          const char *next_path, struct errmsg *e)
{
    struct probe p;
    int r = probe_collectors(conf, &keys->present, &p, e);
    if (r < 0)
        return r;
    if (p.answer == PROBE_UNREACHABLE || p.answer == PROBE_REFUSED)
        return errmsg_set(e, -ENOTCONN,
                          "collector %s does not let the next key in, and does not answer to the "
                          "present one: try again later",
                          p.endpoint);
    if (p.answer == PROBE_REVOKED)
        return errmsg_set(e, -EPERM,
                          "collector %s has revoked this sensor's keys: its owner adds the machine "
                          "anew under another name",
                          p.endpoint);
    if (unlink(next_path) < 0)
        return errmsg_set(e, -errno, "key file %s: %s", next_path, strerror(errno));
    cmd_say("the next key was withdrawn by the collector's owner: %s is removed, the present key "
            "goes on",
            next_path);
    keys->has_next = false;
    return 0;
}

int next_key_settle(const struct sensor_conf *conf, struct sensor_keys *keys, struct errmsg *e)
{
    char next_path[PATH_MAX];
    struct probe p;
    int n = snprintf(next_path, sizeof next_path, "%s" SENSOR_KEY_NEXT, conf->values.key);
    if (n < 0 || (size_t)n >= sizeof next_path)
        return errmsg_set(e, -ENAMETOOLONG, "key file %.80s...: too long a path", conf->values.key);
    int r = probe_collectors(conf, &keys->next, &p, e);
    if (r < 0)
        return r;
    switch (p.answer) {
    case PROBE_UNREACHABLE:
        return errmsg_set(e, -ENOTCONN,
                          "collector %s cannot be reached, so nobody can tell whether the next key "
                          "is in use already: try again when it can",
                          p.endpoint);
    case PROBE_REVOKED:
        return settle_revoked(conf, keys, next_path, e);
    case PROBE_REFUSED:
        return 0; // it still waits for approval
    case PROBE_SILENT:
    case PROBE_NO_DATABASE:
    case PROBE_GOOD:
        break;
    }
    if (rename(next_path, conf->values.key) < 0)
        return errmsg_set(e, -errno, "key file %s: %s", conf->values.key, strerror(errno));
    cmd_say("the key approved last is in place: %s", conf->values.key);
    keys->present = keys->next;
    keys->has_next = false;
    return 0;
}
