// What holds of every batch, sealed or decoded: its records' books balance, with the rows in it.
#pragma once

#include "common/flow.h"
#include "tests/fuzz/fuzz.h"

static inline void check_books(const struct batch *b)
{
    uint32_t flow = 0, flood = 0;
    for (uint32_t i = 0; i < b->n_windows; i++) {
        const struct window_record *w = &b->windows[i];
        int64_t end_ms = w->start_ms + (int64_t)w->windows * b->window_ms;
        uint64_t rows = 0, floods = 0;
        for (; flow < b->n_flows && b->flows[flow].ts_ms < end_ms; flow++) {
            HOLDS(b->flows[flow].ts_ms >= w->start_ms);
            rows += b->flows[flow].packets;
        }
        for (; flood < b->n_floods && b->floods[flood].ts_ms < end_ms; flood++) {
            HOLDS(b->floods[flood].ts_ms >= w->start_ms);
            floods += b->floods[flood].packets;
        }
        HOLDS(w->windows >= 1 && w->covered_ms <= (uint64_t)w->windows * b->window_ms);
        HOLDS(w->row_packets == rows && w->flood_packets == floods);
        HOLDS(w->frames == rows + floods + w->non_ip + w->malformed);
        HOLDS(w->windows == 1 || w->frames == 0);
        HOLDS(i == 0 || w->start_ms >= b->windows[i - 1].start_ms +
                                           (int64_t)b->windows[i - 1].windows * b->window_ms);
    }
    HOLDS(flow == b->n_flows && flood == b->n_floods);
}
