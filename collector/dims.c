#include "collector/dims.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "collector/array.h"
#include "collector/copy_row.h"
#include "collector/map.h"
#include "collector/text.h"

#define DAY_MS 86400000LL

struct address_key {
    int16_t sensor_id;
    struct ip_addr address;
    uint8_t zero;
};
_Static_assert(sizeof(struct address_key) == 20, "no padding: it is hashed");

struct options_key {
    uint8_t kinds[OPT_KINDS_MAX];
    uint8_t n;
    uint8_t wscale;
    uint8_t zero;
    uint16_t mss;
};
_Static_assert(sizeof(struct options_key) == 20, "no padding: it is hashed");

struct dims {
    struct map *addresses; // address_key -> dst_no
    struct map *sensors;   // sensor_id -> how many addresses it has; there: they are loaded
    struct map *options;   // options_key -> options_id
    struct map *days;      // day -> 1
    int64_t options_count; // in the database, -1: not known yet
    bool *missing;         // scratch, BATCH_FLOWS_MAX
};

int dims_new(struct dims **ret)
{
    _cleanup_(dims_freep) struct dims *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->options_count = -1;
    d->missing = calloc(BATCH_FLOWS_MAX + BATCH_FLOODS_MAX, sizeof *d->missing);
    if (!d->missing || map_new(sizeof(struct address_key), &d->addresses) < 0 ||
        map_new(sizeof(int16_t), &d->sensors) < 0 ||
        map_new(sizeof(struct options_key), &d->options) < 0 ||
        map_new(sizeof(int64_t), &d->days) < 0)
        return -ENOMEM;
    *ret = d;
    d = NULL;
    return 0;
}

void dims_free(struct dims *d)
{
    if (!d)
        return;
    map_free(d->addresses);
    map_free(d->sensors);
    map_free(d->options);
    map_free(d->days);
    free(d->missing);
    free(d);
}

void dims_clear(struct dims *d)
{
    map_clear(d->addresses);
    map_clear(d->sensors);
    map_clear(d->options);
    map_clear(d->days);
    d->options_count = -1;
}

void dims_forget_days(struct dims *d)
{
    map_clear(d->days);
}

// ---- addresses

static struct address_key address_key(int16_t sensor_id, const struct ip_addr *a)
{
    return (struct address_key){.sensor_id = sensor_id, .address = *a};
}

static bool parse_address(const char *text, struct ip_addr *ret)
{
    *ret = (struct ip_addr){.version = strchr(text, ':') ? 6 : 4};
    return inet_pton(ret->version == 6 ? AF_INET6 : AF_INET, text, ret->b) == 1;
}

static const struct db_statement addresses_of = {
    "addresses",
    "select sensor_id, dst_no, host(address) from hirundo.sensor_address where sensor_id = "
    "any($1::smallint[]) and address is not null",
    false};

static int cache_addresses(struct dims *d, const PGresult *result)
{
    int n = PQntuples(result), r = 0;
    for (int i = 0; i < n && r == 0; i++) {
        struct ip_addr a;
        int16_t sensor_id = (int16_t)atoi(PQgetvalue(result, i, 0));
        uint32_t *count = map_get(d->sensors, &sensor_id);
        if (count)
            ++*count;
        if (!parse_address(PQgetvalue(result, i, 2), &a))
            continue;
        struct address_key key = address_key(sensor_id, &a);
        r = map_put(d->addresses, &key, (uint32_t)atoi(PQgetvalue(result, i, 1)));
    }
    return r;
}

// Takes all addresses of these sensors into the cache.
static int load_addresses(struct dims *d, struct db *db, const int16_t *sensor_ids, size_t n,
                          struct errmsg *e)
{
    const char *value;
    int length, r;
    struct array ids = {0};
    array_begin(&ids, ARRAY_INT2);
    for (size_t i = 0; i < n; i++)
        array_int2(&ids, sensor_ids[i]);
    _cleanup_(db_result_freep) PGresult *result = NULL;
    r = array_end(&ids, 1, &value, &length);
    if (r == 0)
        r = db_execute(db, &addresses_of, 1, &value, &length, &result, e);
    array_release(&ids, 1);
    for (size_t i = 0; i < n && r == 0; i++)
        r = map_put(d->sensors, &sensor_ids[i], 0);
    return r == 0 ? cache_addresses(d, result) : r;
}

