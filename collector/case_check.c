#include "collector/case_check.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "common/bundle.h"
#include "common/printable.h"

#define FORMAT "hirundo case 1"

// ---- the manifest

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int parse_file(const json_t *item, const struct case_manifest *m, struct case_file *ret,
                      struct errmsg *e)
{
    const char *name = text_of(item, "name"), *digest = text_of(item, "sha256");
    const json_t *bytes = json_object_get(item, "bytes");
    if (!case_name_is_valid(name) || strcmp(name, CASE_MANIFEST) == 0 ||
        strcmp(name, CASE_SIGNATURE) == 0)
        return errmsg_set(e, -EINVAL, "a file has no name, or one that it cannot have");
    if (!json_is_integer(bytes) || json_integer_value(bytes) < 0)
        return errmsg_set(e, -EINVAL, "%s has no size", name);
    if (strlen(digest) != CASE_DIGEST_SIZE - 1 ||
        strspn(digest, "0123456789abcdef") != CASE_DIGEST_SIZE - 1)
        return errmsg_set(e, -EINVAL, "%s has no SHA-256", name);
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->files[i].name, name) == 0)
            return errmsg_set(e, -EINVAL, "%s is in it twice", name);
    *ret = (struct case_file){.bytes = (uint64_t)json_integer_value(bytes)};
    snprintf(ret->name, sizeof ret->name, "%s", name);
    snprintf(ret->sha256, sizeof ret->sha256, "%s", digest);
    return 0;
}

static int parse_files(const json_t *list, struct case_manifest *m, struct errmsg *e)
{
    size_t i;
    json_t *item;
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > CASE_FILES_MAX)
        return errmsg_set(e, -EINVAL, "it lists no files, or more than %d", CASE_FILES_MAX);
    json_array_foreach(list, i, item)
    {
        int r = parse_file(item, m, &m->files[m->n], e);
        if (r < 0)
            return r;
        m->n++;
    }
    return 0;
}

int case_manifest_parse(const char *text, size_t size, struct case_manifest *ret, struct errmsg *e)
{
    struct case_manifest m = {0};
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    int r = 0;
    if (!root)
        return errmsg_set(e, -EINVAL, "line %d is not JSON", error.line);
    if (strcmp(text_of(root, "format"), FORMAT) != 0)
        r = errmsg_set(e, -EINVAL, "its format is not \"" FORMAT "\": another version made it");
    if (r == 0)
        r = parse_files(json_object_get(root, "files"), &m, e);
    snprintf(m.organisation, sizeof m.organisation, "%s", text_of(root, "organisation"));
    snprintf(m.period, sizeof m.period, "%s", text_of(root, "period"));
    snprintf(m.made, sizeof m.made, "%s", text_of(root, "made"));
    snprintf(m.tlp, sizeof m.tlp, "%s", text_of(root, "tlp"));
    json_decref(root);
    // whoever has a key that is trusted may sign any name
    printable(m.organisation);
    printable(m.period);
    printable(m.made);
    printable(m.tlp);
    if (r == 0)
        *ret = m;
    return r;
}

// ---- what is in the directory

struct check {
    const char *directory;
    int fd;
    case_say_fn say;
    void *data;
    size_t wrong;
};

__attribute__((format(printf, 3, 4))) static void wrong(struct check *c, const char *name,
                                                        const char *format, ...)
{
    char text[PATH_MAX + NAME_MAX + 512], what[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    snprintf(text, sizeof text, "%s/%s: %s", c->directory, name, what);
    printable(text); // a name that is in the way may hold anything
    c->wrong++;
    c->say(c->data, text);
}

// A regular file, or -1: what is wrong was said.
static int open_file(struct check *c, const char *name, struct stat *ret)
{
    int fd = openat(c->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            wrong(c, name, "missing");
        else
            wrong(c, name, "%s", errno == ELOOP ? "is a link, not a file" : strerror(errno));
        return -1;
    }
    if (fstat(fd, ret) == 0 && S_ISREG(ret->st_mode))
        return fd;
    wrong(c, name, "is not a file");
    close(fd);
    return -1;
}

// The whole of a small file, with a NUL behind it; NULL: what is wrong was said.
static char *read_small(struct check *c, const char *name, size_t max, size_t *ret_size)
{
    struct stat st;
    _cleanup_(closep) int fd = open_file(c, name, &st);
    if (fd < 0)
        return NULL;
    _cleanup_(freep) char *text = malloc(max + 1);
    size_t used = 0;
    ssize_t n = text ? 1 : -1;
    while (n > 0 && used <= max) {
        n = read(fd, text + used, max + 1 - used);
        used += n > 0 ? (size_t)n : 0;
    }
    if (n < 0 || used > max) {
        wrong(c, name, "%s", n < 0 ? strerror(errno) : "is too long");
        return NULL;
    }
    text[used] = '\0';
    *ret_size = used;
    char *whole = text;
    text = NULL;
    return whole;
}

static int digest_of(int fd, char ret[CASE_DIGEST_SIZE], uint64_t *ret_bytes)
{
    unsigned char piece[65536], digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    uint64_t bytes = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1;
    ssize_t n = 1;
    while (good && (n = read(fd, piece, sizeof piece)) > 0) {
        good = EVP_DigestUpdate(context, piece, (size_t)n) == 1;
        bytes += (uint64_t)n;
    }
    good = good && n == 0 && EVP_DigestFinal_ex(context, digest, &size) == 1;
    EVP_MD_CTX_free(context);
    if (!good)
        return -EIO;
    sodium_bin2hex(ret, CASE_DIGEST_SIZE, digest, size);
    *ret_bytes = bytes;
    return 0;
}

static void check_file(struct check *c, const struct case_file *file)
{
    struct stat st;
    char digest[CASE_DIGEST_SIZE];
    uint64_t bytes;
    _cleanup_(closep) int fd = open_file(c, file->name, &st);
    if (fd < 0)
        return;
    bytes = (uint64_t)st.st_size; // of another size: not read, however large it is
    if (bytes == file->bytes && digest_of(fd, digest, &bytes) < 0)
        wrong(c, file->name, "cannot be read");
    else if (bytes != file->bytes)
        wrong(c, file->name, "changed: %" PRIu64 " bytes, %" PRIu64 " when it was signed", bytes,
              file->bytes);
    else if (strcmp(digest, file->sha256) != 0)
        wrong(c, file->name, "changed: its SHA-256 is not the one that was signed");
}

static bool is_listed(const struct case_manifest *m, const char *name)
{
    static const char *const own[] = {".", "..", CASE_MANIFEST, CASE_SIGNATURE};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (strcmp(own[i], name) == 0)
            return true;
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->files[i].name, name) == 0)
            return true;
    return false;
}

