// hirundo-sensor rotate: the next key pair, asked for before it is used.
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#include "common/bundle.h"
#include "sensor/cmd.h"
#include "sensor/next_key.h"

static const char help[] =
    "usage: hirundo-sensor rotate -c FILE [--name NAME]\n\n"
    "Makes the key pair that will replace the present one (KEYFILE" SENSOR_KEY_NEXT
    ") and prints the\n"
    "request that the collector's owner approves: hirundo-collector sensor rotate NAME REQUEST.\n"
    "Restart the sensor after that: it goes over to the new key, and the old one is revoked. "
    "Until\n"
    "then it goes on with the old one. Run again later, it first puts a next key that is in use "
    "in\n"
    "the place of the old one. Safe to repeat.\n";

static int say_failed(const struct errmsg *e)
{
    cmd_say("%s", e->text);
    return EXIT_FAILED;
}

static int make_next(const char *path, struct key_pair *ret, struct errmsg *e)
{
    int r = key_pair_generate(ret);
    if (r < 0)
        return errmsg_set(e, r, "cannot make a key: %s", strerror(-r));
    return key_file_write(path, ret, e);
}

static int rotate(const struct sensor_conf *conf, const char *name, struct sensor_keys *keys)
{
    char next_path[PATH_MAX], request[REQUEST_SIZE];
    struct errmsg e = {"out of memory"};
    int n = snprintf(next_path, sizeof next_path, "%s" SENSOR_KEY_NEXT, conf->values.key);
    if (n < 0 || (size_t)n >= sizeof next_path)
        return EXIT_FAILED; // sensor_keys_read has said so
    int r = keys->has_next ? next_key_settle(conf, keys, &e) : 0;
    if (r == 0 && !keys->has_next)
        r = make_next(next_path, &keys->next, &e);
    if (r < 0)
        return say_failed(&e);
    request_format(name, keys->next.public_key, request);
    fprintf(stderr,
            "give this line to the collector's owner, who runs\n"
            "  hirundo-collector sensor rotate %s %s\n"
            "When that is done restart the sensor here: it goes over to the next key. Until then "
            "the present key goes on\n",
            name, request);
    puts(request);
    return 0;
}

int command_rotate(int argc, char *argv[])
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *conf_path = NULL, *name = NULL;
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        if (o == 'c')
            conf_path = optarg;
        else if (o == 'n')
            name = optarg;
        else
            return o == 'h' ? cmd_help(help) : cmd_usage(help);
    }
    if (optind != argc || !conf_path)
        return cmd_usage(help);
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    _cleanup_(sensor_keys_wipe) struct sensor_keys keys = {0};
    if (cmd_conf(conf_path, &conf) != 0 || cmd_keys(conf, conf_path, &keys) != 0)
        return EXIT_FAILED;
    name = name ? name : conf->values.name;
    if (!name || !sensor_name_is_valid(name)) {
        cmd_say("%s: [sensor] name is missing: say --name NAME, as the collector knows this sensor",
                conf_path);
        return EXIT_FAILED;
    }
    return rotate(conf, name, &keys);
}
