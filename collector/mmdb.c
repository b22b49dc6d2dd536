#include "collector/mmdb.h"

#include <arpa/inet.h>
#include <maxminddb.h>
#include <string.h>

#include "common/printable.h"

// Nodes may be shared between places (aliases are, and are left out); a sound file has few others.
#define VISITS_PER_NODE 4
#define TAIL_BYTES      (128 * 1024) // where the metadata must be
#define DEPTH_MAX       128

static const char marker[] = "\xab\xcd\xefMaxMind.com";

bool mmdb_is_one(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot && strcasecmp(dot, ".mmdb") == 0)
        return true;
    _cleanup_(fclosep) FILE *f = strcmp(path, "-") == 0 ? NULL : fopen(path, "re");
    _cleanup_(freep) char *tail = malloc(TAIL_BYTES);
    if (!f || !tail || fseek(f, 0, SEEK_END) != 0)
        return false;
    long size = ftell(f);
    if (size < 0 || fseek(f, size > TAIL_BYTES ? size - TAIL_BYTES : 0, SEEK_SET) != 0)
        return false;
    size_t n = fread(tail, 1, TAIL_BYTES, f);
    return memmem(tail, n, marker, sizeof marker - 1) != NULL;
}

// What one entry of the data section says; many networks point to it.
struct entry {
    uint32_t offset;
    const char *wrong; // the kind of refusal; NULL: of use
    bool has_asn;
    char country[2];
    uint32_t asn;
};

struct reading {
    MMDB_s db;
    const char *path;
    struct errmsg *e;
    struct progress *progress;
    struct prefix_list leaves; // label: offset of the entry
    struct entry *entries;     // by offset
    size_t n_entries;
    struct as_names *names;
};

static int damaged(const struct reading *r, const char *why)
{
    return errmsg_set(r->e, -EINVAL, "%s is damaged: %s; nothing was changed", r->path, why);
}

// ---- the search tree

struct place {
    uint32_t node;
    uint8_t depth;
    uint8_t b[16];
};

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

// The tree for IPv4 stands at ::/96 of one for IPv6, and files let other places point to it.
static bool is_alias(const struct reading *r, uint32_t node, const struct place *at)
{
    return r->db.metadata.ip_version == 6 && r->db.ipv4_start_node.netmask == 96 &&
           node == r->db.ipv4_start_node.node_value && !(at->depth == 96 && all_zero(at->b, 12));
}

static int add_leaf(struct reading *r, const struct place *at, uint64_t offset)
{
    struct prefix p = {.length = at->depth, .label = (uint32_t)offset};
    p.address.version = 6;
    memcpy(p.address.b, at->b, sizeof p.address.b);
    if (r->db.metadata.ip_version == 4) {
        p.address.version = 4;
    } else if (at->depth >= 96 && all_zero(at->b, 12)) {
        p.address = (struct ip_addr){.version = 4};
        memcpy(p.address.b, at->b + 12, 4);
        p.length = (uint8_t)(at->depth - 96);
    }
    p.line = (uint32_t)r->leaves.n;
    return prefix_list_add(&r->leaves, &p, r->e);
}

struct stack {
    struct place places[DEPTH_MAX + 2];
    size_t n;
    unsigned bits; // of an address
};

static int take_record(struct reading *r, struct stack *stack, const struct place *from,
                       unsigned side, uint8_t type, uint64_t value, const MMDB_entry_s *entry)
{
    struct place at = *from;
    if (side)
        at.b[at.depth / 8] |= (uint8_t)(0x80u >> (at.depth % 8));
    at.depth++;
    switch (type) {
    case MMDB_RECORD_TYPE_EMPTY:
        return 0;
    case MMDB_RECORD_TYPE_DATA:
        return add_leaf(r, &at, entry->offset);
    case MMDB_RECORD_TYPE_SEARCH_NODE:
        if (is_alias(r, (uint32_t)value, &at))
            return 0;
        if (at.depth >= stack->bits)
            return damaged(r, "its search tree is deeper than an address is long");
        at.node = (uint32_t)value;
        stack->places[stack->n++] = at;
        return 0;
    default:
        return damaged(r, "its search tree points outside the file");
    }
}

