#include "collector/keyring.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "collector/map.h"

struct entry {
    uint8_t key[KEY_SIZE];
    char text[KEY_Z85_SIZE]; // the same
    int16_t sensor_id;
    char name[KEYRING_NAME_MAX];
    enum keyring_state state;
    bool unused;     // the database knows of no first use
    atomic_bool new; // used since then: written under the read lock, too
};

#define KEY_TEXT       (KEY_Z85_SIZE - 1)
#define ENROLLED_WORDS ((INT16_MAX + 1) / 64)

struct keyring {
    pthread_rwlock_t lock;
    struct entry *entries;
    size_t n;
    size_t n_enrolled;
    struct map *by_key; // position in entries; by the text, which comes with each message
    _Atomic uint64_t enrolled[ENROLLED_WORDS]; // a bit for each sensor that has a key; no lock
    int64_t accept_from_ms;
    int64_t accept_ahead_ms;
};

int keyring_new(struct keyring **ret)
{
    struct keyring *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    if (map_new(KEY_TEXT, &k->by_key) < 0) {
        free(k);
        return -ENOMEM;
    }
    pthread_rwlock_init(&k->lock, NULL);
    *ret = k;
    return 0;
}

void keyring_free(struct keyring *k)
{
    if (!k)
        return;
    pthread_rwlock_destroy(&k->lock);
    map_free(k->by_key);
    free(k->entries);
    free(k);
}

static enum keyring_state state_of(char letter)
{
    return letter == 'r' ? KEYRING_REVOKED : letter == 'x' ? KEYRING_EXPIRED : KEYRING_ENROLLED;
}

static int read_entries(struct db *db, struct entry **ret, size_t *ret_n, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(
        db,
        "select encode(k.public_key, 'hex'), s.sensor_id, s.name, k.first_used_at is null, "
        "case when k.revoked_at is not null or s.revoked_at is not null then 'r' "
        // the bundle that brought the key; a newer bundle takes it in again
        "when k.first_used_at is null and k.replaces is null and b.with_key and b.expires_at < "
        "now() then 'x' else 'e' end from hirundo.sensor_key k join hirundo.sensor s using "
        "(sensor_id) left join (select sensor_id, max(expires_at) as expires_at, "
        "bool_or(with_key) as with_key from hirundo.bundle group by sensor_id) b using (sensor_id)",
        0, NULL, &result, e);
    if (r != 0)
        return r;
    int rows = PQntuples(result);
    struct entry *entries = calloc((size_t)rows + 1, sizeof *entries);
    if (!entries)
        return -ENOMEM;
    size_t n = 0;
    for (int i = 0; i < rows; i++) {
        if (key_parse(PQgetvalue(result, i, 0), entries[n].key) < 0)
            continue;
        key_format(entries[n].key, entries[n].text);
        entries[n].sensor_id = (int16_t)atoi(PQgetvalue(result, i, 1));
        snprintf(entries[n].name, sizeof entries[n].name, "%s", PQgetvalue(result, i, 2));
        entries[n].unused = *PQgetvalue(result, i, 3) == 't';
        entries[n].state = state_of(*PQgetvalue(result, i, 4));
        n++;
    }
    *ret = entries;
    *ret_n = n;
    return 0;
}

static int read_limits(struct db *db, int64_t *ret_from, int64_t *ret_ahead, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *result = NULL;
    // A day that has begun before the cutoff is kept to its end.
    int r = db_query(
        db,
        "select (extract(epoch from greatest(hirundo.setting('accept_from')::timestamp at time "
        "zone 'UTC', date_trunc('day', hirundo.retention_cutoff(), 'UTC'))) * 1000)::bigint, "
        "(extract(epoch from hirundo.setting('accept_ahead')::interval) * 1000)::bigint",
        0, NULL, &result, e);
    if (r != 0)
        return r;
    *ret_from = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    *ret_ahead = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    return 0;
}

static int index_entries(const struct entry *entries, size_t n, struct map **ret)
{
    _cleanup_(map_freep) struct map *index = NULL;
    int r = map_new(KEY_TEXT, &index);
    for (size_t i = 0; i < n && r == 0; i++)
        r = map_put(index, entries[i].text, (uint32_t)i);
    if (r < 0)
        return r;
    *ret = index;
    index = NULL;
    return 0;
}

