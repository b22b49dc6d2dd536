// hirundo-sensor keygen: the sensor's identity.
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "sensor/cmd.h"

static const char help[] =
    "usage: hirundo-sensor keygen [--out] FILE\n"
    "       hirundo-sensor keygen -c FILE\n\n"
    "Makes a key pair and writes it to FILE, or to the [sensor] key of the configuration (mode\n"
    "0600). An existing file is never overwritten. Standard output has the public key alone.\n";

int command_keygen(int argc, char *argv[])
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *out = NULL;
    const char *conf_path = NULL;
    for (int o; (o = getopt_long(argc, argv, "o:c:h", options, NULL)) != -1;) {
        if (o == 'o')
            out = optarg;
        else if (o == 'c')
            conf_path = optarg;
        else
            return o == 'h' ? cmd_help(help) : cmd_usage(help);
    }
    if (!out && optind + 1 == argc)
        out = argv[optind++];
    if (optind != argc || !out == !conf_path)
        return cmd_usage(help);
    _cleanup_(sensor_conf_freep) struct sensor_conf *conf = NULL;
    if (conf_path) {
        if (cmd_conf(conf_path, &conf) != 0)
            return EXIT_FAILED;
        out = conf->values.key;
    }
    struct key_pair keys;
    struct errmsg e;
    int r = key_pair_generate(&keys);
    if (r < 0)
        errmsg_set(&e, r, "cannot make a key: %s", strerror(-r));
    else
        r = key_file_write(out, &keys, &e);
    char text[KEY_Z85_SIZE];
    key_format(keys.public_key, text);
    key_pair_wipe(&keys);
    if (r < 0) {
        cmd_say("%s", e.text);
        return EXIT_FAILED;
    }
    puts(text);
    fprintf(stderr,
            "key written to %s. Give the public key above to the collector's owner, who runs:\n"
            "  hirundo-collector sensor add NAME --country CC --key '%s'\n",
            out, text);
    return 0;
}
