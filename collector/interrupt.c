#include "collector/interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

struct interrupt {
    PGcancel *cancel;
    pthread_t thread;
    int signals, end; // descriptors
    atomic_bool came;
    sigset_t before;
};

static void *wait_for_signals(void *data)
{
    struct interrupt *i = data;
    struct signalfd_siginfo info;
    char error[256];
    for (;;) {
        struct pollfd fds[] = {{.fd = i->signals, .events = POLLIN},
                               {.fd = i->end, .events = POLLIN}};
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            return NULL;
        if (fds[0].revents && read(i->signals, &info, sizeof info) == sizeof info) {
            i->came = true;
            (void)PQcancel(i->cancel, error, sizeof error);
        }
    }
}

int interrupt_new(const struct db *db, struct interrupt **ret, struct errmsg *e)
{
    sigset_t mask;
    struct interrupt *i = calloc(1, sizeof *i);
    if (!i)
        return errmsg_set(e, -ENOMEM, "out of memory");
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGHUP);
    i->cancel = db_cancel_new(db);
    i->signals = signalfd(-1, &mask, SFD_CLOEXEC);
    i->end = i->signals < 0 ? -1 : eventfd(0, EFD_CLOEXEC);
    int r = i->end < 0 ? -errno : i->cancel ? 0 : -ENOMEM;
    pthread_sigmask(SIG_BLOCK, &mask, &i->before);
    if (r == 0)
        r = -pthread_create(&i->thread, NULL, wait_for_signals, i);
    if (r == 0) {
        *ret = i;
        return 0;
    }
    errmsg_set(e, r, "no thread can be started: %s", strerror(-r));
    pthread_sigmask(SIG_SETMASK, &i->before, NULL);
    closep(&i->signals);
    closep(&i->end);
    PQfreeCancel(i->cancel);
    free(i);
    return r;
}

void interrupt_free(struct interrupt *i)
{
    if (!i)
        return;
    (void)eventfd_write(i->end, 1);
    pthread_join(i->thread, NULL);
    close(i->signals);
    close(i->end);
    PQfreeCancel(i->cancel);
    pthread_sigmask(SIG_SETMASK, &i->before, NULL);
    free(i);
}

int interrupt_check(const struct interrupt *i, struct errmsg *e)
{
    return i->came ? errmsg_set(e, -EINTR, "interrupted: nothing was written") : 0;
}
