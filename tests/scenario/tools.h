// The programs that scanned in early 2023 and what their TCP packets look like.
#pragma once

#include "packet.h"
#include "rng.h"

enum scanner {
    SCANNER_MIRAI,       // sequence number = destination address (published source code, 2016)
    SCANNER_MASSCAN,     // ip.id = dst ^ dport ^ seq, 16 bits; window 1024, TTL 255
    SCANNER_ZMAP,        // ip.id 54321 (until 2024), window 65535, TTL 255
    SCANNER_WINDOW_5656, // bare SYN with that window
    SCANNER_LINUX,       // a program that calls connect()
    SCANNER_WINDOWS,
    SCANNER_BARE, // raw SYN without a tool's mark
};

// Which program sends to this TCP port: drawn from the port's mix of tools.
enum scanner scanner_draw(struct rng *rng, uint16_t port);

// The initial TTL of its packets.
uint8_t scanner_initial_ttl(enum scanner scanner);

// The SYN. dst is the destination address in host order, part counts repetitions.
void scanner_tcp(enum scanner scanner, struct rng *rng, uint32_t dst, uint16_t port, uint16_t part,
                 struct tcp_fields *ret_tcp, enum tool *ret_tool);
