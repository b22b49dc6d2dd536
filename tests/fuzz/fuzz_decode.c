// Decode, every link type: the first two bytes choose it, the next how much longer the frame was on
// the wire; the rest is the frame. It is then counted: in one place, whatever it is.
#include <string.h>

#include "sensor/batch.h"
#include "sensor/decode.h"
#include "tests/fuzz/fuzz.h"

static void check_packet(const struct packet *p, const uint8_t *data, size_t size)
{
    const struct flow_key *key = &p->key;
    struct tcp_options options;
    HOLDS(key->version == 4 || key->version == 6);
    HOLDS((key->marks & ~MARK_ALL) == 0 && (p->has & ~HAS_ALL) == 0);
    HOLDS(key->has_port == ((p->has & HAS_PORT) != 0));
    HOLDS(key->has_port || (key->port == 0 && key->tcp_flags == 0 && p->src_port == 0));
    HOLDS(!key->has_port || key->proto == 6 || key->proto == 17 ||
          key->proto == (key->version == 4 ? 1 : 58));
    HOLDS(key->proto == 6 || (key->tcp_flags == 0 && !(p->has & HAS_TCP_WINDOW)));
    HOLDS(!(p->has & HAS_IP_ID) == (key->version == 6));
    HOLDS(p->ip_len <= INT32_MAX);
    HOLDS(p->options_len <= 40);
    HOLDS(p->options_len == 0 ||
          (p->options >= data && p->options + p->options_len <= data + size));
    tcp_options_parse(p->options, p->options_len, &options);
    HOLDS(options.n <= OPT_KINDS_MAX && options.n <= p->options_len);
}

struct sealed {
    uint64_t frames, non_ip, malformed, packets;
};

static int on_sealed(void *ctx, const struct batch *batch, const struct counters *counters)
{
    struct sealed *sealed = ctx;
    (void)counters;
    HOLDS(batch->n_windows == 1 && batch->n_floods == 0);
    const struct window_record *w = &batch->windows[0];
    sealed->frames += w->frames;
    sealed->non_ip += w->non_ip;
    sealed->malformed += w->malformed;
    for (uint32_t i = 0; i < batch->n_flows; i++)
        sealed->packets += batch->flows[i].packets;
    return 0;
}

// The whole of a sensor's books for this one frame.
static void check_account(const struct decode_link *link, const struct frame *frame,
                          enum decode_result result)
{
    static struct batcher *batcher;
    static struct sealed sealed;
    const struct batcher_config config = {.window_ms = WINDOW_MS_DEFAULT,
                                          .table_size = TABLE_SIZE_MIN,
                                          .max_delay_ms = MAX_DELAY_MS_DEFAULT};
    if (!batcher)
        HOLDS(batcher_new(&config, on_sealed, &sealed, &batcher) == 0);
    sealed = (struct sealed){0};
    HOLDS(batcher_begin(batcher, 0, 0) == 0);
    HOLDS(batcher_frame(batcher, link, frame) == 0);
    HOLDS(batcher_end(batcher, 0, 0) == 0 && batcher_flush(batcher) == 0);
    HOLDS(sealed.frames == 1);
    HOLDS(sealed.packets == (result == DECODE_IP) && sealed.non_ip == (result == DECODE_NON_IP) &&
          sealed.malformed == (result == DECODE_MALFORMED));
    const struct counters *c = batcher_counters(batcher);
    HOLDS(c->frames == c->row_packets + c->flood_packets + c->non_ip + c->malformed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    const struct decode_link *link = decode_link_find(data[0] << 8 | data[1]);
    const struct frame frame = {.data = data + 3,
                                .caplen = (uint32_t)(size - 3),
                                .wirelen = (uint32_t)(size - 3) + data[2] * 997u};
    struct packet packet;
    if (!link)
        return 0;
    enum decode_result result = decode_frame(link, &frame, &packet);
    HOLDS(result == DECODE_IP || result == DECODE_NON_IP || result == DECODE_MALFORMED);
    if (result == DECODE_IP)
        check_packet(&packet, frame.data, frame.caplen);
    check_account(link, &frame, result);
    return 0;
}
