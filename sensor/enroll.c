#include "sensor/enroll.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "sensor/privilege.h"

#define SENSOR_USER   "hirundo-sensor"
#define FALLBACK_USER "nobody"
#define CONF_SIZE_MAX (2 * BUNDLE_SIZE_MAX)

// ---- which interface

// Destination 0 in /proc/net/route (proc(5)): name, destination, gateway, flags, ... in hex.
static int default_route4(char *ret, size_t size)
{
    _cleanup_(fclosep) FILE *f = fopen("/proc/net/route", "re");
    char line[256], name[IF_NAMESIZE];
    unsigned destination, mask;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%15s %x %*x %*x %*d %*d %*d %x", name, &destination, &mask) == 3 &&
            destination == 0 && mask == 0) {
            snprintf(ret, size, "%s", name);
            return 0;
        }
    }
    return -ENOENT;
}

// ::/0 in /proc/net/ipv6_route, unless it is the kernel's own reject route on lo.
static int default_route6(char *ret, size_t size)
{
    _cleanup_(fclosep) FILE *f = fopen("/proc/net/ipv6_route", "re");
    char line[256], name[IF_NAMESIZE], destination[33];
    unsigned length;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%32s %x %*s %*x %*s %*x %*x %*x %*x %15s", destination, &length, name) ==
                3 &&
            length == 0 && strspn(destination, "0") == 32 && strcmp(name, "lo") != 0) {
            snprintf(ret, size, "%s", name);
            return 0;
        }
    }
    return -ENOENT;
}

int enroll_default_interface(char *ret, size_t size, struct errmsg *e)
{
    if (default_route4(ret, size) == 0 || default_route6(ret, size) == 0)
        return 0;
    return errmsg_set(e, -ENOENT,
                      "this machine has no default route that would tell which interface to listen "
                      "on: say --interface NAME");
}

// ---- files

static int make_directory_of(const char *path, mode_t mode, struct errmsg *e)
{
    _cleanup_(freep) char *copy = strdup(path);
    if (!copy)
        return errmsg_set(e, -ENOMEM, "out of memory");
    const char *dir = dirname(copy);
    if (mkdir(dir, mode) < 0 && errno != EEXIST)
        return errmsg_set(e, -errno, "directory %s cannot be made: %s", dir, strerror(errno));
    return 0;
}

// Whoever the sensor will be when it runs: a user of its own if there is one.
static const char *choose_user(struct privilege_user *ret)
{
    static const char *const users[] = {SENSOR_USER, FALLBACK_USER};
    for (size_t i = 0; geteuid() == 0 && i < ARRAY_SIZE(users); i++)
        if (privilege_find_user(users[i], ret) == 0)
            return users[i];
    return NULL;
}

static int make_spool_directory(const char *spool_path, const struct privilege_user *user,
                                struct errmsg *e)
{
    _cleanup_(freep) char *copy = strdup(spool_path);
    if (!copy)
        return errmsg_set(e, -ENOMEM, "out of memory");
    const char *dir = dirname(copy);
    if (mkdir(dir, 0700) < 0)
        return errno == EEXIST ? 0
                               : errmsg_set(e, -errno, "spool directory %s cannot be made: %s", dir,
                                            strerror(errno));
    if (user && chown(dir, user->uid, user->gid) < 0)
        return errmsg_set(e, -errno, "spool directory %s: %s", dir, strerror(errno));
    return 0;
}

static int take_key(const struct bundle *b, const char *path, struct enroll_result *ret,
                    struct errmsg *e)
{
    _cleanup_(key_pair_wipe) struct key_pair pair = {0};
    int r = key_file_read(path, &pair, e);
    if (r == 0 && b->has_key && memcmp(pair.public_key, b->key.public_key, KEY_SIZE) != 0)
        return errmsg_set(
            e, -EEXIST, "key file %s holds another key than the bundle: move it away first", path);
    if (r == -ENOENT) {
        ret->again = false;
        if (b->has_key)
            pair = b->key;
        r = b->has_key ? 0 : key_pair_generate(&pair);
        r = r == 0 ? key_file_write(path, &pair, e)
                   : errmsg_set(e, r, "cannot make a key: %s", strerror(-r));
    }
    if (r == 0)
        memcpy(ret->public_key, pair.public_key, KEY_SIZE);
    return r;
}

static void put_conf(FILE *out, const struct bundle *b, const struct enroll_options *o,
                     const char *user, const struct enroll_result *r)
{
    fprintf(out,
            "# Sensor %s (%s), written by hirundo-sensor enroll.\n"
            "# hirundo-sensor check -c FILE --dump shows every key there is.\n"
            "[sensor]\nname = %s\nkey = %s\n",
            b->name, b->country, b->name, r->key_path);
    if (user)
        fprintf(out, "user = %s\n", user);
    fputs("[collector]\n", out);
    conf_list_write(out, "endpoint", &b->endpoints);
    key_write(out, "server_key", b->server_key);
    if (b->has_next) {
        conf_list_write(out, "next_endpoint", &b->next_endpoints);
        key_write(out, "next_server_key", b->next_server_key);
    }
    if (b->max_kbit)
        fprintf(out, "[uplink]\nmax_kbit = %lld\n", (long long)b->max_kbit);
    fprintf(out, "[capture]\ninterface = %s\n", r->interface);
    conf_list_write(out, "exclude", &b->exclude);
    fprintf(out, "[flow]\nwindow = %lldms\n[spool]\npath = %s\ncap = %lld\n",
            (long long)b->window_ms, o->spool_path ? o->spool_path : SENSOR_SPOOL_DEFAULT,
            (long long)b->spool_cap);
}

