#include "collector/guests.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define ADDRESS_MAX 64

struct guest {
    char address[ADDRESS_MAX]; // empty: no guest
    char name[KEYRING_NAME_MAX];
    int64_t at_ms;
};

struct guests {
    pthread_mutex_t lock;
    struct guest list[GUESTS_MAX];
    size_t next; // the place of the next one, which is that of the oldest
};

int guests_new(struct guests **ret)
{
    struct guests *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    pthread_mutex_init(&g->lock, NULL);
    *ret = g;
    return 0;
}

void guests_free(struct guests *g)
{
    if (!g)
        return;
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void guests_let_in(struct guests *g, const char *address, const char *name, int64_t now_ms)
{
    pthread_mutex_lock(&g->lock);
    struct guest *guest = &g->list[g->next++ % GUESTS_MAX];
    snprintf(guest->address, sizeof guest->address, "%s", address);
    snprintf(guest->name, sizeof guest->name, "%s", name);
    guest->at_ms = now_ms;
    pthread_mutex_unlock(&g->lock);
}

// The oldest from there, not from before since_ms, of this name unless it is NULL; NULL: none.
// Locked.
static struct guest *find(struct guests *g, const char *address, int64_t since_ms, const char *name)
{
    for (size_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &g->list[(g->next + i) % GUESTS_MAX];
        if (guest->address[0] && guest->at_ms >= since_ms &&
            strncmp(guest->address, address, ADDRESS_MAX - 1) == 0 &&
            (!name || strcmp(guest->name, name) == 0))
            return guest;
    }
    return NULL;
}

void guests_heard(struct guests *g, const char *address, const char *name)
{
    pthread_mutex_lock(&g->lock);
    struct guest *guest = find(g, address, INT64_MIN, name);
    if (guest)
        *guest = (struct guest){0};
    pthread_mutex_unlock(&g->lock);
}

bool guests_left(struct guests *g, const char *address, int64_t since_ms,
                 char ret_name[KEYRING_NAME_MAX])
{
    pthread_mutex_lock(&g->lock);
    struct guest *guest = find(g, address, since_ms - GUESTS_LATE, NULL);
    bool found = guest != NULL;
    if (found) {
        memcpy(ret_name, guest->name, KEYRING_NAME_MAX);
        *guest = (struct guest){0};
    }
    pthread_mutex_unlock(&g->lock);
    return found;
}
