// hirundo-collector verify: a case file, by whoever received it. No database.
#include <fcntl.h>
#include <getopt.h>
#include <string.h>

#include "collector/case_check.h"
#include "collector/command.h"
#include "common/bundle.h"
#include "common/printable.h"

static const char usage[] =
    "usage: hirundo-collector verify [-c FILE] DIR [--key FILE | --fingerprint TEXT] [--quiet]\n"
    "Checks a case file that export wrote: the signature of its manifest, then each file, and "
    "that\n"
    "there is no other. Each thing that is wrong is a line on standard error. Exit status: 0 all "
    "is\n"
    "as it was signed, 1 it is not, 2 usage.\n"
    "  --key FILE          the operator's public key in PEM, not the one in DIR\n"
    "  --fingerprint TEXT  the fingerprint of the operator's key, as its owner told you\n"
    "  --quiet             nothing where all is well\n"
    "Without them the key is that of this installation: [enrolment] operator_key.\n";

struct options {
    const char *key, *fingerprint;
    bool quiet;
};

static int on_option(int option, const char *value, void *data)
{
    struct options *o = data;
    switch (option) {
    case 'k':
        o->key = value;
        return 0;
    case 'f':
        o->fingerprint = value;
        return 0;
    default:
        o->quiet = true;
        return 0;
    }
}

static int read_public(const char *path, uint8_t ret[OPERATOR_KEY_SIZE], struct errmsg *e)
{
    char pem[8192];
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, pem, sizeof pem);
    if (n < 0)
        return errmsg_set(e, -errno, "--key %s: %s", path, strerror(errno));
    if (operator_public_parse(pem, (size_t)n, ret) < 0)
        return errmsg_set(
            e, -EINVAL,
            "--key %s: is not an Ed25519 public key in PEM, as operator.pub of a case "
            "file is one",
            path);
    return 0;
}

static int read_own(const char *conf_path, uint8_t ret[OPERATOR_KEY_SIZE], struct errmsg *e)
{
    struct collector_conf conf;
    _cleanup_(operator_key_freep) struct operator_key *key = NULL;
    int r = collector_conf_read(conf_path, &conf, e);
    if (r < 0)
        return r;
    r = operator_key_read(conf.operator_key, &key, e);
    if (r == 0)
        operator_key_public(key, ret);
    else if (r == -ENOENT)
        r = errmsg_set(e, r,
                       "whose signature it must be is not known: there is no operator key %s on "
                       "this host; give --key FILE or --fingerprint TEXT",
                       conf.operator_key);
    collector_conf_free(&conf);
    return r;
}

static int trust_of(const struct options *o, const char *conf_path, struct case_trust *ret,
                    struct errmsg *e)
{
    if (o->fingerprint) {
        ret->by_fingerprint = true;
        ret->fingerprint = o->fingerprint;
        return 0;
    }
    return o->key ? read_public(o->key, ret->key, e) : read_own(conf_path, ret->key, e);
}

static void say(void *data, const char *text)
{
    (void)data;
    fprintf(stderr, "hirundo-collector: %s\n", text);
}

int command_verify(int argc, char **argv)
{
    static const struct option extra[] = {{"key", required_argument, NULL, 'k'},
                                          {"fingerprint", required_argument, NULL, 'f'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {0}};
    struct options o = {0};
    const struct command_line line = {usage, extra, on_option, &o, 1, 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    if (o.key && o.fingerprint) {
        fprintf(stderr, "%s: --key or --fingerprint, not both\n", argv[0]);
        return EXIT_USAGE;
    }
    struct errmsg e = {"out of memory"};
    struct case_trust trust = {0};
    struct case_manifest m;
    int r = trust_of(&o, conf_path, &trust, &e);
    if (r < 0) {
        command_fail(&e);
        return EXIT_USAGE;
    }
    r = case_check(words[0], &trust, say, NULL, &m, &e);
    if (r < 0)
        return command_fail(&e);
    if (r == 0 && !o.quiet) {
        printable(words[0]); // whoever packed the case may have named its directory
        printf("%s: %zu files as they were signed; case of %s, %s, TLP:%s, made %s\n", words[0],
               m.n, m.organisation, m.period, m.tlp, m.made);
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
