// Giving up what only the opening of the interface needed.
#pragma once

#include "common/util.h"

// Becomes `user` (NULL: stays) when started as root, gives up every capability and the ways to get
// them back (no_new_privs). Before any thread is made: capabilities belong to threads.
int privilege_drop(const char *user, struct errmsg *e);