static int format_conf(const struct bundle *b, const struct enroll_options *o, const char *user,
                       const struct enroll_result *r, char **ret)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    put_conf(out, b, o, user, r);
    if (fclose(out) != 0) {
        free(text);
        return -ENOMEM;
    }
    *ret = text;
    return 0;
}

// 0: the file holds this text; 1: another one; -ENOENT and other errors.
static int compare_file(const char *path, const char *text)
{
    _cleanup_(fclosep) FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    _cleanup_(freep) char *there = calloc(1, CONF_SIZE_MAX + 1);
    if (!there)
        return -ENOMEM;
    size_t n = fread(there, 1, CONF_SIZE_MAX, f);
    if (ferror(f))
        return -EIO;
    return n == strlen(text) && memcmp(there, text, n) == 0 ? 0 : 1;
}

static int write_new_file(const char *path, const char *text, struct errmsg *e)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errmsg_set(e, -errno, "configuration %s: %s", path, strerror(errno));
    size_t size = strlen(text);
    errno = ENOSPC; // what a short write means
    if (write(fd, text, size) != (ssize_t)size || fsync(fd) < 0)
        return errmsg_set(e, -errno, "configuration %s: %s", path, strerror(errno));
    return 0;
}

// Whole and good, or not at all: a new file takes the old one's place when it reads well.
static int write_file(const char *path, const char *text, struct errmsg *e)
{
    char temporary[ENROLL_PATH_MAX + 8];
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    snprintf(temporary, sizeof temporary, "%s.new", path);
    unlink(temporary);
    int r = write_new_file(temporary, text, e);
    if (r == 0) {
        r = sensor_conf_read(temporary, &conf, e);
        if (r < 0)
            errmsg_prefix(e, "the bundle makes no good configuration");
    }
    if (r == 0 && rename(temporary, path) < 0)
        r = errmsg_set(e, -errno, "configuration %s: %s", path, strerror(errno));
    if (r < 0)
        unlink(temporary);
    return r;
}

static int write_conf(const struct bundle *b, const struct enroll_options *o,
                      struct enroll_result *ret, struct errmsg *e)
{
    struct privilege_user user;
    const char *name = choose_user(&user);
    _cleanup_(freep) char *text = NULL;
    int r = format_conf(b, o, name, ret, &text);
    if (r < 0)
        return errmsg_set(e, r, "out of memory");
    int same = compare_file(o->conf_path, text);
    if (same < 0 && same != -ENOENT)
        return errmsg_set(e, same, "configuration %s: %s", o->conf_path, strerror(-same));
    if (same == 1 && !o->replace)
        return errmsg_set(e, -EEXIST,
                          "configuration %s is there already and says something else: this machine "
                          "is a sensor, or was. Move it away, or say --replace",
                          o->conf_path);
    if (same != 0) {
        ret->again = false;
        r = write_file(o->conf_path, text, e);
    }
    if (r == 0)
        r = make_spool_directory(o->spool_path ? o->spool_path : SENSOR_SPOOL_DEFAULT,
                                 name ? &user : NULL, e);
    return r;
}

static int choose_interface(const struct enroll_options *o, struct enroll_result *ret,
                            struct errmsg *e)
{
    if (!o->interface)
        return enroll_default_interface(ret->interface, sizeof ret->interface, e);
    if (strlen(o->interface) >= IF_NAMESIZE ||
        (strcmp(o->interface, "any") != 0 && if_nametoindex(o->interface) == 0))
        return errmsg_set(e, -ENODEV, "--interface %.40s: this machine has no such interface",
                          o->interface);
    snprintf(ret->interface, sizeof ret->interface, "%s", o->interface);
    return 0;
}

static int choose_key_path(const struct enroll_options *o, struct enroll_result *ret,
                           struct errmsg *e)
{
    const char *slash = strrchr(o->conf_path, '/');
    int n = o->key_path ? snprintf(ret->key_path, sizeof ret->key_path, "%s", o->key_path)
                        : snprintf(ret->key_path, sizeof ret->key_path, "%.*ssensor.key",
                                   slash ? (int)(slash + 1 - o->conf_path) : 0, o->conf_path);
    if (n < 0 || (size_t)n >= sizeof ret->key_path || strlen(o->conf_path) >= ENROLL_PATH_MAX)
        return errmsg_set(e, -ENAMETOOLONG, "%.100s...: too long a path", o->conf_path);
    return 0;
}

int enroll_write(const struct bundle *b, const struct enroll_options *options,
                 struct enroll_result *ret, struct errmsg *e)
{
    struct enroll_result result = {.again = true};
    int r = choose_key_path(options, &result, e);
    if (r == 0)
        r = choose_interface(options, &result, e);
    if (r == 0)
        r = make_directory_of(options->conf_path, 0755, e);
    if (r == 0)
        r = take_key(b, result.key_path, &result, e);
    if (r == 0)
        r = write_conf(b, options, &result, e);
    if (r == 0)
        *ret = result;
    return r;
}
