#include "sensor/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

// NULL if there is none. Reads /etc/passwd itself: in the static program getpwnam() would load the
// plug-ins that nsswitch.conf names, made for another libc, and crash in them.
static const struct passwd *find_user(const char *user)
{
    _cleanup_(fclosep) FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *pw = file ? fgetpwent(file) : NULL;
    while (pw && strcmp(pw->pw_name, user) != 0)
        pw = fgetpwent(file);
    return pw;
}

int privilege_find_user(const char *name, struct privilege_user *ret)
{
    const struct passwd *pw = find_user(name);
    if (!pw)
        return -ENOENT;
    *ret = (struct privilege_user){pw->pw_uid, pw->pw_gid};
    return 0;
}

static int become(const char *user, struct errmsg *e)
{
    const struct passwd *pw = find_user(user);
    if (!pw)
        return errmsg_set(e, -ENOENT, "[sensor] user \"%s\" is not in /etc/passwd", user);
    if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        return errmsg_set(e, -errno, "cannot become user %s: %s", user, strerror(errno));
    return 0;
}

int privilege_drop(const char *user, struct errmsg *e)
{
    if (geteuid() == 0 && user) {
        int r = become(user, e);
        if (r < 0)
            return r;
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &header, none) < 0)
        return errmsg_set(e, -errno, "cannot give up capabilities: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errmsg_set(e, -errno, "cannot set no_new_privs: %s", strerror(errno));
    return 0;
}
