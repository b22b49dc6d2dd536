#include "sensor/sandbox.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// Names that this machine does not have are passed over.
// clang-format off
static const char *const allowed[] = {
    // memory, threads, time, signals
    "brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "mlock", "munlock", "futex",
    "futex_time64", "set_robust_list", "get_robust_list", "rseq", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_setscheduler",
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "clock_nanosleep_time64",
    "gettimeofday", "nanosleep", "restart_syscall", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sigreturn", "sigaltstack", "getrandom", "getpid", "gettid", "tgkill", "getuid",
    "geteuid", "getgid", "getegid", "getrusage", "prlimit64", "getrlimit", "uname", "sysinfo",
    "prctl", "exit", "exit_group", "set_tid_address", "membarrier",
    // files: spool, sysfs counters of the interface, capture files
    "read", "readv", "pread64", "write", "writev", "pwrite64", "open", "openat", "close", "fstat",
    "fstat64", "stat", "stat64", "lstat", "lstat64", "newfstatat", "fstatat64", "statx", "lseek",
    "_llseek", "access", "faccessat", "faccessat2", "fcntl", "fcntl64", "flock", "fsync",
    "fdatasync", "ftruncate", "ftruncate64", "fallocate", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "mkdir", "mkdirat", "fchmod", "fchown", "fchown32", "getcwd", "readlink",
    "readlinkat", "getdents64", "statfs", "statfs64", "fstatfs", "fstatfs64", "dup", "dup2", "dup3", "pipe2",
    // sockets of the uplink, events
    "bind", "connect", "getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown",
    "sendto", "sendmsg", "recvfrom", "recvmsg", "poll", "ppoll", "select", "pselect6",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd",
    "eventfd2", "ioctl",
};
// clang-format on

static int allow_plain(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
        int number = seccomp_syscall_resolve_name(allowed[i]);
        if (number < 0)
            continue;
        int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
        if (r < 0)
            return r;
    }
    return 0;
}

// TCP for the uplink, netlink because libzmq ends the process when it cannot list the interfaces;
// other kinds fail as if there were none. Nothing may listen.
static int allow_sockets(scmp_filter_ctx filter)
{
    for (unsigned family = 0; family < AF_MAX; family++) {
        bool used = family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
        int r = seccomp_rule_add(filter, used ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EAFNOSUPPORT),
                                 SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, family, 0));
        if (r < 0)
            return r;
    }
    return 0;
}

// New threads, but no new processes; clone3 hides its flags, so the C library is made to use clone.
static int allow_threads(scmp_filter_ctx filter)
{
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    return r;
}

static void releasep(scmp_filter_ctx *filter)
{
    if (*filter)
        seccomp_release(*filter);
}

// Ending the whole process is what Linux 4.14 brought; an emulator may have none of it.
static bool kernel_can(void)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int sandbox_enter(struct errmsg *e)
{
    if (SANDBOX_ABSENT)
        return 0;
    if (!kernel_can())
        return errmsg_set(e, SANDBOX_UNAVAILABLE,
                          "this kernel cannot confine system calls (seccomp of Linux 4.14): going "
                          "on without that line of defence");
    _cleanup_(releasep) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return errmsg_set(e, -ENOMEM, "out of memory");
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
    if (r == 0)
        r = allow_plain(filter);
    if (r == 0)
        r = allow_sockets(filter);
    if (r == 0)
        r = allow_threads(filter);
    if (r == 0)
        r = seccomp_load(filter);
    return r < 0 ? errmsg_set(e, r, "cannot confine system calls (seccomp): %s", strerror(-r)) : 0;
}
