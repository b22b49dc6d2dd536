// hirundo-sensor enroll: from a bundle to a sensor that is known.
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>

#include "common/bundle.h"
#include "common/clock.h"
#include "sensor/cmd.h"
#include "sensor/enroll.h"
#include "sensor/next_key.h"

#define CONF_DEFAULT   "/etc/hirundo/sensor.conf"
#define WAIT_DEFAULT_S 600
#define WAIT_MAX_S     86400
#define CLOCK_SLACK_S  86400 // a bundle from the future: this machine's clock, or the collector's

static const char help[] =
    "usage: hirundo-sensor enroll BUNDLE [--interface NAME] [--fingerprint TEXT] "
    "[--wait[=SECONDS]]\n"
    "                             [-c FILE] [--key FILE] [--spool FILE] [--replace]\n\n"
    "Checks the bundle that hirundo-collector sensor add wrote, makes this machine's key pair,\n"
    "writes the configuration (" CONF_DEFAULT ", mode 0600), and prints the request that\n"
    "the collector's owner approves. Nothing secret leaves this machine. Safe to repeat.\n\n"
    "  --fingerprint TEXT  the operator's fingerprint, as its owner told you; else compare what is "
    "shown\n"
    "  --interface NAME    listen on this one; default: the one with the default route\n"
    "  --wait[=SECONDS]    wait (600) until the first batch is committed; say what is missing\n"
    "  -c FILE, --key FILE, --spool FILE  other places for configuration, key and spool\n"
    "  --replace           overwrite a configuration that says something else\n";

struct arguments {
    struct enroll_options options;
    const char *bundle;
    const char *fingerprint;
    int wait_s; // 0: do not wait
};

enum { OPT_KEY = 256, OPT_SPOOL, OPT_REPLACE, OPT_WAIT, OPT_FINGERPRINT };

static int parse_wait(const char *text, int *ret)
{
    char *end;
    long n = text ? strtol(text, &end, 10) : WAIT_DEFAULT_S;
    if (text && (*text == '\0' || *end || n < 1 || n > WAIT_MAX_S)) {
        cmd_say("--wait=%.40s: must be 1 to %d seconds", text, WAIT_MAX_S);
        return -EINVAL;
    }
    *ret = (int)n;
    return 0;
}

static int set_option(struct arguments *a, int option, const char *value)
{
    switch (option) {
    case 'c':
        a->options.conf_path = value;
        return 0;
    case 'i':
        a->options.interface = value;
        return 0;
    case OPT_KEY:
        a->options.key_path = value;
        return 0;
    case OPT_SPOOL:
        a->options.spool_path = value;
        return 0;
    case OPT_REPLACE:
        a->options.replace = true;
        return 0;
    case OPT_FINGERPRINT:
        a->fingerprint = value;
        return 0;
    case OPT_WAIT:
        return parse_wait(value, &a->wait_s);
    default:
        return -EINVAL;
    }
}

// 0: go on; else the exit status + 1.
static int parse(int argc, char *argv[], struct arguments *ret)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"interface", required_argument, NULL, 'i'},
        {"fingerprint", required_argument, NULL, OPT_FINGERPRINT},
        {"key", required_argument, NULL, OPT_KEY},
        {"spool", required_argument, NULL, OPT_SPOOL},
        {"replace", no_argument, NULL, OPT_REPLACE},
        {"wait", optional_argument, NULL, OPT_WAIT},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    for (int o; (o = getopt_long(argc, argv, "c:i:h", options, NULL)) != -1;) {
        if (o == 'h')
            return cmd_help(help) + 1;
        if (set_option(ret, o, optarg) < 0)
            return cmd_usage(help) + 1;
    }
    if (optind + 1 != argc)
        return cmd_usage(help) + 1;
    ret->bundle = argv[optind];
    return 0;
}

static int check_dates(const struct bundle *b, struct errmsg *e)
{
    int64_t now = wall_ms() / 1000;
    if (now > b->expires_s)
        return errmsg_set(
            e, -EINVAL,
            "the bundle has expired %lld days ago (or this machine's clock is wrong): "
            "its owner runs hirundo-collector sensor bundle %s",
            (long long)(now - b->expires_s) / 86400, b->name);
    if (now < b->issued_s - CLOCK_SLACK_S)
        return errmsg_set(e, -EINVAL,
                          "the bundle was made %lld days in the future: set this machine's clock "
                          "(NTP) and try again",
                          (long long)(b->issued_s - now) / 86400);
    return 0;
}

