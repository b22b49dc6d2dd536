#include "collector/enrol.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pwd.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WINDOW_DEFAULT_MS 60000
#define CAP_DEFAULT       (256LL << 20)
#define SECONDS_PER_DAY   86400
#define SIGNATURE_ROOM    256
#define WAIT_MS           3000
#define WAIT_STEP_MS      100

void enrol_unix_user(char *ret, size_t size)
{
    const char *sudo = getenv("SUDO_USER");
    const struct passwd *pw = getpwuid(getuid());
    char host[128] = "";
    (void)gethostname(host, sizeof host - 1);
    snprintf(ret, size, "%.60s@%.100s", sudo && *sudo ? sudo : pw ? pw->pw_name : "?", host);
}

int enrol_audit(struct db *db, const char *action, const char *sensor, const char *detail,
                struct errmsg *e)
{
    char user[192];
    enrol_unix_user(user, sizeof user);
    const char *values[] = {action, sensor, detail, user};
    return db_query(db, "select hirundo.audit_add($1, $2, $3, $4)", 4, values, NULL, e);
}

void enrol_options_init(struct enrol_options *o)
{
    *o = (struct enrol_options){
        .window_ms = WINDOW_DEFAULT_MS,
        .spool_cap = CAP_DEFAULT,
        .valid_days = BUNDLE_VALID_DAYS,
        .wait_ms = WAIT_MS,
    };
}

void enrol_options_release(struct enrol_options *o)
{
    conf_list_clear(&o->endpoints);
    conf_list_clear(&o->exclude);
}

// ---- what a bundle says of the collector

// Does tcp://ADDRESS:PORT name an address that another machine can reach, in numbers?
static bool is_reachable(const char *endpoint)
{
    char host[64];
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", 6) != 0 || !colon || colon < endpoint + 6 ||
        (size_t)(colon - endpoint - 6) >= sizeof host)
        return false;
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] == '\0' || *end || port < 1 || port > 65535)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - endpoint - 6), endpoint + 6);
    size_t n = strlen(host);
    struct in_addr v4;
    struct in6_addr v6;
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        return inet_pton(AF_INET6, host + 1, &v6) == 1 && !IN6_IS_ADDR_UNSPECIFIED(&v6);
    }
    return inet_pton(AF_INET, host, &v4) == 1 && v4.s_addr != INADDR_ANY;
}

int enrol_check_endpoint(const char *where, const char *endpoint, struct errmsg *e)
{
    if (is_reachable(endpoint))
        return 0;
    return errmsg_set(e, -EINVAL,
                      "%s %.80s: must be tcp://ADDRESS:PORT with a numeric address that sensors "
                      "reach (IPv6 in brackets): a sensor asks no DNS",
                      where, endpoint);
}

static int take_endpoints(const struct conf_list *from, const char *where, struct conf_list *to,
                          struct errmsg *e)
{
    for (size_t i = 0; i < from->n; i++) {
        int r = enrol_check_endpoint(where, from->items[i], e);
        if (r < 0)
            return r;
        if (conf_list_add(to, from->items[i]) < 0)
            return errmsg_set(e, -ENOMEM, "out of memory");
    }
    return 0;
}

// What serve has noted. The newest key counts; endpoints of it that were seen within a day of that.
static int read_known(struct db *db, bool next, uint8_t ret_key[KEY_SIZE], struct conf_list *ret,
                      struct errmsg *e)
{
    const char *values[] = {next ? "true" : "false"};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r =
        db_query(db,
                 "select encode(c.public_key, 'hex'), c.endpoint from hirundo.collector_endpoint c "
                 "join (select public_key from hirundo.collector_endpoint where is_next = "
                 "$1::boolean order by seen_at desc limit 1) newest using (public_key) where "
                 "c.is_next = $1::boolean and c.seen_at > (select max(seen_at) from "
                 "hirundo.collector_endpoint) - interval '1 day' order by c.endpoint",
                 1, values, &result, e);
    if (r != 0)
        return r;
    if (PQntuples(result) == 0 || key_parse(PQgetvalue(result, 0, 0), ret_key) < 0)
        return -ENOENT;
    for (int i = 0; i < PQntuples(result); i++)
        if (is_reachable(PQgetvalue(result, i, 1)) &&
            conf_list_add(ret, PQgetvalue(result, i, 1)) < 0)
            return -ENOMEM;
    return 0;
}

