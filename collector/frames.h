// A message's frames go through a socket together: once the first is through, the others are tried
// until they are too, since half a message would take the beginning of the next for its end. Where
// the peer has gone libzmq itself takes back what went before, and says EAGAIN.
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>
#include <zmq.h>

// What passes by itself: a signal, want of memory.
static inline bool frames_may_try_again(void)
{
    if (errno == ENOMEM)
        usleep(1000);
    return errno == EINTR || errno == ENOMEM;
}

// 0, or -1 with errno.
static inline int frames_send_more(zmq_msg_t *m, void *socket, int flags)
{
    while (zmq_msg_send(m, socket, flags) < 0)
        if (!frames_may_try_again())
            return -1;
    return 0;
}

static inline int frames_receive_more(zmq_msg_t *m, void *socket)
{
    while (zmq_msg_recv(m, socket, 0) < 0)
        if (!frames_may_try_again())
            return -1;
    return 0;
}

static inline int frames_send_bytes(void *socket, const void *p, size_t n, int flags)
{
    while (zmq_send(socket, p, n, flags) < 0)
        if (!frames_may_try_again())
            return -1;
    return 0;
}

// zmq_poll, whose passing troubles are a time-out: a thread that ends for one serves nobody.
static inline int frames_poll(zmq_pollitem_t *items, int n, long timeout_ms)
{
    if (zmq_poll(items, n, timeout_ms) >= 0)
        return 0;
    if (!frames_may_try_again())
        return -1;
    for (int i = 0; i < n; i++)
        items[i].revents = 0;
    return 0;
}