int dims_prefetch(struct dims *d, struct db *db, const int16_t *sensor_ids, size_t n,
                  struct errmsg *e)
{
    _cleanup_(freep) int16_t *wanted = calloc(n + 1, sizeof *wanted);
    _cleanup_(map_freep) struct map *listed = NULL;
    size_t n_wanted = 0;
    if (!wanted || map_new(sizeof(int16_t), &listed) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (map_get(d->sensors, &sensor_ids[i]) || map_get(listed, &sensor_ids[i]))
            continue;
        if (map_put(listed, &sensor_ids[i], 1) < 0)
            return -ENOMEM;
        wanted[n_wanted++] = sensor_ids[i];
    }
    return n_wanted < 2 ? 0 : load_addresses(d, db, wanted, n_wanted, e);
}

static void add_address(struct text *t, const struct ip_addr *a)
{
    char word[INET6_ADDRSTRLEN];
    if (inet_ntop(a->version == 6 ? AF_INET6 : AF_INET, a->b, word, sizeof word))
        text_array_word(t, word);
}

// Two collectors that meet the same new address take turns; numbers have no holes.
static int insert_addresses(struct db *db, int16_t sensor_id, const char *array, struct errmsg *e)
{
    char id[16], most[16];
    snprintf(id, sizeof id, "%d", sensor_id);
    snprintf(most, sizeof most, "%d", DIMS_ADDRESSES_MAX);
    const char *values[] = {id, array, most};
    int r = db_exec(db, "begin", e);
    // Need not wait for the disk: the commit of the rows that refer to them does, and WAL is in
    // order.
    if (r == 0)
        r = db_exec(db, "set local synchronous_commit = off", e);
    if (r == 0)
        r = db_query(db, "select pg_advisory_xact_lock(1751740005, $1::integer)", 1, values, NULL,
                     e);
    if (r == 0)
        r = db_query(
            db,
            "insert into hirundo.sensor_address (sensor_id, dst_no, address) "
            "select $1::smallint, n, address from (select address, row_number() over (order by "
            "address) + (select coalesce(max(dst_no), 0) from hirundo.sensor_address where "
            "sensor_id = $1::smallint) as n from (select distinct unnest($2::inet[]) as address) u "
            "where not exists (select 1 from hirundo.sensor_address a where a.sensor_id = "
            "$1::smallint and a.address = u.address)) numbered where n <= $3::integer",
            3, values, NULL, e);
    if (r == 0)
        return db_exec(db, "commit", e);
    if (r > 0) {
        int rolled = db_exec(db, "rollback", NULL);
        return rolled < 0 ? rolled : r;
    }
    return r;
}

static const struct ip_addr *row_address(const struct batch *b, uint32_t i)
{
    return i < b->n_flows ? &b->flows[i].dst : &b->floods[i - b->n_flows].dst;
}

// Numbers for all rows from the cache; missing[i] where there is none. Returns how many are
// missing.
static uint32_t find_addresses(struct dims *d, int16_t sensor_id, const struct batch *b,
                               const struct dims_ids *ids)
{
    uint32_t missing = 0;
    const struct ip_addr *last = NULL;
    int16_t last_no = 0;
    bool last_missing = false;
    for (uint32_t i = 0; i < b->n_flows + b->n_floods; i++) {
        const struct ip_addr *a = row_address(b, i);
        if (!last || memcmp(last, a, sizeof *a) != 0) {
            struct address_key key = address_key(sensor_id, a);
            const uint32_t *no = map_get(d->addresses, &key);
            last_missing = !no;
            last_no = no ? (int16_t)*no : 0;
            last = a;
        }
        d->missing[i] = last_missing;
        missing += last_missing;
        if (i < b->n_flows)
            ids->flow_dst[i] = last_no;
        else
            ids->flood_dst[i - b->n_flows] = last_no;
    }
    return missing;
}

