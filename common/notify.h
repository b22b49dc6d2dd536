// What a program tells the service manager that started it: the protocol of sd_notify(3), one
// datagram a message to the socket that the environment names. Under none of them nothing happens.
#pragma once

#include "common/util.h"

struct notify {
    int fd;              // -1: nobody to tell
    int64_t watchdog_ms; // 0: no watchdog
    int64_t next_ms;     // the next sign of life
};

// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; opens the socket, so that later messages
// need neither a right nor a path. A socket that cannot be reached is as none: a service manager
// that waits for the message says so itself.
void notify_open(struct notify *ret);
void notify_close(struct notify *n);

// "READY=1\nSTATUS=text", "STOPPING=1", ...: as sd_notify(3) has them. Never waits.
void notify_send(const struct notify *n, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// A sign of life where a watchdog asks for one, twice in its time and no more often. The caller
// calls it whenever it has seen that its work goes on.
void notify_alive(struct notify *n, int64_t now_ms);
