// A plain main: runs a target over the files named, or over all files of the directories named, and
// over as many random mutations of each as -n says. So the seeds run with the ordinary tests.
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "common/util.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)

struct replay {
    uint64_t state;
    unsigned mutations;
    unsigned inputs;
};

static uint32_t draw(struct replay *r, uint32_t n)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->state >> 33) % n;
}

// Cuts, and changes a few bytes: to anything, to an edge value, or by one bit.
static size_t mutate(struct replay *r, uint8_t *data, size_t size)
{
    static const uint8_t edges[] = {0, 1, 4, 0x45, 0x60, 0x7f, 0x80, 0xff};
    if (size == 0)
        return 0;
    if (draw(r, 4) == 0)
        size = draw(r, (uint32_t)size) + 1;
    for (uint32_t i = draw(r, 6); i > 0; i--) {
        uint8_t *p = &data[draw(r, (uint32_t)size)];
        switch (draw(r, 3)) {
        case 0:
            *p = (uint8_t)draw(r, 256);
            break;
        case 1:
            *p = edges[draw(r, ARRAY_SIZE(edges))];
            break;
        default:
            *p ^= (uint8_t)(1 << draw(r, 8));
        }
    }
    return size;
}

// Each input is a block of its own size, so that a sanitizer sees what reads beyond it.
static void run(struct replay *r, const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i <= r->mutations; i++) {
        _cleanup_(freep) uint8_t *changed = malloc(size + 1);
        if (!changed)
            abort();
        memcpy(changed, data, size);
        size_t n = i ? mutate(r, changed, size) : size;
        uint8_t *input = malloc(n ? n : 1);
        if (!input)
            abort();
        memcpy(input, changed, n);
        LLVMFuzzerTestOneInput(input, n);
        free(input);
        r->inputs++;
    }
}

static int replay_file(struct replay *r, const char *path)
{
    _cleanup_(freep) uint8_t *data = malloc(INPUT_MAX);
    _cleanup_(fclosep) FILE *f = fopen(path, "rbe");
    if (!data || !f) {
        perror(path);
        return -1;
    }
    run(r, data, fread(data, 1, INPUT_MAX, f));
    return 0;
}

static int replay_path(struct replay *r, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return replay_file(r, path);
    DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return -1;
    }
    int status = 0;
    const struct dirent *entry;
    while (status == 0 && (entry = readdir(dir))) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            status = replay_file(r, name);
    }
    closedir(dir);
    return status;
}

int main(int argc, char *argv[])
{
    struct replay r = {.state = 1};
    int i = 1;
    if (argc > 2 && strcmp(argv[1], "-n") == 0) {
        r.mutations = (unsigned)strtoul(argv[2], NULL, 10);
        i = 3;
    }
    for (; i < argc; i++) {
        if (replay_path(&r, argv[i]) != 0)
            return 1;
    }
    printf("%u inputs\n", r.inputs);
    return r.inputs ? 0 : 1;
}