// A collector that was started a moment ago has not noted its key yet.
static int wait_for_known(struct db *db, int wait_ms, uint8_t ret[KEY_SIZE],
                          struct conf_list *ret_known, struct errmsg *e)
{
    for (;; wait_ms -= WAIT_STEP_MS) {
        int r = read_known(db, false, ret, ret_known, e);
        if (r != -ENOENT || wait_ms <= 0)
            return r;
        const struct timespec step = {0, WAIT_STEP_MS * 1000000L};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
    }
}

static int find_server_key(struct db *db, const struct collector_conf *conf, int wait_ms,
                           uint8_t ret[KEY_SIZE], struct conf_list *ret_known, struct errmsg *e)
{
    int r = wait_for_known(db, wait_ms, ret, ret_known, e);
    if (r != -ENOENT)
        return r;
    _cleanup_(key_pair_wipe) struct key_pair pair = {0};
    struct errmsg ignored;
    if (key_file_read(conf->key_path, &pair, &ignored) < 0)
        return errmsg_set(e, -ENOENT,
                          "the collector's key is not known: start hirundo-collector serve once, "
                          "which notes it in the database");
    memcpy(ret, pair.public_key, KEY_SIZE);
    return 0;
}

// The default of [collector] endpoint, which says nothing of where sensors are.
static bool is_loopback(const char *endpoint)
{
    return strncmp(endpoint, "tcp://127.", 10) == 0 || strncmp(endpoint, "tcp://[::1]", 11) == 0;
}

static int describe_endpoints(const struct collector_conf *conf, const struct enrol_options *o,
                              struct conf_list *known, struct bundle *b, struct errmsg *e)
{
    if (o->endpoints.n > 0)
        return take_endpoints(&o->endpoints, "--endpoint", &b->endpoints, e);
    if (conf->public_endpoints.n > 0)
        return take_endpoints(&conf->public_endpoints, "[collector] public", &b->endpoints, e);
    b->endpoints = *known;
    *known = (struct conf_list){0};
    for (size_t i = 0; b->endpoints.n == 0 && i < conf->endpoints.n; i++)
        if (is_reachable(conf->endpoints.items[i]) && !is_loopback(conf->endpoints.items[i]) &&
            conf_list_add(&b->endpoints, conf->endpoints.items[i]) < 0)
            return errmsg_set(e, -ENOMEM, "out of memory");
    if (b->endpoints.n == 0)
        return errmsg_set(e, -ENOENT,
                          "the address at which sensors reach the collector is not known: set "
                          "[collector] public = tcp://ADDRESS:PORT and restart serve, or say "
                          "--endpoint tcp://ADDRESS:PORT");
    return 0;
}

int enrol_describe_collector(struct db *db, const struct collector_conf *conf,
                             const struct enrol_options *o, struct bundle *b, struct errmsg *e)
{
    struct conf_list known = {0};
    int r = find_server_key(db, conf, o->wait_ms, b->server_key, &known, e);
    if (r == 0)
        r = describe_endpoints(conf, o, &known, b, e);
    conf_list_clear(&known);
    if (r == 0) {
        r = read_known(db, true, b->next_server_key, &b->next_endpoints, e);
        // One that is the present key by now leaves rows of its time as the next one.
        bool other = r == 0 && memcmp(b->next_server_key, b->server_key, KEY_SIZE) != 0;
        b->has_next = other && b->next_endpoints.n > 0;
        r = r == -ENOENT ? 0 : r;
    }
    return r;
}

// ---- the bundle

static const char *operator_path(const struct collector_conf *conf, const struct enrol_options *o)
{
    return o->operator_key ? o->operator_key : conf->operator_key;
}

int enrol_open_operator(const struct collector_conf *conf, const struct enrol_options *o,
                        struct operator_key **ret, bool *ret_made, struct errmsg *e)
{
    const char *path = operator_path(conf, o);
    int r = operator_key_read(path, ret, e);
    if (r != -ENOENT)
        return r;
    r = operator_key_make(path, ret, e);
    *ret_made = r == 0;
    return r;
}

void enrol_say_operator_made(const struct collector_conf *conf, const struct enrol_options *o)
{
    fprintf(stderr, "made the operator's key %s: keep a copy in a safe place\n",
            operator_path(conf, o));
}

