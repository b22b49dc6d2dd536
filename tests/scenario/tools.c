#include "tools.h"

#include <stddef.h>

// Percent by tool, in the order of enum scanner.
struct tool_mix {
    uint16_t port;
    uint8_t percent[SCANNER_BARE + 1];
};

static const struct tool_mix mixes[] = {
    // port, Mirai, masscan, ZMap, 5656, Linux, Windows, bare
    {22, {4, 14, 14, 6, 50, 0, 12}},    {23, {70, 6, 3, 0, 8, 0, 13}},
    {2323, {72, 4, 2, 0, 8, 0, 14}},    {37215, {84, 4, 0, 0, 4, 0, 8}},
    {52869, {82, 4, 0, 0, 4, 0, 10}},   {5555, {48, 14, 6, 0, 20, 0, 12}},
    {81, {44, 18, 8, 0, 14, 0, 16}},    {80, {16, 22, 26, 0, 18, 2, 16}},
    {443, {2, 24, 38, 0, 18, 2, 16}},   {8080, {22, 24, 20, 0, 16, 2, 16}},
    {60023, {70, 6, 2, 0, 8, 0, 14}},   {445, {0, 6, 4, 0, 2, 80, 8}},
    {139, {0, 6, 4, 0, 2, 76, 12}},     {1433, {0, 30, 6, 0, 4, 44, 16}},
    {3389, {0, 34, 14, 4, 10, 18, 20}}, {6379, {0, 44, 12, 2, 30, 0, 12}},
    {8088, {0, 46, 10, 0, 30, 0, 14}},  {8090, {0, 40, 16, 0, 28, 0, 16}},
    {5900, {0, 30, 16, 4, 20, 10, 20}},
};

static const struct tool_mix other_mix = {0, {2, 34, 28, 1, 15, 2, 18}};

static const struct tool_mix *mix_of(uint16_t port)
{
    for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++) {
        if (mixes[i].port == port) {
            return &mixes[i];
        }
    }
    return &other_mix;
}

enum scanner scanner_draw(struct rng *rng, uint16_t port)
{
    const struct tool_mix *mix = mix_of(port);
    uint32_t n = rng_below(rng, 100);
    int i = 0;

    while (i < SCANNER_BARE && n >= mix->percent[i]) {
        n -= mix->percent[i];
        i++;
    }
    return (enum scanner)i;
}

uint8_t scanner_initial_ttl(enum scanner scanner)
{
    switch (scanner) {
    case SCANNER_MASSCAN:
    case SCANNER_ZMAP:
    case SCANNER_BARE:
        return 255;
    case SCANNER_WINDOWS:
        return 128;
    case SCANNER_MIRAI:
    case SCANNER_WINDOW_5656:
    case SCANNER_LINUX:
        break;
    }
    return 64;
}

static uint16_t ephemeral_port(struct rng *rng)
{
    return (uint16_t)(32768 + rng_below(rng, 28232));
}

void scanner_tcp(enum scanner scanner, struct rng *rng, uint32_t dst, uint16_t port, uint16_t part,
                 struct tcp_fields *ret_tcp, enum tool *ret_tool)
{
    uint32_t random = (uint32_t)rng_next(rng);
    struct tcp_fields tcp = {
        .src_port = ephemeral_port(rng),
        .dst_port = port,
        .seq = (uint32_t)rng_next(rng),
        .flags = TCP_SYN,
        .ip_id = (uint16_t)random,
    };
    enum tool tool = TOOL_NONE;

    switch (scanner) {
    case SCANNER_MIRAI:
        tool = TOOL_MIRAI;
        tcp.seq = dst;
        tcp.window = (uint16_t)(1024 + (random >> 16) % 60000);
        break;
    case SCANNER_MASSCAN:
        tool = TOOL_MASSCAN;
        tcp.window = 1024;
        tcp.ip_id = (uint16_t)(dst ^ port ^ tcp.seq);
        break;
    case SCANNER_ZMAP:
        tool = TOOL_ZMAP;
        tcp.window = 65535;
        tcp.ip_id = 54321;
        break;
    case SCANNER_WINDOW_5656:
        tool = TOOL_WINDOW_5656;
        tcp.window = 5656;
        break;
    case SCANNER_LINUX:
        tcp.window = random % 3 == 0 ? 29200 : 64240;
        tcp.options = OPTIONS_LINUX;
        tcp.timestamp = (uint32_t)rng_next(rng);
        tcp.dont_fragment = true;
        tcp.ip_id = (uint16_t)(tcp.ip_id + part);
        break;
    case SCANNER_WINDOWS:
        tcp.window = random % 3 == 0 ? 8192 : 64240;
        tcp.options = OPTIONS_WINDOWS;
        tcp.dont_fragment = true;
        tcp.ip_id = (uint16_t)(tcp.ip_id + part);
        break;
    case SCANNER_BARE:
        tcp.window = random % 4 == 0 ? 14600 : 65535;
        tcp.options = random % 5 == 0 ? OPTIONS_MSS : OPTIONS_NONE;
        break;
    }
    *ret_tcp = tcp;
    *ret_tool = tool;
}