static int resolve_addresses(struct dims *d, struct db *db, int16_t sensor_id,
                             const struct batch *b, const struct dims_ids *ids, struct errmsg *e)
{
    const uint32_t *known = map_get(d->sensors, &sensor_id);
    int r = known ? 0 : load_addresses(d, db, &sensor_id, 1, e);
    if (r != 0)
        return r;
    known = map_get(d->sensors, &sensor_id);
    if (find_addresses(d, sensor_id, b, ids) == 0 || (known && *known >= DIMS_ADDRESSES_MAX))
        return 0;
    _cleanup_(text_release) struct text array = {0};
    const struct ip_addr *last = NULL;
    for (uint32_t i = 0; i < b->n_flows + b->n_floods; i++) {
        const struct ip_addr *a = row_address(b, i);
        if (d->missing[i] && (!last || memcmp(last, a, sizeof *a) != 0))
            add_address(&array, a);
        last = a;
    }
    text_array_end(&array);
    if (array.bad)
        return -ENOMEM;
    r = insert_addresses(db, sensor_id, array.p, e);
    if (r == 0)
        r = load_addresses(d, db, &sensor_id, 1, e);
    if (r == 0)
        find_addresses(d, sensor_id, b, ids); // what is still missing is 0
    return r;
}

// ---- TCP options

void dims_layout(const struct tcp_options *o, char text[DIMS_LAYOUT_MAX])
{
    static const char *const names[] = {
        [0] = "eol", [1] = "nop", [2] = "mss", [3] = "ws", [4] = "sok", [5] = "sack", [8] = "ts",
    };
    size_t used = 0;
    text[0] = '\0';
    for (uint8_t i = 0; i < o->n && i < OPT_KINDS_MAX && used < DIMS_LAYOUT_MAX; i++) {
        uint8_t kind = o->kinds[i];
        const char *comma = i ? "," : "";
        int n;
        if (kind == OPT_KIND_MORE)
            n = snprintf(text + used, DIMS_LAYOUT_MAX - used, "%s...", comma);
        else if (kind < ARRAY_SIZE(names) && names[kind])
            n = snprintf(text + used, DIMS_LAYOUT_MAX - used, "%s%s", comma, names[kind]);
        else
            n = snprintf(text + used, DIMS_LAYOUT_MAX - used, "%s?%u", comma, kind);
        used += (size_t)n;
    }
}

static struct options_key options_key(const struct tcp_options *o)
{
    struct options_key key = {.n = o->n, .wscale = o->wscale, .mss = o->mss};
    memcpy(key.kinds, o->kinds, MIN(o->n, (uint8_t)OPT_KINDS_MAX));
    return key;
}

static uint32_t find_options(struct dims *d, const struct batch *b, const struct dims_ids *ids)
{
    uint32_t missing = 0;
    struct options_key last = {.zero = 1}; // like no other
    int32_t last_id = 0;
    bool last_missing = false;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        d->missing[i] = false;
        if (!(b->flows[i].has & HAS_TCP_WINDOW)) {
            ids->flow_options[i] = COPY_NO_OPTIONS;
            continue;
        }
        struct options_key key = options_key(&b->flows[i].options);
        if (memcmp(&key, &last, sizeof key) != 0) {
            const uint32_t *id = map_get(d->options, &key);
            last_missing = !id;
            last_id = id ? (int32_t)*id : 0;
            last = key;
        }
        ids->flow_options[i] = last_id;
        d->missing[i] = last_missing;
        missing += last_missing;
    }
    return missing;
}

static int count_options(struct dims *d, struct db *db, struct errmsg *e)
{
    return db_query_number(db, "select count(*) from hirundo.tcp_options", 0, NULL,
                           &d->options_count, e);
}

struct options_arrays {
    struct text index, layout, mss, wscale;
};

static void options_arrays_release(struct options_arrays *a)
{
    text_release(&a->index);
    text_release(&a->layout);
    text_release(&a->mss);
    text_release(&a->wscale);
}

// One entry for each distinct set that is missing; `index` names a flow that has it.
static int list_options(const struct batch *b, const bool *missing, struct options_arrays *a)
{
    _cleanup_(map_freep) struct map *listed = NULL;
    if (map_new(sizeof(struct options_key), &listed) < 0)
        return -ENOMEM;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        const struct tcp_options *o = &b->flows[i].options;
        struct options_key key = options_key(o);
        if (!missing[i] || map_get(listed, &key))
            continue;
        if (map_put(listed, &key, 1) < 0)
            return -ENOMEM;
        char layout[DIMS_LAYOUT_MAX];
        dims_layout(o, layout);
        text_array_int(&a->index, i);
        text_array_word(&a->layout, layout);
        if (o->mss)
            text_array_int(&a->mss, o->mss);
        else
            text_array_null(&a->mss);
        if (o->wscale != WSCALE_NONE)
            text_array_int(&a->wscale, o->wscale);
        else
            text_array_null(&a->wscale);
    }
    text_array_end(&a->index);
    text_array_end(&a->layout);
    text_array_end(&a->mss);
    text_array_end(&a->wscale);
    return a->index.bad || a->layout.bad || a->mss.bad || a->wscale.bad ? -ENOMEM : 0;
}

