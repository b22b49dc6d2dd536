// What scanners put into UDP packets, by destination port. All are complete messages.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct payload {
    const void *data;
    size_t len;
};

// Empty where the probe of that port carries nothing.
struct payload udp_payload(uint16_t port);

// A resolver's answer: one question, one address from 198.18.0.0/15.
struct payload dns_answer(void);
