#include "common/bundle.h"

#include <ctype.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/printable.h"

#define SIGNATURE_SECTION "[signature]\n"
#define SIGNATURE_KEY     "ed25519 = "
#define REQUEST_PREFIX    "request:"
#define CHECK_DIGITS      8
#define TIME_FORMAT       "%Y-%m-%dT%H:%M:%SZ"

// As it stands in the file.
struct values {
    int64_t format;
    char *name, *country, *issued, *expires, *operator_key;
    struct conf_list endpoints, next_endpoints;
    char *server_key, *next_server_key;
    int64_t max_kbit;
    struct conf_list exclude;
    int64_t window_ms, spool_cap;
    char *public_key, *secret_key;
};

#define FIELD(name) offsetof(struct values, name)

static const struct conf_key keys[] = {
    {"bundle", "format", CONF_INTEGER, FIELD(format), NULL, true, 1, 1, "version of this format"},
    {"bundle", "name", CONF_TEXT, FIELD(name), NULL, true, 0, 0, "the sensor's name"},
    {"bundle", "country", CONF_TEXT, FIELD(country), NULL, true, 0, 0, "where it stands"},
    {"bundle", "issued", CONF_TEXT, FIELD(issued), NULL, true, 0, 0, "UTC"},
    {"bundle", "expires", CONF_TEXT, FIELD(expires), NULL, true, 0, 0, "UTC; no enrolment after"},
    {"bundle", "operator", CONF_TEXT, FIELD(operator_key), NULL, true, 0, 0,
     "the operator's Ed25519 public key, hex"},
    {"collector", "endpoint", CONF_LIST, FIELD(endpoints), NULL, true, 0, 0, "tcp://ADDRESS:PORT"},
    {"collector", "server_key", CONF_TEXT, FIELD(server_key), NULL, true, 0, 0,
     "the collector's public key"},
    {"collector", "next_endpoint", CONF_LIST, FIELD(next_endpoints), NULL, false, 0, 0,
     "where the next key is served"},
    {"collector", "next_server_key", CONF_TEXT, FIELD(next_server_key), NULL, false, 0, 0,
     "the key that follows"},
    {"collector", "max_kbit", CONF_INTEGER, FIELD(max_kbit), "0", false, 0, 10000000,
     "bandwidth limit, kbit/s; 0: none"},
    {"capture", "exclude", CONF_LIST, FIELD(exclude), NULL, false, 0, 0, "not looked at"},
    {"flow", "window", CONF_DURATION, FIELD(window_ms), "60s", false, 1000, 900000,
     "length of a flow's window"},
    {"spool", "cap", CONF_BYTES, FIELD(spool_cap), "256M", false, 1 << 20, 1LL << 40,
     "bytes the spool may take"},
    {"key", "public", CONF_TEXT, FIELD(public_key), NULL, false, 0, 0, "the sensor's key pair"},
    {"key", "secret", CONF_TEXT, FIELD(secret_key), NULL, false, 0, 0, "the sensor's key pair"},
};

static void wipe_text(char *text)
{
    if (text)
        sodium_memzero(text, strlen(text));
}

static void values_free(struct values *v)
{
    wipe_text(v->secret_key);
    conf_free(keys, ARRAY_SIZE(keys), v);
}

void bundle_free(struct bundle *b)
{
    free(b->name);
    free(b->country);
    conf_list_clear(&b->endpoints);
    conf_list_clear(&b->next_endpoints);
    conf_list_clear(&b->exclude);
    sodium_memzero(b, sizeof *b);
}

bool sensor_name_is_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t n = strlen(name);
    return n >= 1 && n <= SENSOR_NAME_MAX && name[0] != '-' && strspn(name, letters) == n;
}

static void hex(const uint8_t *p, size_t n, char *ret)
{
    sodium_bin2hex(ret, 2 * n + 1, p, n);
}

static int unhex(const char *text, size_t length, uint8_t *ret, size_t n)
{
    size_t used = 0;
    if (length != 2 * n || sodium_hex2bin(ret, n, text, length, NULL, &used, NULL) < 0 || used != n)
        return -EINVAL;
    return 0;
}

// ---- writing