static struct entry *find_text(struct entry *entries, const struct map *index, const char *text)
{
    const uint32_t *at = strlen(text) == KEY_TEXT ? map_get(index, text) : NULL;
    return at ? &entries[*at] : NULL;
}

static struct entry *find(struct entry *entries, const struct map *index,
                          const uint8_t key[KEY_SIZE])
{
    char text[KEY_Z85_SIZE];
    key_format(key, text);
    return find_text(entries, index, text);
}

// What was used in the meantime stays known.
static void carry_over(const struct keyring *k, struct entry *entries, const struct map *index)
{
    for (size_t i = 0; i < k->n; i++) {
        struct entry *same =
            atomic_load(&k->entries[i].new) ? find_text(entries, index, k->entries[i].text) : NULL;
        if (same && same->unused)
            atomic_store(&same->new, true);
    }
}

int keyring_refresh(struct keyring *k, struct db *db, struct errmsg *e)
{
    _cleanup_(freep) struct entry *entries = NULL;
    _cleanup_(map_freep) struct map *index = NULL;
    size_t n;
    int64_t from, ahead;
    int r = read_limits(db, &from, &ahead, e);
    if (r == 0)
        r = read_entries(db, &entries, &n, e);
    if (r == 0)
        r = index_entries(entries, n, &index);
    if (r != 0)
        return r;
    pthread_rwlock_wrlock(&k->lock);
    struct entry *old_entries = k->entries;
    struct map *old_index = k->by_key;
    carry_over(k, entries, index);
    k->entries = entries;
    k->by_key = index;
    entries = old_entries; // released at the end
    index = old_index;
    k->n = n;
    uint64_t enrolled[ENROLLED_WORDS] = {0};
    k->n_enrolled = 0;
    for (size_t i = 0; i < n; i++) {
        int16_t id = k->entries[i].sensor_id;
        if (id < 0 || k->entries[i].state != KEYRING_ENROLLED)
            continue;
        k->n_enrolled++;
        enrolled[id / 64] |= 1ull << (id % 64);
    }
    for (size_t i = 0; i < ENROLLED_WORDS; i++)
        atomic_store(&k->enrolled[i], enrolled[i]);
    k->accept_from_ms = from;
    k->accept_ahead_ms = ahead;
    pthread_rwlock_unlock(&k->lock);
    return 0;
}

enum keyring_state keyring_look(struct keyring *k, const char *key, int16_t *ret_sensor_id,
                                char ret_name[KEYRING_NAME_MAX])
{
    pthread_rwlock_rdlock(&k->lock);
    const struct entry *found = find_text(k->entries, k->by_key, key);
    enum keyring_state state = found ? found->state : KEYRING_UNKNOWN;
    if (found) {
        *ret_sensor_id = found->sensor_id;
        memcpy(ret_name, found->name, KEYRING_NAME_MAX);
    }
    pthread_rwlock_unlock(&k->lock);
    return state;
}

void keyring_note_used(struct keyring *k, const uint8_t key[KEY_SIZE])
{
    pthread_rwlock_rdlock(&k->lock);
    struct entry *found = find(k->entries, k->by_key, key);
    if (found && found->unused)
        atomic_store(&found->new, true);
    pthread_rwlock_unlock(&k->lock);
}

bool keyring_take_used(struct keyring *k, uint8_t ret_key[KEY_SIZE])
{
    bool taken = false;
    pthread_rwlock_rdlock(&k->lock);
    for (size_t i = 0; i < k->n && !taken; i++) {
        taken = atomic_exchange(&k->entries[i].new, false);
        if (taken)
            memcpy(ret_key, k->entries[i].key, KEY_SIZE);
    }
    pthread_rwlock_unlock(&k->lock);
    return taken;
}

bool keyring_has_sensor(struct keyring *k, int16_t sensor_id)
{
    return sensor_id >= 0 && atomic_load(&k->enrolled[sensor_id / 64]) >> (sensor_id % 64) & 1;
}

size_t keyring_count(struct keyring *k)
{
    pthread_rwlock_rdlock(&k->lock);
    size_t n = k->n_enrolled;
    pthread_rwlock_unlock(&k->lock);
    return n;
}

void keyring_limits(struct keyring *k, int64_t now_ms, struct validate_limits *ret)
{
    pthread_rwlock_rdlock(&k->lock);
    ret->accept_from_ms = k->accept_from_ms;
    ret->accept_until_ms = now_ms + k->accept_ahead_ms;
    pthread_rwlock_unlock(&k->lock);
}