static void check_extra(struct check *c, const struct case_manifest *m, DIR *dir)
{
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!is_listed(m, entry->d_name))
            wrong(c, entry->d_name, "extra: it was not signed");
}

// ---- the signature

// The key that is in the directory: nobody vouches for it yet.
static bool key_inside(struct check *c, uint8_t ret[OPERATOR_KEY_SIZE])
{
    size_t size;
    _cleanup_(freep) char *pem = read_small(c, CASE_KEY, OPERATOR_PEM_SIZE, &size);
    if (!pem)
        return false;
    if (operator_public_parse(pem, size, ret) == 0)
        return true;
    wrong(c, CASE_KEY, "is not an Ed25519 public key in PEM");
    return false;
}

static bool find_key(struct check *c, const struct case_trust *trust,
                     uint8_t ret[OPERATOR_KEY_SIZE])
{
    char fingerprint[BUNDLE_FINGERPRINT];
    if (!trust->by_fingerprint) {
        memcpy(ret, trust->key, OPERATOR_KEY_SIZE);
        return true;
    }
    if (!key_inside(c, ret))
        return false;
    if (bundle_fingerprint_is(ret, trust->fingerprint))
        return true;
    bundle_fingerprint(ret, fingerprint);
    wrong(c, CASE_KEY, "wrong key: its fingerprint is %s, not %s", fingerprint, trust->fingerprint);
    return false;
}

static void say_signature(struct check *c, const uint8_t key[OPERATOR_KEY_SIZE], const char *text,
                          size_t size, const uint8_t *signature)
{
    uint8_t other[OPERATOR_KEY_SIZE];
    char expected[BUNDLE_FINGERPRINT], found[BUNDLE_FINGERPRINT];
    size_t before = c->wrong;
    if (key_inside(c, other) && memcmp(other, key, sizeof other) != 0 &&
        operator_public_verify(other, text, size, signature)) {
        bundle_fingerprint(key, expected);
        bundle_fingerprint(other, found);
        wrong(c, CASE_MANIFEST, "wrong key: it is signed by %s, not by %s", found, expected);
    } else if (c->wrong == before) {
        wrong(c, CASE_MANIFEST, "changed: " CASE_SIGNATURE " is not its signature");
    }
}

static int check_signed(struct check *c, const struct case_trust *trust, struct case_manifest *ret)
{
    uint8_t key[OPERATOR_KEY_SIZE];
    size_t size = 0, signature_size = 0;
    struct errmsg e = {"out of memory"};
    _cleanup_(freep) char *text = read_small(c, CASE_MANIFEST, CASE_MANIFEST_MAX, &size);
    _cleanup_(freep) char *signature =
        read_small(c, CASE_SIGNATURE, OPERATOR_SIGNATURE_SIZE, &signature_size);
    if (signature && signature_size != OPERATOR_SIGNATURE_SIZE)
        wrong(c, CASE_SIGNATURE, "changed: %zu bytes, not %d", signature_size,
              OPERATOR_SIGNATURE_SIZE);
    if (c->wrong > 0 || !text || !signature || !find_key(c, trust, key))
        return 1;
    if (!operator_public_verify(key, text, size, (const uint8_t *)signature)) {
        say_signature(c, key, text, size, (const uint8_t *)signature);
        return 1;
    }
    if (case_manifest_parse(text, size, ret, &e) < 0) {
        wrong(c, CASE_MANIFEST, "%s", e.text);
        return 1;
    }
    return 0;
}

int case_check(const char *directory, const struct case_trust *trust, case_say_fn say, void *data,
               struct case_manifest *ret, struct errmsg *e)
{
    struct check c = {.directory = directory, .say = say, .data = data};
    struct case_manifest m = {0};
    DIR *dir = opendir(directory);
    if (!dir)
        return errmsg_set(e, -errno, "%s: %s", directory, strerror(errno));
    c.fd = dirfd(dir);
    if (check_signed(&c, trust, &m) == 0) {
        for (size_t i = 0; i < m.n; i++)
            check_file(&c, &m.files[i]);
        check_extra(&c, &m, dir);
    }
    closedir(dir);
    if (c.wrong > 0)
        return 1;
    *ret = m;
    return 0;
}
