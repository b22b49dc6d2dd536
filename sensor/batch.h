// From frames to sealed batches: decode, windows, flow table, flood rows, accounting. No I/O and no
// clock of its own: the caller feeds frames and ticks, sealed batches come back through a callback.
//
// One thread. All memory is reserved by batcher_new and touched on use.
#pragma once

#include <stdint.h>

#include "common/flow.h"
#include "common/util.h"
#include "sensor/decode.h"
#include "sensor/frame.h"

#define TABLE_SIZE_MIN       1024
#define TABLE_SIZE_DEFAULT   65536
#define TABLE_SIZE_MAX       1048576
#define MAX_DELAY_MS_MIN     1000
#define MAX_DELAY_MS_DEFAULT 60000
#define MAX_DELAY_MS_MAX     3600000

// A step in packet time of more than this is a leap of the clock, not time that was observed.
#define CLOCK_LEAP_MS (31LL * 86400 * 1000)
// A packet that much older than the open window still counts in it.
#define LATE_MS 1000

enum batcher_mode {
    // A capture covers all windows from its first to its last packet; ticks never close a window.
    BATCHER_REPLAY,
    // A capture covers the wall time between batcher_begin and batcher_end; ticks close windows.
    BATCHER_LIVE,
};

// Order of the flows inside a window.
enum batcher_order {
    BATCHER_BY_SOURCE,  // IPv4 first, then by address; a source's flows in order of arrival
    BATCHER_BY_TIME,    // by first packet, then key
    BATCHER_COUNT_ONLY, // no flows at all in the batches; batcher_report counts them
};

struct source_set;

struct batcher_config {
    uint32_t window_ms;    // a divisor of 900,000
    uint32_t table_size;   // flows
    uint32_t max_delay_ms; // monotonic time from a batch's first record to its seal, at most
    enum batcher_mode mode;
    enum batcher_order order;
    struct source_set *sources; // gets every source address; borrowed; NULL: not wanted
};

// What happened that is worth a line in a log; cumulative.
struct batcher_report {
    uint64_t flows;            // in closed windows, flood rows not included
    uint64_t times_clamped;    // frames whose time could not be represented
    uint64_t clock_leaps;      // steps of more than CLOCK_LEAP_MS, either way
    uint64_t windows_reopened; // steps back of more than LATE_MS
    uint64_t late_frames;      // up to LATE_MS older than the open window, clamped to its start
    uint64_t flood_windows;    // windows with flood rows
    uint64_t table_rebuilds;   // times the flow table filled and the limit was halved
};

struct batcher;

// A sealed batch and the cumulative counters at that point; both borrowed for the call. Not 0: the
// batcher function that led here returns that value.
typedef int (*batcher_sealed_fn)(void *ctx, const struct batch *batch,
                                 const struct counters *counters);

// -EINVAL: a config value out of range; -ENOMEM.
int batcher_new(const struct batcher_config *config, batcher_sealed_fn sealed, void *ctx,
                struct batcher **ret);
void batcher_free(struct batcher *b);
DEFINE_CLEANUP(struct batcher *, batcher_free);

// A capture (a file, an interface) begins. Times: wall clock, ms since 1970; monotonic clock, ms.
// Replay ignores wall_ms.
int batcher_begin(struct batcher *b, int64_t wall_ms, int64_t mono_ms);
int batcher_frame(struct batcher *b, const struct decode_link *link, const struct frame *frame);
// The same for a frame that was decoded already; packet is looked at when decoded is DECODE_IP.
int batcher_packet(struct batcher *b, const struct frame *frame, enum decode_result decoded,
                   const struct packet *packet);
// Time passes: at least once a second in live mode; now and then (every few thousand frames) in
// replay, for max_delay.
int batcher_tick(struct batcher *b, int64_t wall_ms, int64_t mono_ms);
// Drops since the last call (not cumulative); they count in the open window, so before
// batcher_end.
void batcher_drops(struct batcher *b, uint64_t kernel, uint64_t interface);
// The capture ends: its open window closes. Nothing is observed until the next batcher_begin.
int batcher_end(struct batcher *b, int64_t wall_ms, int64_t mono_ms);
// Seals what is left, if anything.
int batcher_flush(struct batcher *b);

const struct counters *batcher_counters(const struct batcher *b);
const struct batcher_report *batcher_report(const struct batcher *b);