static int sign(const struct operator_key *key, const struct bundle *b, char **ret,
                size_t *ret_size, struct errmsg *e)
{
    _cleanup_(freep) char *text = NULL;
    uint8_t signature[BUNDLE_SIGNATURE];
    if (bundle_format(b, &text) < 0 || !text)
        return errmsg_set(e, -ENOMEM, "out of memory");
    size_t size = strlen(text);
    int r = operator_key_sign(key, text, size, signature, e);
    if (r < 0)
        return r;
    char *whole = realloc(text, size + SIGNATURE_ROOM);
    if (!whole)
        return errmsg_set(e, -ENOMEM, "out of memory");
    text = NULL;
    int more = bundle_format_signature(signature, whole + size, SIGNATURE_ROOM);
    *ret = whole;
    *ret_size = size + (size_t)MAX(more, 0);
    return 0;
}

static int write_new_file(const char *path, const char *text, size_t size, struct errmsg *e)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errmsg_set(e, -errno, "bundle %s: %s%s", path, strerror(errno),
                          errno == EEXIST ? "; move it away, or name another file with --out" : "");
    errno = ENOSPC; // what a short write means
    if (write(fd, text, size) != (ssize_t)size || fsync(fd) < 0) {
        int r = -errno;
        unlink(path);
        return errmsg_set(e, r, "bundle %s: %s", path, strerror(-r));
    }
    return 0;
}

static int note_bundle(struct db *db, const struct bundle *b, const char *fingerprint,
                       struct errmsg *e)
{
    char issued[32], expires[32], operator_text[KEY_HEX_SIZE], detail[160];
    snprintf(issued, sizeof issued, "%lld", (long long)b->issued_s);
    snprintf(expires, sizeof expires, "%lld", (long long)b->expires_s);
    sodium_bin2hex(operator_text, sizeof operator_text, b->operator_key, KEY_SIZE);
    const char *values[] = {b->name, issued, expires, operator_text, b->has_key ? "true" : "false"};
    int r = db_query(
        db,
        "insert into hirundo.bundle (sensor_id, issued_at, expires_at, operator_key, with_key) "
        "select sensor_id, to_timestamp($2::bigint), to_timestamp($3::bigint), decode($4, 'hex'), "
        "$5::boolean from hirundo.sensor where name = $1 on conflict (sensor_id, issued_at) do "
        "update set expires_at = excluded.expires_at, operator_key = excluded.operator_key, "
        "with_key = excluded.with_key",
        5, values, NULL, e);
    if (r != 0)
        return r;
    snprintf(detail, sizeof detail, "signed by %s, valid for %lld days%s", fingerprint,
             (long long)(b->expires_s - b->issued_s) / SECONDS_PER_DAY,
             b->has_key ? ", with its key" : "");
    return enrol_audit(db, "bundle made", b->name, detail, e);
}

int enrol_write_bundle(struct db *db, const struct operator_key *key, const struct enrol_options *o,
                       struct bundle *b, struct enrol_written *ret, struct errmsg *e)
{
    _cleanup_(freep) char *text = NULL;
    size_t size = 0;
    struct enrol_written w = {0};
    int length =
        snprintf(w.path, sizeof w.path, "%s%s", o->out ? o->out : b->name, o->out ? "" : ".bundle");
    if (length < 0 || (size_t)length >= sizeof w.path)
        return errmsg_set(e, -ENAMETOOLONG, "bundle %.80s...: too long a path: say a shorter --out",
                          w.path);
    operator_key_public(key, b->operator_key);
    bundle_fingerprint(b->operator_key, w.fingerprint);
    w.has_next = b->has_next;
    b->issued_s = time(NULL);
    b->expires_s = b->issued_s + o->valid_days * SECONDS_PER_DAY;
    b->window_ms = o->window_ms;
    b->spool_cap = o->spool_cap;
    b->max_kbit = o->max_kbit;
    int r = 0;
    for (size_t i = 0; r == 0 && i < o->exclude.n; i++)
        r = conf_list_add(&b->exclude, o->exclude.items[i]);
    if (r == 0)
        r = sign(key, b, &text, &size, e);
    if (r == 0)
        r = note_bundle(db, b, w.fingerprint, e);
    if (r == 0)
        r = write_new_file(w.path, text, size, e);
    if (text)
        sodium_memzero(text, size);
    if (r == 0)
        *ret = w;
    return r;
}