static void put_time(FILE *out, const char *name, int64_t seconds)
{
    char text[32];
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, TIME_FORMAT, &tm);
    fprintf(out, "%s = %s\n", name, text);
}

static void put_bundle(FILE *out, const struct bundle *b)
{
    char operator_text[2 * KEY_SIZE + 1];
    hex(b->operator_key, KEY_SIZE, operator_text);
    fputs("# Enrols one sensor: hirundo-sensor enroll FILE. Signed; do not edit.\n", out);
    fprintf(out, "[bundle]\nformat = 1\nname = %s\ncountry = %s\n", b->name, b->country);
    put_time(out, "issued", b->issued_s);
    put_time(out, "expires", b->expires_s);
    fprintf(out, "operator = %s\n[collector]\n", operator_text);
    conf_list_write(out, "endpoint", &b->endpoints);
    key_write(out, "server_key", b->server_key);
    if (b->has_next) {
        conf_list_write(out, "next_endpoint", &b->next_endpoints);
        key_write(out, "next_server_key", b->next_server_key);
    }
    fprintf(out, "max_kbit = %lld\n[capture]\n", (long long)b->max_kbit);
    conf_list_write(out, "exclude", &b->exclude);
    fprintf(out, "[flow]\nwindow = %lldms\n[spool]\ncap = %lld\n", (long long)b->window_ms,
            (long long)b->spool_cap);
    if (b->has_key) {
        fputs("[key]\n", out);
        key_write(out, "public", b->key.public_key);
        key_write(out, "secret", b->key.secret_key);
    }
}

int bundle_format(const struct bundle *b, char **ret)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    put_bundle(out, b);
    bool whole = !ferror(out);
    if (fclose(out) != 0 || !whole) {
        free(text);
        return -ENOMEM;
    }
    *ret = text;
    return 0;
}

int bundle_format_signature(const uint8_t signature[BUNDLE_SIGNATURE], char *ret, size_t size)
{
    char text[2 * BUNDLE_SIGNATURE + 1];
    hex(signature, BUNDLE_SIGNATURE, text);
    int n = snprintf(ret, size, SIGNATURE_SECTION SIGNATURE_KEY "%s\n", text);
    return n < 0 || (size_t)n >= size ? -ENOSPC : n;
}

// ---- reading

// The whole file, NUL at its end. A secret is not read from a file that others can read.
static int read_file(const char *path, char **ret, size_t *ret_size, struct errmsg *e)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errmsg_set(e, -errno, "bundle %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > BUNDLE_SIZE_MAX)
        return errmsg_set(e, -EINVAL, "bundle %s: not a bundle (%s)", path,
                          S_ISREG(st.st_mode) ? "too large" : "not a regular file");
    _cleanup_(freep) char *text = malloc(BUNDLE_SIZE_MAX + 1);
    if (!text)
        return errmsg_set(e, -ENOMEM, "out of memory");
    size_t size = 0;
    for (ssize_t n; size < BUNDLE_SIZE_MAX; size += (size_t)n) {
        n = read(fd, text + size, BUNDLE_SIZE_MAX - size);
        if (n < 0)
            return errmsg_set(e, -errno, "bundle %s: %s", path, strerror(errno));
        if (n == 0)
            break;
    }
    text[size] = '\0';
    if (strstr(text, "\n[key]\n") && (st.st_mode & 077))
        return errmsg_set(e, -EPERM,
                          "bundle %s: holds a secret key and mode %04o lets others read it; run: "
                          "chmod 600 %s (and make a new one if somebody may have read it)",
                          path, (unsigned)(st.st_mode & 07777), path);
    *ret = text;
    text = NULL;
    *ret_size = size;
    return 0;
}

// The signature, which is the end of the file and nothing else; what is before it is what it signs.
static int find_signature(const char *path, const char *text, size_t *ret_signed,
                          uint8_t ret_signature[BUNDLE_SIGNATURE], struct errmsg *e)
{
    const char *at = strstr(text, "\n" SIGNATURE_SECTION SIGNATURE_KEY);
    if (!at)
        return errmsg_set(e, -EINVAL,
                          "bundle %s: not a bundle, or cut short: copy it again from the "
                          "collector's owner",
                          path);
    const char *digits = at + 1 + strlen(SIGNATURE_SECTION SIGNATURE_KEY);
    size_t n = strspn(digits, "0123456789abcdef");
    if (strcmp(digits + n, "\n") != 0 || unhex(digits, n, ret_signature, BUNDLE_SIGNATURE) < 0)
        return errmsg_set(e, -EINVAL,
                          "bundle %s: its signature is damaged: copy it again from the collector's "
                          "owner",
                          path);
    *ret_signed = (size_t)(at + 1 - text);
    return 0;
}

