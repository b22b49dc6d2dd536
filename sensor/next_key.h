// The key pair that will replace the present one (KEYFILE.next): in use once the collector lets it
// in.
#pragma once

#include "sensor/sensor_conf.h"

// Asks the collectors whether the next key is let in; if so it takes the present one's place: the
// file, and keys->present, with has_next false after. Where it was withdrawn (sensor rotate NAME
// --cancel), and the present one is let in, its file is removed, with has_next false after. Else it
// still waits for approval, and all stays. -ENOTCONN: nobody can be asked; -EPERM: revoked; others.
int next_key_settle(const struct sensor_conf *conf, struct sensor_keys *keys, struct errmsg *e);
