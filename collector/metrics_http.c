#include "collector/metrics_http.h"

#include <microhttpd.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#define CONTENT "text/plain; version=0.0.4; charset=utf-8"

struct metrics_http {
    struct MHD_Daemon *daemon;
    void (*render)(void *data, struct text *ret);
    void *data;
    // Open connections, the oldest first; of the daemon's thread.
    struct MHD_Connection *open[METRICS_CONNECTIONS];
    unsigned n_open;
};

static int resolve(const char *listen, struct addrinfo **ret, struct errmsg *e)
{
    char host[64];
    const char *colon = strrchr(listen, ':');
    size_t n = colon ? (size_t)(colon - listen) : 0;
    bool brackets = n > 2 && listen[0] == '[' && listen[n - 1] == ']';
    const struct addrinfo hints = {.ai_family = brackets ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    // getaddrinfo takes 65536 + n for n
    if (n > 0 && n < sizeof host && strlen(colon + 1) <= 5 &&
        strtol(colon + 1, NULL, 10) <= UINT16_MAX) {
        snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), listen + brackets);
        if (getaddrinfo(host, colon + 1, &hints, ret) == 0)
            return 0;
    }
    return errmsg_set(e, -EINVAL,
                      "[metrics] listen = %.60s: must be ADDRESS:PORT, numeric, IPv6 in brackets, "
                      "or off",
                      listen);
}

int metrics_listen_check(const char *listen, struct errmsg *e)
{
    struct addrinfo *found = NULL;
    int r = resolve(listen, &found, e);
    if (r == 0)
        freeaddrinfo(found);
    return r;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, char *text,
                              size_t size, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(size, text, mode);
    if (!response)
        return MHD_NO; // the connection is closed
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, CONTENT);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET");
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer_metrics(struct metrics_http *m, struct MHD_Connection *connection)
{
    struct text text = {0};
    m->render(m->data, &text);
    if (text.bad || !text.p) {
        text_release(&text);
        return MHD_NO;
    }
    return answer(connection, MHD_HTTP_OK, text.p, text.used, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    (void)upload_size;
    (void)state;
    char no_method[] = "only GET\n", no_page[] = "the page is /metrics\n";
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, no_method, sizeof no_method - 1,
                      MHD_RESPMEM_MUST_COPY);
    if (strcmp(url, "/metrics") != 0)
        return answer(connection, MHD_HTTP_NOT_FOUND, no_page, sizeof no_page - 1,
                      MHD_RESPMEM_MUST_COPY);
    return answer_metrics(data, connection);
}

// Where all places are taken the oldest connection ends: a scraper needs its own for a moment, and
// who sends a byte now and then must not keep others out.
static void on_connection(void *data, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)state;
    struct metrics_http *m = data;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        unsigned n = 0;
        for (unsigned i = 0; i < m->n_open; i++)
            if (m->open[i] != connection)
                m->open[n++] = m->open[i];
        m->n_open = n;
        return;
    }
    if (m->n_open == METRICS_CONNECTIONS) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(m->open[0], MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info)
            (void)shutdown(info->connect_fd, SHUT_RDWR);
        m->n_open--;
        memmove(m->open, m->open + 1, m->n_open * sizeof(struct MHD_Connection *));
    }
    m->open[m->n_open++] = connection;
}

int metrics_http_start(const char *listen, void (*render)(void *data, struct text *ret), void *data,
                       struct metrics_http **ret, struct errmsg *e)
{
    struct addrinfo *address = NULL;
    int r = resolve(listen, &address, e);
    if (r < 0 || !address)
        return r < 0 ? r : -EINVAL;
    struct metrics_http *m = calloc(1, sizeof *m);
    if (!m) {
        freeaddrinfo(address);
        return -ENOMEM;
    }
    m->render = render;
    m->data = data;
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD;
    if (address->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    errno = 0;
    m->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, m, MHD_OPTION_SOCK_ADDR, address->ai_addr,
        MHD_OPTION_CONNECTION_LIMIT, 2U * METRICS_CONNECTIONS, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, m, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)METRICS_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
    r = -errno;
    freeaddrinfo(address);
    if (!m->daemon) {
        free(m);
        return errmsg_set(e, r < 0 ? r : -EIO, "metrics cannot be served on %.60s: %s", listen,
                          r < 0 ? strerror(-r) : "libmicrohttpd does not say why");
    }
    *ret = m;
    return 0;
}

unsigned metrics_http_port(const struct metrics_http *m)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void metrics_http_stop(struct metrics_http *m)
{
    if (!m)
        return;
    MHD_stop_daemon(m->daemon);
    free(m);
}
