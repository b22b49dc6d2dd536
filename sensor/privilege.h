// Giving up what only the opening of the interface needed.
#pragma once

#include <sys/types.h>

#include "common/util.h"

struct privilege_user {
    uid_t uid;
    gid_t gid;
};

// A user in /etc/passwd; no name service is asked. -ENOENT.
int privilege_find_user(const char *name, struct privilege_user *ret);

// Becomes `user` (NULL: stays) when started as root, gives up every capability and the ways to get
// them back (no_new_privs). Before any thread is made: capabilities belong to threads.
int privilege_drop(const char *user, struct errmsg *e);
