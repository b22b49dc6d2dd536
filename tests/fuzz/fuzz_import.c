// The readers of import: whatever the bytes, an error or lists that hold; ranges from them are
// disjoint and in order.
#include <string.h>
#include <sys/mman.h>

#include "collector/holidays.h"
#include "collector/lines.h"
#include "collector/mmdb.h"
#include "collector/organisations.h"
#include "collector/scanners.h"
#include "tests/fuzz/fuzz.h"

#define SILENT                                                                                     \
    {                                                                                              \
        .file = "fuzz", .lines = REFUSALS_SHOWN                                                    \
    }

// libmaxminddb 1.7 forgets a list of 4.5 KiB when a database's description is damaged: the import
// ends with that file, and the process with the import.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) // NOLINT(bugprone-reserved-identifier): its name
{
    return "leak:libmaxminddb.so";
}

static void check_order(const struct ip_addr *a, const struct ip_addr *b, bool may_be_equal)
{
    int r = a->version != b->version ? (a->version < b->version ? -1 : 1)
                                     : memcmp(a->b, b->b, sizeof a->b);
    HOLDS(r < 0 || (may_be_equal && r == 0));
}

static void check_flattened(const struct flattened *f)
{
    for (size_t i = 0; i < f->n; i++) {
        check_order(&f->ranges[i].lo, &f->ranges[i].hi, true);
        if (i > 0)
            check_order(&f->ranges[i - 1].hi, &f->ranges[i].lo, false);
    }
}

// Every second prefix over the others.
static void check_list(struct prefix_list *list)
{
    struct flattened all, over, under, both;
    size_t half = list->n / 2;
    HOLDS(prefixes_flatten(list->p, half, &over) == 0);
    HOLDS(prefixes_flatten(list->n ? list->p + half : NULL, list->n - half, &under) == 0);
    HOLDS(ranges_overlay(&over, &under, &both) == 0);
    HOLDS(prefixes_flatten(list->p, list->n, &all) == 0);
    check_flattened(&all);
    check_flattened(&both);
    flattened_release(&all);
    flattened_release(&over);
    flattened_release(&under);
    flattened_release(&both);
    prefix_list_release(list);
}

static void read_prefixes(FILE *f)
{
    struct prefix_list list = {0};
    char text[512];
    struct line line;
    while (line_read(f, text, sizeof text, &line)) {
        struct prefix p;
        const char *kind = NULL;
        struct errmsg e = {""};
        int r = line.wrong ? 1 : prefix_parse_line(text, &p, &kind, &e);
        HOLDS(r == 0 || r == PREFIX_SKIP || (r == -EINVAL && kind && e.text[0]));
        HOLDS(r != 0 || prefix_list_add(&list, &p, &e) == 0);
    }
    check_list(&list);
}

static void read_names(FILE *f)
{
    struct as_names names = {0};
    char text[256];
    struct line line;
    while (line_read(f, text, sizeof text, &line)) {
        uint32_t asn;
        const char *name, *kind;
        if (!line.wrong && as_names_parse_line(text, &asn, &name, &kind, NULL) == 0)
            HOLDS(as_names_add(&names, asn, name, NULL) == 0);
    }
    as_names_sort(&names);
    for (size_t i = 1; i < names.n; i++)
        HOLDS(names.list[i - 1].asn < names.list[i].asn);
    as_names_release(&names);
}

static void read_organisations(FILE *f)
{
    struct refusals refusals = SILENT;
    struct organisations o;
    struct errmsg e = {""};
    int r = organisations_read(f, &refusals, &o, &e);
    HOLDS(r == 0 || r == -ENOMEM || (r == -EINVAL && e.text[0]));
    if (r == 0)
        organisations_release(&o);
}

static void read_holidays(FILE *f)
{
    struct refusals refusals = SILENT;
    struct holidays h;
    struct errmsg e = {""};
    int r = holidays_read(f, &refusals, &h, &e);
    HOLDS(r == 0 || r == -ENOMEM || (r == -EINVAL && e.text[0]));
    for (size_t i = 1; r == 0 && i < h.n; i++)
        HOLDS(strcmp(h.list[i - 1].country, h.list[i].country) <= 0);
    if (r == 0)
        holidays_release(&h);
}

static void read_scanners(FILE *f)
{
    struct refusals refusals = SILENT;
    struct scanner_list list = {0};
    struct errmsg e = {""};
    int r = scanners_read(f, "me", &refusals, &list, &e);
    HOLDS(r == 0 || (r == -EINVAL && e.text[0]));
    for (size_t i = 0; i < list.prefixes.n; i++)
        HOLDS(list.prefixes.p[i].label < list.n_names);
    check_list(&list.prefixes);
    scanner_list_release(&list);
}

static void read_database(const uint8_t *data, size_t size)
{
    struct refusals refusals = SILENT;
    struct progress progress = {0};
    struct prefix_list list = {0};
    struct as_names names = {0};
    struct errmsg e = {""};
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int r = mmdb_read(path, &refusals, &progress, &list, &names, &e);
    close(fd);
    HOLDS(r == 0 || r == -E2BIG || (r < 0 && e.text[0]));
    check_list(&list);
    as_names_release(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // seeds and findings name a reader by its place
    static void (*const readers[])(FILE *) = {read_prefixes, read_names, read_organisations,
                                              read_scanners, NULL,       read_holidays};
    if (size < 2)
        return 0;
    size_t which = data[0] % ARRAY_SIZE(readers);
    if (!readers[which]) {
        read_database(data + 1, size - 1);
        return 0;
    }
    FILE *f = fmemopen((void *)(data + 1), size - 1, "r");
    HOLDS(f);
    readers[which](f);
    fclose(f);
    return 0;
}
