// planted_race locked|raced: two threads and a counter, for the suite "tsan": it must find the
// race, and nothing where a mutex guards.
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS 1000

struct shared {
    pthread_mutex_t mutex;
    int counter;
    int locked; // whether the mutex is taken
};

static void count(struct shared *s)
{
    if (s->locked)
        pthread_mutex_lock(&s->mutex);
    s->counter++;
    if (s->locked)
        pthread_mutex_unlock(&s->mutex);
}

static void *count_many(void *data)
{
    for (int i = 0; i < ROUNDS; i++)
        count(data);
    return NULL;
}

int main(int argc, char *argv[])
{
    struct shared s = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    s.locked = argc == 2 && strcmp(argv[1], "locked") == 0;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, count_many, &s) != 0)
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("%d\n", s.counter);
    return 0;
}