static int walk(struct reading *r)
{
    const uint64_t nodes = r->db.metadata.node_count;
    struct stack stack = {.n = 1, .bits = r->db.metadata.ip_version == 4 ? 32 : 128};
    int result = 0;
    // the right half waits while the left is walked: the stack is never deeper than the tree
    for (uint64_t visits = 1; stack.n > 0 && result == 0; visits++) {
        struct place at = stack.places[--stack.n];
        MMDB_search_node_s node;
        if (visits > nodes * VISITS_PER_NODE)
            return damaged(r, "its search tree leads to the same networks again and again");
        int status = MMDB_read_node(&r->db, at.node, &node);
        if (status != MMDB_SUCCESS)
            return damaged(r, MMDB_strerror(status));
        result = take_record(r, &stack, &at, 1, node.right_record_type, node.right_record,
                             &node.right_record_entry);
        if (result == 0)
            result = take_record(r, &stack, &at, 0, node.left_record_type, node.left_record,
                                 &node.left_record_entry);
        progress_show(r->progress, "reading the tree,", visits, nodes);
    }
    return result;
}

// ---- the data section

// One value by its path. 1: there; 0: not; -EINVAL: damaged.
static int get(struct reading *r, const struct entry *entry, const char *const *path,
               MMDB_entry_data_s *ret)
{
    MMDB_entry_s start = {.mmdb = &r->db, .offset = entry->offset};
    int status = MMDB_aget_value(&start, ret, path);
    if (status == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
        return 0;
    if (status != MMDB_SUCCESS)
        return damaged(r, MMDB_strerror(status));
    return ret->has_data;
}

static int read_country(struct reading *r, struct entry *entry)
{
    static const char *const paths[][3] = {{"country", "iso_code", NULL},
                                           {"registered_country", "iso_code", NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(paths) && !entry->country[0]; i++) {
        MMDB_entry_data_s data;
        int there = get(r, entry, paths[i], &data);
        if (there < 0)
            return there;
        if (!there)
            continue;
        struct prefix p = {0};
        char code[3] = "";
        if (data.type == MMDB_DATA_TYPE_UTF8_STRING && data.data_size == 2)
            memcpy(code, data.utf8_string, 2);
        if (!*code || prefix_parse_country(code, &p, NULL) < 0)
            entry->wrong = "country";
        memcpy(entry->country, p.country, sizeof entry->country);
    }
    return 0;
}

static int read_asn(struct reading *r, struct entry *entry)
{
    static const char *const path[] = {"autonomous_system_number", NULL};
    MMDB_entry_data_s data;
    int there = get(r, entry, path, &data);
    if (there <= 0)
        return there;
    entry->has_asn = true;
    if (data.type == MMDB_DATA_TYPE_UINT32)
        entry->asn = data.uint32;
    else if (data.type == MMDB_DATA_TYPE_UINT16)
        entry->asn = data.uint16;
    else
        entry->wrong = "AS number";
    return 0;
}

// Looking for what an entry does not have reads all of it, and so finds what is damaged in it.
static int read_name(struct reading *r, const struct entry *entry)
{
    static const char *const path[] = {"autonomous_system_organization", NULL};
    MMDB_entry_data_s data;
    char name[AS_NAME_MAX_SIZE];
    int there = get(r, entry, path, &data);
    if (there <= 0)
        return there;
    if (!r->names || !entry->has_asn || entry->wrong || data.type != MMDB_DATA_TYPE_UTF8_STRING ||
        data.data_size >= sizeof name)
        return 0;
    memcpy(name, data.utf8_string, data.data_size);
    name[data.data_size] = '\0';
    if (strlen(name) < data.data_size || name_check(name, NULL) < 0)
        return 0;
    return as_names_add(r->names, entry->asn, name, r->e);
}

static int read_entry(struct reading *r, struct entry *entry)
{
    int result = read_country(r, entry);
    if (result == 0)
        result = read_asn(r, entry);
    if (result == 0)
        result = read_name(r, entry);
    if (!entry->wrong && !entry->has_asn && !entry->country[0])
        entry->wrong = "without AS and country";
    return result;
}

static int by_offset(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int read_entries(struct reading *r)
{
    size_t n = r->leaves.n;
    r->entries = calloc(n + 1, sizeof *r->entries);
    if (!r->entries)
        return errmsg_set(r->e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        r->entries[i].offset = r->leaves.p[i].label;
    qsort(r->entries, n, sizeof *r->entries, by_offset);
    for (size_t i = 0; i < n; i++)
        if (r->n_entries == 0 || r->entries[r->n_entries - 1].offset != r->entries[i].offset)
            r->entries[r->n_entries++].offset = r->entries[i].offset;
    int result = 0;
    for (size_t i = 0; i < r->n_entries && result == 0; i++) {
        result = read_entry(r, &r->entries[i]);
        progress_show(r->progress, "reading the data,", i, r->n_entries);
    }
    return result;
}

// ---- networks

static int join(struct reading *r, struct refusals *refusals, struct prefix_list *list)
{
    size_t taken = 0;
    for (size_t i = 0; i < r->leaves.n; i++) {
        struct prefix p = r->leaves.p[i];
        const struct entry key = {.offset = p.label};
        const struct entry *entry =
            bsearch(&key, r->entries, r->n_entries, sizeof *r->entries, by_offset);
        if (!entry || entry->wrong) {
            refusals_count(refusals, entry ? entry->wrong : "entry", 1);
            continue;
        }
        p.label = 0;
        p.has_asn = entry->has_asn;
        p.asn = entry->asn;
        memcpy(p.country, entry->country, sizeof p.country);
        int result = prefix_list_add(list, &p, r->e);
        if (result < 0)
            return result;
        taken++;
    }
    if (taken > 0)
        return 0;
    struct errmsg type;
    snprintf(type.text, sizeof type.text, "%s", r->db.metadata.database_type);
    printable(type.text);
    return errmsg_set(r->e, -EINVAL,
                      "%s: no network with an AS number or a country in it (it is a database of "
                      "type \"%.60s\"); nothing was changed",
                      r->path, type.text);
}

static int read_open(struct reading *r, struct refusals *refusals, struct prefix_list *list)
{
    if (r->db.metadata.ip_version != 4 && r->db.metadata.ip_version != 6)
        return damaged(r, "it says neither IPv4 nor IPv6");
    int result = walk(r);
    if (result == 0)
        result = read_entries(r);
    if (result == 0)
        result = join(r, refusals, list);
    prefix_list_release(&r->leaves);
    free(r->entries);
    return result;
}

int mmdb_read(const char *path, struct refusals *refusals, struct progress *progress,
              struct prefix_list *list, struct as_names *names, struct errmsg *e)
{
    struct reading r = {.path = path, .e = e, .progress = progress, .names = names};
    if (strcmp(path, "-") == 0)
        return errmsg_set(e, -EINVAL, "a MaxMind database cannot be read from standard input");
    errno = EIO;
    int status = MMDB_open(path, MMDB_MODE_MMAP, &r.db);
    bool is_empty = status == MMDB_IO_ERROR && errno == EINVAL; // mmap's word for it
    if ((status == MMDB_FILE_OPEN_ERROR || status == MMDB_IO_ERROR) && !is_empty)
        return errmsg_set(e, -errno, "%s: %s", path, strerror(errno));
    if (status != MMDB_SUCCESS)
        return errmsg_set(e, -EINVAL,
                          "%s is no MaxMind database, or cut short: %s; nothing was changed", path,
                          MMDB_strerror(status));
    int result = read_open(&r, refusals, list);
    progress_clear(progress);
    MMDB_close(&r.db);
    return result;
}
