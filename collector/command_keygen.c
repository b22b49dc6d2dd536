#include "collector/command.h"
#include "common/keys.h"

static const char usage[] = "usage: hirundo-collector keygen FILE\n"
                            "Makes the collector's key file (mode 0600) and prints its public key, "
                            "which sensors need. serve "
                            "does the same at its first start.\n";

int command_keygen(int argc, char **argv)
{
    const struct command_line line = {.usage = usage, .words_min = 1, .words_max = 1};
    const char *conf_path;
    char **words;
    int code;
    if (command_parse(&line, argc, argv, &conf_path, &words, &code))
        return code;
    struct errmsg e = {"out of memory"};
    struct key_pair pair;
    int r = key_pair_generate(&pair);
    if (r == 0)
        r = key_file_write(words[0], &pair, &e);
    char text[KEY_Z85_SIZE];
    key_format(pair.public_key, text);
    key_pair_wipe(&pair);
    if (r < 0)
        return command_fail(&e);
    puts(text);
    return EXIT_SUCCESS;
}
