// hirundo-sensor check: is everything that run needs there?
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <stdarg.h>
#include <string.h>

#include "sensor/capture.h"
#include "sensor/cmd.h"
#include "sensor/peers.h"
#include "sensor/spool.h"

#define PEERS_MAX 64

static const char help[] =
    "usage: hirundo-sensor check -c FILE [--dump]\n\n"
    "Verifies the configuration, the key file, the spool's place, the interface and the right to\n"
    "listen on it, and names hosts this machine talks to that are not excluded from capture.\n"
    "Exit status 1 when run would fail. --dump prints the complete configuration instead.\n"
    "A minimal configuration:\n";

struct check {
    const struct sensor_conf *conf;
    const char *path;
    int problems;
};

__attribute__((format(printf, 3, 4))) static void say(struct check *c, const char *kind,
                                                      const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    printf("%-8s ", kind);
    vprintf(format, ap); // NOLINT(clang-analyzer-valist.Uninitialized)
    putchar('\n');
    va_end(ap);
    if (strcmp(kind, "problem") == 0)
        c->problems++;
}

static void check_key(struct check *c)
{
    struct key_pair keys;
    struct errmsg e;
    int r = key_file_read(c->conf->values.key, &keys, &e);
    if (r == -ENOENT) {
        say(c, "problem", "key file %s is missing: make it with hirundo-sensor keygen -c %s",
            c->conf->values.key, c->path);
        return;
    }
    if (r < 0) {
        say(c, "problem", "%s", e.text);
        return;
    }
    char text[KEY_Z85_SIZE];
    key_format(keys.public_key, text);
    if (memcmp(keys.public_key, c->conf->server_key, KEY_SIZE) == 0)
        say(c, "problem",
            "[collector] server_key is this sensor's own key; ask the collector's "
            "owner for the collector's");
    else
        say(c, "ok", "key file %s, public key %s", c->conf->values.key, text);
    key_pair_wipe(&keys);
}

static void check_spool(struct check *c)
{
    const char *path = c->conf->values.spool_path;
    struct spool_status status;
    struct errmsg e;
    int r = spool_status_read(path, &status, &e);
    if (r == 0) {
        say(c, "ok", "spool %s: %llu batches wait", path, (unsigned long long)status.waiting);
        return;
    }
    if (r != -ENOENT) {
        say(c, "problem", "%s", e.text);
        return;
    }
    _cleanup_(freep) char *copy = strdup(path);
    const char *dir = copy ? dirname(copy) : ".";
    if (access(dir, W_OK | X_OK) == 0)
        say(c, "ok", "spool %s will be made", path);
    else if (errno == ENOENT)
        say(c, "note", "spool: directory %s does not exist; run makes it if its parent exists",
            dir);
    else
        say(c, "problem",
            "spool: directory %s: %s; give the sensor's user the right to write there", dir,
            strerror(errno));
}

static void check_interface(struct check *c)
{
    const struct sensor_values *v = &c->conf->values;
    if (!v->interface) {
        say(c, "note", "[capture] interface is not set: replay works without one, run does not");
        return;
    }
    struct capture_live_config config = {
        .interface = v->interface,
        .snaplen = (uint32_t)v->snaplen,
        .ring_bytes = (uint32_t)v->ring,
        .excludes = c->conf->excludes,
        .n_excludes = c->conf->n_excludes,
    };
    _cleanup_(capture_freep) struct capture *capture = NULL;
    struct errmsg e;
    if (capture_open_live(&config, &capture, &e) < 0)
        say(c, "problem", "%s", e.text);
    else
        say(c, "ok", "interface %s can be listened on", v->interface);
}

static void say_peer(struct check *c, const struct peer *p)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(p->remote.version == 4 ? AF_INET : AF_INET6, p->remote.b, text, sizeof text);
    say(c, "note",
        "this host talks to %s (its port %u, ours %u): captured as if unsolicited; to leave it "
        "out: [capture] exclude = %s:tcp/%u",
        text, p->remote_port, p->local_port, text,
        p->local_port < 1024 || p->local_port < p->remote_port ? p->local_port : p->remote_port);
}

static void check_peers(struct check *c)
{
    static const char *const paths[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct peer peers[PEERS_MAX];
        int n = peers_read(paths[i], peers, PEERS_MAX);
        for (int k = 0; k < MIN(n, PEERS_MAX); k++) {
            if (!peer_is_excluded(&peers[k], c->conf->excludes, c->conf->n_excludes))
                say_peer(c, &peers[k]);
        }
        if (n > PEERS_MAX)
            say(c, "note", "%s: %d more connections", paths[i], n - PEERS_MAX);
    }
}

static int check_all(struct check *c)
{
    say(c, "ok", "configuration %s", c->path);
    check_key(c);
    check_spool(c);
    for (size_t i = 0; i < c->conf->values.endpoint.n; i++)
        say(c, "ok", "collector %s (not contacted)", c->conf->values.endpoint.items[i]);
    check_interface(c);
    check_peers(c);
    return c->problems > 0 ? EXIT_FAILED : 0;
}

static int print_help(FILE *out, int status)
{
    fputs(help, out);
    fputs(sensor_conf_minimal, out);
    return status;
}

int command_check(int argc, char *argv[])
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"dump", no_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *conf_path = NULL;
    bool dump = false;
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        if (o == 'c')
            conf_path = optarg;
        else if (o == 'd')
            dump = true;
        else
            return o == 'h' ? print_help(stdout, 0) : print_help(stderr, EXIT_USAGE);
    }
    if (optind != argc || !conf_path)
        return print_help(stderr, EXIT_USAGE);
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    if (cmd_conf(conf_path, &conf) != 0)
        return EXIT_FAILED;
    if (dump) {
        sensor_conf_dump(conf, stdout);
        return 0;
    }
    struct check c = {.conf = conf, .path = conf_path};
    return check_all(&c);
}
