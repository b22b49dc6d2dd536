// Decode, every link type: the first two bytes choose it, the next how much longer the frame was on
// the wire; the rest is the frame.
#include <string.h>

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
    return 0;
}
