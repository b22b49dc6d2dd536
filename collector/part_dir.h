// A directory while it is filled, before anybody looks at it: STEM-XXXXXX (STEM: where it is to go,
// and a suffix), for its maker alone (0700), locked (flock) as long as its maker lives. What a
// killed run left is known by that: it bears the name, nobody has the lock, and it holds nothing
// but files of such a run.
#pragma once

#include <limits.h>

#include "common/util.h"

struct part_dir {
    char path[PATH_MAX]; // "": there is none
    int fd;
};

// Whether a file of that name is one that such a directory may hold.
typedef bool (*part_name_fn)(const char *name);

// target: where its files are to go, for messages too; suffix: ".part" for beside it, "/.report"
// for in it. First removes what killed runs left of the same name: directories of this user with no
// file in them that `holds` does not know.
int part_dir_new(const char *target, const char *suffix, part_name_fn holds, struct part_dir *ret,
                 struct errmsg *e);
// Removes the files in it and itself; only closes it where its path is "".
void part_dir_release(struct part_dir *d);

// The path without slashes at its end, "/" as it is. -ENAMETOOLONG.
int part_dir_target(const char *out, char ret[PATH_MAX], struct errmsg *e);
