// The tables that go with the captures: networks, organisations, sensors.
#pragma once

#include "truth.h"

// prefix<TAB>AS<TAB>country, the AS empty where the prefix has none. IPv4 and IPv6; nested prefixes
// occur. 0 or -errno, as below.
int prefixes_write(const char *path);

// The header name,prefixes,contacts,tlp, fields quoted as in RFC 4180; prefixes separated by ';'.
int organisations_write(const char *path);

// Tab-separated after a '#' line: code, country, label_en, label_ja, files (separated by commas,
// relative to the output directory).
int sensors_write(const struct truth *truth, const char *path);
