// Time: packets, ticks of the two clocks, drops and captures in any order, live and replayed. Every
// frame and drop is in one record, what is sealed is what a collector takes, records stay in
// proportion to what happened, and no time is observed twice.
//
// The first byte is the mode and the window; then six bytes an event.
#include <string.h>

#include "common/wire.h"
#include "sensor/batch.h"
#include "sensor/coverage.h"
#include "tests/fuzz/batch_checks.h"
#include "tests/unit/rand_batch.h"

#define EVENTS_MAX 4000u
#define EVENT      6u

#define MODEL_WINDOWS (1u << 16)
#define MODEL_FILES   (COVERAGE_SPANS_MAX - 4)

// Which windows a replay covers, one by one; as long as there are no more spans of them than the
// sensor remembers, and all of them are within the model.
struct model {
    uint64_t covered[MODEL_WINDOWS / 64];
    uint32_t spans;
    bool beyond;
    bool open, in_file;
    int64_t start_ms, lo, hi; // the open window; the file's windows, inclusive
};

struct world {
    struct batcher *batcher;
    struct wire_encoder *encoder;
    struct wire_decoder *decoder;
    uint32_t window_ms;
    int64_t ts_ms, wall_ms, mono_ms;
    uint64_t frames, drops, ticks; // fed
    uint64_t records, covered_ms;  // sealed
    uint64_t sealed_frames, sealed_drops;
    struct model model;
};

static int on_sealed(void *ctx, const struct batch *batch, const struct counters *counters)
{
    struct world *w = ctx;
    const uint8_t *payload;
    size_t size;
    struct batch back;
    struct errmsg e = {""};
    HOLDS(batch->n_windows > 0);
    check_books(batch);
    HOLDS(wire_batch_encode(w->encoder, batch, &payload, &size) == 0);
    HOLDS(wire_batch_decode(w->decoder, payload, size, &back, &e) == 0);
    HOLDS(batch_difference(batch, &back) == NULL);
    for (uint32_t i = 0; i < batch->n_windows; i++) {
        const struct window_record *r = &batch->windows[i];
        w->records++;
        w->covered_ms += r->covered_ms;
        w->sealed_frames += r->frames;
        w->sealed_drops += r->kernel_dropped + r->interface_dropped;
        HOLDS((int64_t)r->windows * batch->window_ms <= CLOCK_LEAP_MS + WINDOW_MS_MAX ||
              r->covered_ms > 0);
    }
    HOLDS(counters->frames == w->sealed_frames);
    HOLDS(counters->kernel_dropped + counters->interface_dropped == w->sealed_drops);
    HOLDS(counters->frames ==
          counters->row_packets + counters->flood_packets + counters->non_ip + counters->malformed);
    return 0;
}

static void model_cover(struct model *m, int64_t from, int64_t to)
{
    if (from < 0 || to >= MODEL_WINDOWS) {
        m->beyond = true;
        return;
    }
    for (int64_t i = from; i <= to; i++)
        m->covered[i / 64] |= 1ULL << (i % 64);
}

static void model_packet(struct model *m, int64_t ts_ms, int64_t window_ms)
{
    int64_t late = m->start_ms - ts_ms, into = ts_ms - m->start_ms;
    if (m->open && ((into >= 0 && into < window_ms) || (late > 0 && late <= LATE_MS)))
        return;
    int64_t window = ts_ms / window_ms - (ts_ms % window_ms < 0);
    m->open = true;
    m->start_ms = window * window_ms;
    int64_t gap = m->in_file ? (window > m->hi   ? window - m->hi - 1
                                : window < m->lo ? m->lo - window - 1
                                                 : 0)
                             : 0;
    if (!m->in_file || gap * window_ms > CLOCK_LEAP_MS) {
        m->lo = m->hi = window;
        m->in_file = true;
        m->spans++;
    }
    m->lo = MIN(m->lo, window);
    m->hi = MAX(m->hi, window);
    model_cover(m, m->lo, m->hi);
}

static void packet(struct world *w, uint8_t how)
{
    struct packet p = {.key = {.version = 4, .ttl = how & 3, .proto = 6},
                       .has = HAS_TCP_WINDOW | HAS_IP_ID,
                       .ip_len = 40};
    const struct frame frame = {.ts_ms = MIN(MAX(w->ts_ms, FRAME_TS_MIN), FRAME_TS_MAX)};
    enum decode_result result = how & 4 ? DECODE_NON_IP : how & 8 ? DECODE_MALFORMED : DECODE_IP;
    p.key.src[3] = how >> 4;
    w->ts_ms = frame.ts_ms;
    model_packet(&w->model, frame.ts_ms, w->window_ms);
    HOLDS(batcher_packet(w->batcher, &frame, result, &p) == 0);
    w->frames++;
}

