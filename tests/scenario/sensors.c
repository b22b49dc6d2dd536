#include "sensors.h"

#include "calendar.h"

#include <string.h>

// clang-format off
#define T(p) {PROTO_TCP, (p)}
#define U(p) {PROTO_UDP, (p)}
#define ICMP {PROTO_ICMP, 0}

static const struct sensor sensors[SENSOR_COUNT] = {
    {.code = "jp-1", .country = "JP",
     .label_en = "Domestic sensor 1", .label_ja = "国内センサー1",
     .link = LINK_ETHERNET, .rate = 860, .profile = 0,
     .top = {T(23), ICMP, T(22), U(123), T(6379), T(8090), T(80), T(8088), T(445), T(3389)}},
    {.code = "jp-2", .country = "JP",
     .label_en = "Domestic sensor 2", .label_ja = "国内センサー2",
     .link = LINK_VLAN, .vlan = 302, .rate = 870, .profile = 2,
     .top = {T(23), T(6379), ICMP, T(22), T(80), T(445), T(5555), T(3389), T(8080), T(443)}},
    {.code = "jp-3", .country = "JP",
     .label_en = "Domestic sensor 3", .label_ja = "国内センサー3",
     .link = LINK_ETHERNET, .rate = 865, .profile = 1,
     .top = {T(23), T(6379), T(22), T(80), T(81), T(5555), T(445), T(3389), T(8080), T(443)}},
    {.code = "au-1", .country = "AU",
     .label_en = "Overseas sensor 4", .label_ja = "海外センサー4",
     .link = LINK_SLL, .rate = 980, .profile = 0,
     .top = {T(23), T(6379), T(22), T(80), ICMP, T(445), T(443), T(8080), T(3389), T(5555)}},
    {.code = "bn-1", .country = "BN",
     .label_en = "Overseas sensor 5", .label_ja = "海外センサー5",
     .link = LINK_ETHERNET, .rate = 1010, .profile = 2,
     .top = {T(23), T(22), T(6379), T(445), T(80), ICMP, T(5555), T(8080), T(443), T(1433)}},
    {.code = "gh-1", .country = "GH",
     .label_en = "Overseas sensor 6", .label_ja = "海外センサー6",
     .link = LINK_ETHERNET, .rate = 960, .profile = 1,
     .top = {T(23), T(445), T(22), T(6379), T(80), T(5555), ICMP, T(3389), T(1433), T(81)}},
    {.code = "hk-1", .country = "HK",
     .label_en = "Overseas sensor 7", .label_ja = "海外センサー7",
     .link = LINK_SLL2, .rate = 1120, .profile = 0,
     .top = {T(23), T(6379), T(22), T(3389), T(80), T(443), ICMP, T(8080), T(1433), T(5555)}},
    {.code = "kr-1", .country = "KR",
     .label_en = "Overseas sensor 2", .label_ja = "海外センサー2",
     .link = LINK_ETHERNET, .rate = 1060, .profile = 1,
     .top = {T(23), T(6379), T(22), T(80), T(5555), ICMP, T(3389), T(443), T(1433), T(8080)}},
    {.code = "lk-1", .country = "LK",
     .label_en = "Overseas sensor 8", .label_ja = "海外センサー8",
     .link = LINK_ETHERNET, .rate = 970, .profile = 0,
     .outage_from = DAY_OF(2, 15), .outage_to = DAY_OF(2, 20),
     .top = {T(23), T(22), T(6379), T(80), T(445), ICMP, T(5555), T(3389), T(8080), U(5060)}},
    {.code = "ma-1", .country = "MA",
     .label_en = "Overseas sensor 1", .label_ja = "海外センサー1",
     .link = LINK_VLAN, .vlan = 17, .rate = 1150, .profile = 2,
     .top = {T(37215), T(23), T(22), T(52869), T(80), T(445), T(5555), U(5060), T(3389), ICMP}},
    {.code = "my-1", .country = "MY",
     .label_en = "Overseas sensor 9", .label_ja = "海外センサー9",
     .link = LINK_ETHERNET, .rate = 990, .profile = 1,
     .top = {T(23), T(6379), T(445), T(22), T(80), ICMP, T(8080), T(5555), T(3389), T(443)}},
    {.code = "tw-1", .country = "TW",
     .label_en = "Overseas sensor 3", .label_ja = "海外センサー3",
     .link = LINK_RAW, .rate = 1130, .profile = 0,
     .top = {T(23), T(445), T(6379), U(123), T(22), T(139), T(80), T(5555), T(3389), ICMP}},
    {.code = "tw-2", .country = "TW",
     .label_en = "Overseas sensor 10", .label_ja = "海外センサー10",
     .link = LINK_ETHERNET, .rate = 1035, .profile = 1,
     .top = {T(23), T(22), T(445), T(6379), T(80), T(81), ICMP, T(8080), T(5555), T(443)}},
};

#undef T
#undef U
#undef ICMP

// Home is widest around its middle; BN's median stays at 242 or below; MY leans to the far side.
static const struct region regions[REGION_COUNT] = {
    {"JP", 243, 249, {1, 2, 4, 5, 4, 2, 1}},
    {"AU", 234, 238, {1, 3, 4, 3, 1}},
    {"BN", 240, 243, {3, 4, 3, 1}},
    {"GH", 235, 239, {1, 3, 4, 2, 1}},
    {"HK", 235, 239, {1, 2, 4, 3, 1}},
    {"KR", 235, 236, {2, 3}},
    {"LK", 237, 241, {1, 3, 4, 3, 1}},
    {"MA", 230, 233, {1, 3, 3, 1}},
    {"MY", 244, 246, {7, 9, 4}},
    {"TW", 232, 242, {1, 1, 2, 3, 3, 4, 3, 3, 2, 1, 1}},
};
// clang-format on

const struct sensor *sensor_at(int i)
{
    return &sensors[i];
}

const struct region *region_at(int i)
{
    return &regions[i];
}

int sensor_region(int i)
{
    int r = 0;

    while (r < REGION_COUNT - 1 && strcmp(regions[r].country, sensors[i].country) != 0) {
        r++;
    }
    return r;
}

uint32_t sensor_addr4(int i)
{
    return 0xc6120000u | (uint32_t)(16 + i) << 8 | (uint32_t)(10 + 7 * i); // 198.18.(16+i).x
}

uint64_t sensor_addr6_high(int i)
{
    return 0x20010db8ff000000u | (uint64_t)(i + 1); // 2001:db8:ff00:(i+1)::
}

uint32_t sensor_share(const struct sensor *sensor, int k)
{
    // Neighbours differ by at least a ninth, and the tenth place leaves room beneath it for the
    // hosting company and the controls even at the smallest size.
    static const uint16_t shares[3][TOP_PORTS] = {
        {150, 128, 109, 93, 79, 68, 58, 50, 43, 36},
        {210, 130, 105, 88, 74, 63, 54, 47, 41, 36},
        {165, 140, 112, 90, 76, 65, 56, 49, 42, 36},
    };

    return shares[sensor->profile][k];
}