static int parse_time(const char *text, int64_t *ret)
{
    struct tm tm = {0};
    const char *end = strptime(text, TIME_FORMAT, &tm);
    if (!end || *end)
        return -EINVAL;
    *ret = timegm(&tm);
    return 0;
}

static char *take(char **text)
{
    char *taken = *text;
    *text = NULL;
    return taken;
}

static struct conf_list take_list(struct conf_list *list)
{
    struct conf_list taken = *list;
    *list = (struct conf_list){0};
    return taken;
}

// What the values of each key must be beyond their type; NULL, or the name of the first bad one.
static const char *parse_values(struct values *v, struct bundle *b)
{
    b->max_kbit = v->max_kbit;
    b->window_ms = v->window_ms;
    b->spool_cap = v->spool_cap;
    if (!sensor_name_is_valid(v->name))
        return "[bundle] name";
    if (strlen(v->country) != 2 || !isupper((unsigned char)v->country[0]) ||
        !isupper((unsigned char)v->country[1]))
        return "[bundle] country";
    if (parse_time(v->issued, &b->issued_s) < 0 || parse_time(v->expires, &b->expires_s) < 0)
        return "[bundle] issued or expires";
    if (unhex(v->operator_key, strlen(v->operator_key), b->operator_key, KEY_SIZE) < 0)
        return "[bundle] operator";
    if (key_parse(v->server_key, b->server_key) < 0)
        return "[collector] server_key";
    b->has_next = v->next_server_key || v->next_endpoints.n > 0;
    if (b->has_next && (!v->next_server_key || v->next_endpoints.n == 0 ||
                        key_parse(v->next_server_key, b->next_server_key) < 0))
        return "[collector] next_server_key or next_endpoint";
    b->has_key = v->public_key || v->secret_key;
    if (b->has_key &&
        (!v->public_key || !v->secret_key || key_parse(v->public_key, b->key.public_key) < 0 ||
         key_parse(v->secret_key, b->key.secret_key) < 0))
        return "[key]";
    b->name = take(&v->name);
    b->country = take(&v->country);
    b->endpoints = take_list(&v->endpoints);
    b->next_endpoints = take_list(&v->next_endpoints);
    b->exclude = take_list(&v->exclude);
    return NULL;
}

// The text up to `size`, as a bundle.
static int parse_text(const char *path, char *text, size_t size, struct bundle *ret,
                      struct errmsg *e)
{
    struct values v = {0};
    struct bundle b = {0};
    _cleanup_(fclosep) FILE *f = fmemopen(text, size, "r");
    if (!f)
        return errmsg_set(e, -ENOMEM, "out of memory");
    setvbuf(f, NULL, _IONBF, 0); // no copy of a secret in a buffer that nobody wipes
    int r = conf_read_stream(keys, ARRAY_SIZE(keys), path, f, &v, e);
    if (r < 0) {
        // what a foreign file says is shown on somebody's terminal
        if (e)
            printable(e->text);
        return r;
    }
    const char *bad = parse_values(&v, &b);
    values_free(&v);
    if (bad) {
        bundle_free(&b);
        return errmsg_set(e, -EINVAL, "bundle %s: %s cannot be what a collector wrote", path, bad);
    }
    *ret = b;
    sodium_memzero(&b, sizeof b);
    return 0;
}