static void begin(struct world *w)
{
    w->model.open = w->model.in_file = false;
    HOLDS(batcher_begin(w->batcher, w->wall_ms, w->mono_ms) == 0);
}

static void tick(struct world *w, bool set, int64_t step, uint16_t ms)
{
    w->mono_ms += ms;
    w->wall_ms += ms + (set ? step : 0);
    w->wall_ms = MIN(MAX(w->wall_ms, FRAME_TS_MIN), FRAME_TS_MAX);
    w->ticks++;
    HOLDS(batcher_tick(w->batcher, w->wall_ms, w->mono_ms) == 0);
}

static void event(struct world *w, const uint8_t *d, bool live)
{
    static const int64_t scale[] = {1,         1000, 60000, 3600000, 86400000, 31LL * 86400000,
                                    1LL << 40, 37};
    static const int64_t times[] = {FRAME_TS_MIN,  FRAME_TS_MAX,  0,      -1, 946684800000,
                                    4294967296000, 1675814400000, 1 << 20};
    int64_t step = (int16_t)(d[2] | d[3] << 8) * scale[d[1] & 7];
    switch (d[0] & 7) {
    case 4:
        tick(w, d[1] & 8, step, (uint16_t)(d[4] | d[5] << 8));
        break;
    case 5:
        if (live) {
            batcher_drops(w->batcher, d[2], d[3]);
            w->drops += (uint64_t)d[2] + d[3];
        }
        break;
    case 6:
        HOLDS(batcher_end(w->batcher, w->wall_ms, w->mono_ms) == 0);
        begin(w);
        break;
    case 7:
        w->ts_ms = times[d[1] & 7];
        packet(w, d[4]);
        break;
    default:
        w->ts_ms += step;
        packet(w, d[4]);
    }
}

static void check_end(const struct world *w, bool live, uint64_t events)
{
    const struct model *m = &w->model;
    HOLDS(w->sealed_frames == w->frames && w->sealed_drops == w->drops);
    // a step can uncover as many gaps as there are covered spans
    HOLDS(w->records <= (live ? 4 : COVERAGE_SPANS_MAX + 3) * (events + 2));
    if (live) { // what the clocks passed, and what corrections and packets ahead of a tick allow
        HOLDS(w->covered_ms <= (uint64_t)w->mono_ms + 1000 * (w->ticks + 1) + 5000 * w->frames);
    } else if (!m->beyond && m->spans <= MODEL_FILES) {
        uint64_t windows = 0;
        for (uint32_t i = 0; i < MODEL_WINDOWS / 64; i++)
            windows += (uint64_t)__builtin_popcountll(m->covered[i]);
        HOLDS(w->covered_ms == windows * w->window_ms);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t lengths[] = {WINDOW_MS_MIN, WINDOW_MS_DEFAULT, WINDOW_MS_MAX, 5000};
    static struct wire_encoder *encoder;
    static struct wire_decoder *decoder;
    static struct world world;
    if (!encoder)
        HOLDS(wire_encoder_new(&encoder) == 0 && wire_decoder_new(&decoder) == 0);
    if (size == 0)
        return 0;
    struct world *w = &world;
    *w = (struct world){.encoder = encoder, .decoder = decoder, .wall_ms = 1675814400000};
    w->window_ms = lengths[data[0] >> 1 & 3];
    w->ts_ms = data[0] & 8 ? w->wall_ms : 7200000;
    bool live = data[0] & 1;
    const struct batcher_config config = {.window_ms = w->window_ms,
                                          .table_size = TABLE_SIZE_MIN,
                                          .max_delay_ms = MAX_DELAY_MS_DEFAULT,
                                          .mode = live ? BATCHER_LIVE : BATCHER_REPLAY};
    HOLDS(batcher_new(&config, on_sealed, w, &w->batcher) == 0);
    begin(w);
    uint64_t events = 0;
    for (size_t i = 1; i + EVENT <= size && events < EVENTS_MAX; i += EVENT, events++)
        event(w, data + i, live);
    HOLDS(batcher_end(w->batcher, w->wall_ms, w->mono_ms) == 0);
    HOLDS(batcher_flush(w->batcher) == 0);
    check_end(w, live, events);
    batcher_free(w->batcher);
    return 0;
}
