// The last line of defence: after the start, all threads may make only the system calls that a
// sensor's day needs. Anything else ends the process (SIGSYS).
#pragma once

#include "common/util.h"

// Sanitizers stop and trace their own process at its end: in their builds there is no sandbox.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_ABSENT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_ABSENT 1
#endif
#endif
#ifndef SANDBOX_ABSENT
#define SANDBOX_ABSENT 0
#endif

// For every thread there is and will be (seccomp with TSYNC); sets no_new_privs. Cannot be undone.
// SANDBOX_UNAVAILABLE, with *e saying so, where the kernel cannot do it: what is left is a process
// without privileges, and the caller warns. -errno when it should have worked.
#define SANDBOX_UNAVAILABLE 1
int sandbox_enter(struct errmsg *e);