int bundle_parse(const char *name, char *text, size_t size, struct bundle *ret, struct errmsg *e)
{
    size_t signed_size = 0;
    uint8_t signature[BUNDLE_SIGNATURE];
    struct bundle b = {0};
    if (strlen(text) != size)
        return errmsg_set(e, -EINVAL, "bundle %s: not a text", name);
    int r = find_signature(name, text, &signed_size, signature, e);
    if (r == 0)
        r = parse_text(name, text, signed_size, &b, e);
    if (r < 0)
        return r;
    if (crypto_sign_ed25519_verify_detached(signature, (const uint8_t *)text, signed_size,
                                            b.operator_key) != 0) {
        bundle_free(&b);
        return errmsg_set(e, -EINVAL,
                          "bundle %s: its signature does not fit: it was changed or damaged after "
                          "the collector's owner signed it; ask for it again",
                          name);
    }
    *ret = b;
    sodium_memzero(&b, sizeof b);
    return 0;
}

int bundle_read(const char *path, struct bundle *ret, struct errmsg *e)
{
    if (sodium_init() < 0)
        return errmsg_set(e, -EIO, "libsodium does not start on this machine");
    _cleanup_(freep) char *text = NULL;
    size_t size = 0;
    int r = read_file(path, &text, &size, e);
    if (r == 0 && text)
        r = bundle_parse(path, text, size, ret, e);
    if (text)
        sodium_memzero(text, size);
    return r;
}

// ---- for people

void bundle_fingerprint(const uint8_t operator_key[KEY_SIZE], char ret[BUNDLE_FINGERPRINT])
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, operator_key, KEY_SIZE);
    char *p = ret;
    for (size_t i = 0; i < 16; i += 2)
        p += sprintf(p, "%s%02x%02x", i ? "-" : "", digest[i], digest[i + 1]);
}

bool bundle_fingerprint_is(const uint8_t operator_key[KEY_SIZE], const char *text)
{
    char wanted[BUNDLE_FINGERPRINT];
    bundle_fingerprint(operator_key, wanted);
    const char *w = wanted;
    for (; *text; text++) {
        if (strchr("-: ", *text))
            continue;
        w += *w == '-';
        if (tolower((unsigned char)*text) != *w++)
            return false;
    }
    return *w == '\0';
}

void request_format(const char *name, const uint8_t key[KEY_SIZE], char ret[REQUEST_SIZE])
{
    char key_text[2 * KEY_SIZE + 1], check[2 * crypto_hash_sha256_BYTES + 1];
    uint8_t digest[crypto_hash_sha256_BYTES];
    hex(key, KEY_SIZE, key_text);
    int n = snprintf(ret, REQUEST_SIZE, REQUEST_PREFIX "%.*s:%s", SENSOR_NAME_MAX, name, key_text);
    crypto_hash_sha256(digest, (const uint8_t *)ret, (size_t)n);
    hex(digest, sizeof digest, check);
    snprintf(ret + n, REQUEST_SIZE - (size_t)n, ":%.*s", CHECK_DIGITS, check);
}

int request_parse(const char *text, char ret_name[SENSOR_NAME_MAX + 1], uint8_t ret_key[KEY_SIZE],
                  struct errmsg *e)
{
    static const char help[] = "copy the whole line that hirundo-sensor enroll printed";
    size_t prefix = strlen(REQUEST_PREFIX);
    if (strncmp(text, REQUEST_PREFIX, prefix) != 0)
        return errmsg_set(e, -EINVAL, "not a request (request:NAME:KEY:CHECK): %s", help);
    const char *name = text + prefix, *colon = strchr(name, ':');
    size_t length = colon ? (size_t)(colon - name) : 0;
    char name_text[SENSOR_NAME_MAX + 1];
    uint8_t key[KEY_SIZE];
    if (length == 0 || length > SENSOR_NAME_MAX ||
        strlen(colon) != 1 + 2 * KEY_SIZE + 1 + CHECK_DIGITS ||
        unhex(colon + 1, 2 * KEY_SIZE, key, KEY_SIZE) < 0)
        return errmsg_set(e, -EINVAL, "the request is damaged or cut short: %s", help);
    memcpy(name_text, name, length);
    name_text[length] = '\0';
    char whole[REQUEST_SIZE];
    request_format(name_text, key, whole);
    if (strcmp(whole, text) != 0)
        return errmsg_set(e, -EINVAL, "the request's checksum is wrong: %s", help);
    memcpy(ret_name, name_text, length + 1);
    memcpy(ret_key, key, KEY_SIZE);
    return 0;
}
