// MaxMind databases (MMDB), through libmaxminddb: all networks of a file with their AS or country.
//
// The file is foreign: the walk over its search tree and the number of networks are bounded, and
// whatever is damaged in a part that is read makes the whole file wrong, never a part of it.
#pragma once

#include "collector/as_names.h"
#include "collector/prefixes.h"
#include "collector/progress.h"
#include "collector/refusals.h"

// Whether the file looks like one: named .mmdb, or with such metadata at its end.
bool mmdb_is_one(const char *path);

// Adds the file's networks to *list: AS from autonomous_system_number, country from
// country.iso_code, else registered_country.iso_code. IPv4 networks of an IPv6 tree are taken where
// they belong (::/96); its aliases (::ffff:0:0/96, 2002::/16, 2001::/32) are not. names may be
// NULL; else autonomous_system_organization, one for each AS. Networks with nothing of this are
// counted as refused. 0; -EINVAL with *e: damaged, or of no use; -ENOMEM; -errno.
int mmdb_read(const char *path, struct refusals *refusals, struct progress *progress,
              struct prefix_list *list, struct as_names *names, struct errmsg *e);