static int insert_options(struct dims *d, struct db *db, const struct batch *b,
                          const struct options_arrays *a, struct errmsg *e)
{
    char room[24];
    snprintf(room, sizeof room, "%" PRId64, MAX(DIMS_OPTIONS_MAX - d->options_count, (int64_t)0));
    const char *values[] = {a->index.p, a->layout.p, a->mss.p, a->wscale.p, room};
    int r = db_query(
        db,
        "insert into hirundo.tcp_options (layout, mss, window_scale) select u.layout, u.mss, u.ws "
        "from unnest($1::integer[], $2::text[], $3::integer[], $4::smallint[]) u(i, layout, mss, "
        "ws) left join hirundo.tcp_options o on o.layout = u.layout and o.mss is not distinct from "
        "u.mss and o.window_scale is not distinct from u.ws where o.options_id is null "
        "order by 1, 2, 3 limit $5::bigint on conflict do nothing",
        5, values, NULL, e);
    if (r != 0)
        return r;
    _cleanup_(db_result_freep) PGresult *result = NULL;
    r = db_query(
        db,
        "select u.i, o.options_id from unnest($1::integer[], $2::text[], $3::integer[], "
        "$4::smallint[]) u(i, layout, mss, ws) join hirundo.tcp_options o on o.layout = u.layout "
        "and o.mss is not distinct from u.mss and o.window_scale is not distinct from u.ws",
        4, values, &result, e);
    for (int k = 0; r == 0 && k < PQntuples(result); k++) {
        unsigned long i = strtoul(PQgetvalue(result, k, 0), NULL, 10);
        if (i >= b->n_flows)
            continue;
        struct options_key key = options_key(&b->flows[i].options);
        r = map_put(d->options, &key, (uint32_t)strtoul(PQgetvalue(result, k, 1), NULL, 10));
    }
    return r == 0 ? count_options(d, db, e) : r;
}

static int resolve_options(struct dims *d, struct db *db, const struct batch *b,
                           const struct dims_ids *ids, struct errmsg *e)
{
    if (find_options(d, b, ids) == 0)
        return 0;
    int r = d->options_count < 0 ? count_options(d, db, e) : 0;
    if (r != 0)
        return r;
    _cleanup_(options_arrays_release) struct options_arrays arrays = {0};
    r = list_options(b, d->missing, &arrays);
    if (r == 0)
        r = insert_options(d, db, b, &arrays, e);
    if (r == 0)
        find_options(d, b, ids);
    return r;
}

// ---- partitions

int dims_day(struct dims *d, struct db *db, int64_t day, struct errmsg *e)
{
    if (map_get(d->days, &day))
        return 0;
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, day);
    const char *values[] = {text};
    int r = db_query(db, "select hirundo.partition_ensure(date '1970-01-01' + $1::integer)", 1,
                     values, NULL, e);
    return r == 0 ? map_put(d->days, &day, 1) : r;
}

static int resolve_days(struct dims *d, struct db *db, const struct batch *b, struct errmsg *e)
{
    int64_t last = INT64_MIN;
    for (uint32_t i = 0; i < b->n_flows + b->n_floods; i++) {
        int64_t ts = i < b->n_flows ? b->flows[i].ts_ms : b->floods[i - b->n_flows].ts_ms;
        int64_t day = ts / DAY_MS; // accepted times are not before 1970
        int r = day == last ? 0 : dims_day(d, db, day, e);
        if (r != 0)
            return r;
        last = day;
    }
    return 0;
}

int dims_resolve(struct dims *d, struct db *db, int16_t sensor_id, const struct batch *b,
                 const struct dims_ids *ids, struct errmsg *e)
{
    int r = resolve_days(d, db, b, e);
    if (r == 0)
        r = resolve_addresses(d, db, sensor_id, b, ids, e);
    if (r == 0)
        r = resolve_options(d, db, b, ids, e);
    return r;
}
