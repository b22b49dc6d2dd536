// libzmq's calls among those that fail_alloc.h makes fail. Its functions return -1 or NULL and set
// errno, which here says that memory is short, whatever the call.
#include <zmq.h>

#include "tests/unit/fail_alloc.h"

#define WRAP(type, name, failure, parameters, arguments)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fail_alloc_now() ? (failure) : __real_##name arguments;                             \
    }

WRAP(void *, zmq_ctx_new, NULL, (void), ())
WRAP(void *, zmq_socket, NULL, (void *context, int type), (context, type))
WRAP(int, zmq_setsockopt, -1, (void *s, int option, const void *p, size_t n), (s, option, p, n))
WRAP(int, zmq_connect, -1, (void *s, const char *to), (s, to))
WRAP(int, zmq_socket_monitor, -1, (void *s, const char *to, int events), (s, to, events))
WRAP(int, zmq_msg_init_data, -1, (zmq_msg_t * m, void *p, size_t n, zmq_free_fn *done, void *hint),
     (m, p, n, done, hint))
WRAP(int, zmq_msg_init_size, -1, (zmq_msg_t * m, size_t n), (m, n))
WRAP(int, zmq_send, -1, (void *s, const void *p, size_t n, int flags), (s, p, n, flags))
WRAP(int, zmq_msg_send, -1, (zmq_msg_t * m, void *s, int flags), (m, s, flags))
WRAP(int, zmq_msg_recv, -1, (zmq_msg_t * m, void *s, int flags), (m, s, flags))
WRAP(int, zmq_poll, -1, (zmq_pollitem_t * items, int n, long ms), (items, n, ms))
