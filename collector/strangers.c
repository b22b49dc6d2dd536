#include "collector/strangers.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "collector/text.h"

#define ADDRESS_MAX 64
#define STR_(x)     #x
#define STR(x)      STR_(x)

struct stranger {
    uint8_t key[KEY_SIZE];
    char address[ADDRESS_MAX];
    int64_t first_ms, last_ms; // wall clock
    uint64_t unsaved;          // attempts that the database does not know
};

struct strangers {
    pthread_mutex_t lock;
    size_t n;
    struct stranger list[STRANGERS_MAX];
};

int strangers_new(struct strangers **ret)
{
    struct strangers *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    pthread_mutex_init(&s->lock, NULL);
    *ret = s;
    return 0;
}

void strangers_free(struct strangers *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

// The key's place: where it stands, a free one, or that of the one seen longest ago.
static struct stranger *place_of(struct strangers *s, const uint8_t key[KEY_SIZE])
{
    struct stranger *oldest = &s->list[0];
    for (size_t i = 0; i < s->n; i++) {
        if (memcmp(s->list[i].key, key, KEY_SIZE) == 0)
            return &s->list[i];
        if (s->list[i].last_ms < oldest->last_ms)
            oldest = &s->list[i];
    }
    struct stranger *place = s->n < STRANGERS_MAX ? &s->list[s->n++] : oldest;
    *place = (struct stranger){0};
    memcpy(place->key, key, KEY_SIZE);
    return place;
}

void strangers_note(struct strangers *s, const uint8_t key[KEY_SIZE], const char *address,
                    int64_t now_ms)
{
    pthread_mutex_lock(&s->lock);
    struct stranger *x = place_of(s, key);
    snprintf(x->address, sizeof x->address, "%s", address);
    if (x->first_ms == 0)
        x->first_ms = now_ms;
    x->last_ms = now_ms;
    x->unsaved++;
    pthread_mutex_unlock(&s->lock);
}

enum { KEYS, ADDRESSES, FIRSTS, LASTS, ATTEMPTS, ARRAYS };

static void add_hex(struct text *array, const uint8_t key[KEY_SIZE])
{
    char hex[2 * KEY_SIZE + 1];
    sodium_bin2hex(hex, sizeof hex, key, KEY_SIZE);
    text_array_word(array, hex);
}

// What is to be saved, as arrays; taken as saved.
static size_t collect(struct strangers *s, struct text arrays[ARRAYS],
                      uint64_t saved[STRANGERS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct stranger *x = &s->list[i];
        saved[i] = x->unsaved;
        if (x->unsaved == 0)
            continue;
        add_hex(&arrays[KEYS], x->key);
        text_array_word(&arrays[ADDRESSES], x->address);
        text_array_int(&arrays[FIRSTS], x->first_ms);
        text_array_int(&arrays[LASTS], x->last_ms);
        text_array_int(&arrays[ATTEMPTS], (int64_t)x->unsaved);
        x->unsaved = 0;
        n++;
    }
    for (size_t i = 0; i < ARRAYS; i++)
        text_array_end(&arrays[i]);
    return n;
}

static int write_rows(struct db *db, struct text arrays[ARRAYS], struct errmsg *e)
{
    const char *values[ARRAYS];
    for (size_t i = 0; i < ARRAYS; i++) {
        if (arrays[i].bad)
            return errmsg_set(e, -ENOMEM, "out of memory");
        values[i] = arrays[i].p;
    }
    int r = db_query(
        db,
        "insert into hirundo.unknown_key as u (public_key, address, first_at, last_at, attempts) "
        "select decode(k, 'hex'), a, to_timestamp(f / 1000.0), to_timestamp(l / 1000.0), n from "
        "unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) t (k, a, f, l, "
        "n) "
        "on conflict (public_key) do update set address = excluded.address, last_at = "
        "greatest(u.last_at, excluded.last_at), attempts = u.attempts + excluded.attempts",
        ARRAYS, values, NULL, e);
    if (r == 0)
        r = db_exec(db,
                    "delete from hirundo.unknown_key where public_key in (select public_key from "
                    "hirundo.unknown_key order by last_at desc offset " STR(STRANGERS_MAX) ")",
                    e);
    return r;
}

int strangers_save(struct strangers *s, struct db *db, struct errmsg *e)
{
    struct text arrays[ARRAYS] = {0};
    uint64_t saved[STRANGERS_MAX] = {0};
    pthread_mutex_lock(&s->lock);
    size_t n = collect(s, arrays, saved);
    pthread_mutex_unlock(&s->lock);
    int r = n > 0 ? write_rows(db, arrays, e) : 0;
    for (size_t i = 0; i < ARRAYS; i++)
        text_release(&arrays[i]);
    if (r == 0)
        return 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < STRANGERS_MAX; i++)
        s->list[i].unsaved +=
            saved[i]; // of another key, if its place was taken since: it matters little
    pthread_mutex_unlock(&s->lock);
    return r;
}
