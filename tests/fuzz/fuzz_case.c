// Manifests of case files: whatever the bytes, an error, or files that verify may look for.
#include <string.h>

#include "collector/case_check.h"
#include "tests/fuzz/fuzz.h"

static void holds(const struct case_manifest *m)
{
    HOLDS(m->n > 0 && m->n <= CASE_FILES_MAX);
    for (size_t i = 0; i < m->n; i++) {
        const struct case_file *f = &m->files[i];
        HOLDS(case_name_is_valid(f->name) && strlen(f->sha256) == CASE_DIGEST_SIZE - 1);
        HOLDS(f->bytes <= INT64_MAX);
        for (size_t k = 0; k < i; k++)
            HOLDS(strcmp(f->name, m->files[k].name) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct case_manifest m;
    struct errmsg e = {""};
    if (size > CASE_MANIFEST_MAX)
        return 0;
    int r = case_manifest_parse((const char *)data, size, &m, &e);
    HOLDS(r == 0 || (r == -EINVAL && e.text[0]));
    if (r == 0)
        holds(&m);
    return 0;
}