static bool answered_yes(void)
{
    char line[16];
    fputs("Is this the fingerprint its owner told you? [yes/no] ", stderr);
    return fgets(line, sizeof line, stdin) && strcmp(line, "yes\n") == 0;
}

// The signature says that the holder of the key in the bundle made it; that this is the right
// holder only people can tell.
static int check_operator(const struct bundle *b, const struct arguments *a, struct errmsg *e)
{
    char fingerprint[BUNDLE_FINGERPRINT];
    bundle_fingerprint(b->operator_key, fingerprint);
    if (a->fingerprint && !bundle_fingerprint_is(b->operator_key, a->fingerprint))
        return errmsg_set(e, -EPERM,
                          "the bundle is signed by %s, not by %s: do not use it, ask the "
                          "collector's owner",
                          fingerprint, a->fingerprint);
    fprintf(stderr, "bundle for sensor %s (%s), signed by operator %s%s\n", b->name, b->country,
            fingerprint,
            a->fingerprint         ? ", as expected"
            : isatty(STDIN_FILENO) ? ""
                                   : " (not compared)");
    if (!a->fingerprint && isatty(STDIN_FILENO) && !answered_yes())
        return errmsg_set(e, -EPERM, "stopped: the operator's fingerprint was not confirmed");
    return 0;
}

// After hirundo-sensor rotate there are two keys; the request is for the one that is in use.
static int choose_key(const char *conf_path, struct enroll_result *result, struct errmsg *e)
{
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    _cleanup_(sensor_keys_wipe) struct sensor_keys keys = {0};
    int r = sensor_conf_read(conf_path, &conf, e);
    if (r == 0)
        r = sensor_keys_read(conf->values.key, &keys, e);
    if (r < 0 || !keys.has_next)
        return r;
    r = next_key_settle(conf, &keys, e);
    if (r == -ENOTCONN) { // whoever asks for a request gets one
        cmd_say("%s; the request is for the present key", e->text);
        r = 0;
    } else if (r == 0 && keys.has_next)
        cmd_say("the next key (%s" SENSOR_KEY_NEXT
                ") still waits for approval: hirundo-sensor rotate "
                "prints its request",
                conf->values.key);
    memcpy(result->public_key, keys.present.public_key, KEY_SIZE);
    return r;
}

static void report(const struct bundle *b, const struct arguments *a, const struct enroll_result *r)
{
    char request[REQUEST_SIZE];
    request_format(b->name, r->public_key, request);
    fprintf(stderr, "%s %s (listens on %s) and key %s\n", r->again ? "unchanged:" : "wrote",
            a->options.conf_path, r->interface, r->key_path);
    if (b->has_key)
        fputs("the bundle brought its key: no approval is needed; delete the bundle\n", stderr);
    else
        fprintf(stderr,
                "give this line to the collector's owner, who runs\n"
                "  hirundo-collector sensor approve %s %s\n",
                b->name, request);
    puts(request);
    fflush(stdout);
}

static int wait_for_proof(const struct arguments *a)
{
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    _cleanup_(sensor_keys_wipe) struct sensor_keys keys = {0};
    if (cmd_conf(a->options.conf_path, &conf) != 0 ||
        cmd_keys(conf, a->options.conf_path, &keys) != 0)
        return EXIT_FAILED;
    struct errmsg e;
    if (enroll_wait(conf, a->options.conf_path, &keys.present, a->wait_s, &e) == 0)
        return 0;
    cmd_say("%s", e.text);
    return EXIT_FAILED;
}

int command_enroll(int argc, char *argv[])
{
    struct arguments a = {.options.conf_path = CONF_DEFAULT};
    int status = parse(argc, argv, &a);
    if (status != 0)
        return status - 1;
    _cleanup_(bundle_free) struct bundle b = {0};
    struct enroll_result result = {0};
    struct errmsg e = {"out of memory"};
    int r = bundle_read(a.bundle, &b, &e);
    if (r == 0)
        r = check_dates(&b, &e);
    if (r == 0)
        r = check_operator(&b, &a, &e);
    if (r == 0)
        r = enroll_write(&b, &a.options, &result, &e);
    if (r == 0)
        r = choose_key(a.options.conf_path, &result, &e);
    if (r < 0) {
        cmd_say("%s", e.text);
        return EXIT_FAILED;
    }
    report(&b, &a, &result);
    return a.wait_s ? wait_for_proof(&a) : 0;
}
