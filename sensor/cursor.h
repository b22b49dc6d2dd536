// A bounded view of a frame that only moves forward. Internal to decode.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Two words, so that it is passed in registers.
struct cursor {
    const uint8_t *p;
    uint32_t left; // captured bytes from p on
    uint32_t cut;  // bytes that were on the wire behind them
};

// False, and nothing moved, when fewer than n bytes are left.
static inline bool cursor_skip(struct cursor *c, size_t n)
{
    if (c->left < n)
        return false;
    c->p += n;
    c->left -= (uint32_t)n;
    return true;
}

// Leaves at most n bytes; what is behind them is padding, not part of the packet.
static inline void cursor_limit(struct cursor *c, size_t n)
{
    if (c->left > n) {
        c->left = (uint32_t)n;
        c->cut = 0;
    }
}

static inline uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
