// Answers GET /metrics, with libmicrohttpd: a thread of its own, a few connections at a time, each
// with a deadline. Nothing else is answered, nothing is read from a client but its request line.
#pragma once

#include "collector/text.h"

#define METRICS_CONNECTIONS 8
#define METRICS_TIMEOUT_S   5

struct metrics_http;
// listen: ADDRESS:PORT, numeric, IPv6 in brackets; port 0 takes a free one. render fills a text, in
// the server's thread, and must be able to run at any time until metrics_http_stop.
int metrics_http_start(const char *listen, void (*render)(void *data, struct text *ret), void *data,
                       struct metrics_http **ret, struct errmsg *e);
unsigned metrics_http_port(const struct metrics_http *m);
void metrics_http_stop(struct metrics_http *m); // NULL is nothing

// Whether listen can be read as an address: 0 or -EINVAL.
int metrics_listen_check(const char *listen, struct errmsg *e);
