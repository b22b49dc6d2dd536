#include "frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calendar.h"

#define PCAP_MAGIC     0xa1b2c3d4u
#define DLT_ETHERNET   1
#define DLT_RAW_IP     101
#define DLT_SLL        113
#define DLT_SLL2       276
#define ETHERTYPE_VLAN 0x8100
#define ETHERNET_MIN   60
#define BUFFER_SIZE    (256 * 1024)

struct capture {
    FILE *file;
    enum link_kind link;
    uint16_t vlan;
};

static const uint8_t gateway_mac[6] = {0x00, 0x00, 0x5e, 0x00, 0x53, 0x01};
static const uint8_t sensor_mac[6] = {0x00, 0x00, 0x5e, 0x00, 0x53, 0x02};

static uint32_t link_type(enum link_kind link)
{
    switch (link) {
    case LINK_RAW:
        return DLT_RAW_IP;
    case LINK_SLL:
        return DLT_SLL;
    case LINK_SLL2:
        return DLT_SLL2;
    case LINK_ETHERNET:
    case LINK_VLAN:
        break;
    }
    return DLT_ETHERNET;
}

static void put_le32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(v >> (8 * i));
    }
}

static int write_all(FILE *file, const void *data, size_t len)
{
    if (fwrite(data, 1, len, file) != len) {
        return errno != 0 ? -errno : -EIO;
    }
    return 0;
}

int capture_new(const char *path, const struct sensor *sensor, struct capture **ret_capture)
{
    struct capture *capture = calloc(1, sizeof(*capture));
    uint8_t header[24] = {0};
    int r = 0;

    if (capture == NULL) {
        return -ENOMEM;
    }
    capture->link = sensor->link;
    capture->vlan = sensor->vlan;
    capture->file = fopen(path, "we");
    if (capture->file == NULL) {
        r = -errno;
        free(capture);
        return r;
    }
    (void)setvbuf(capture->file, NULL, _IOFBF, BUFFER_SIZE);
    put_le32(header, PCAP_MAGIC);
    put_le32(header + 4, 2 | 4 << 16); // version 2.4
    put_le32(header + 16, FRAME_SNAPLEN);
    put_le32(header + 20, link_type(sensor->link));
    r = write_all(capture->file, header, sizeof(header));
    if (r < 0) {
        (void)capture_close(capture);
        return r;
    }
    *ret_capture = capture;
    return 0;
}

static void put(uint8_t *frame, size_t *len, const void *data, size_t n)
{
    memcpy(frame + *len, data, n);
    *len += n;
}

static void put_be16(uint8_t *frame, size_t *len, uint16_t v)
{
    frame[(*len)++] = (uint8_t)(v >> 8);
    frame[(*len)++] = (uint8_t)v;
}

static void put_ethernet(uint8_t *frame, size_t *len, const struct capture *capture,
                         const struct packet *packet)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    put(frame, len, packet->broadcast ? broadcast : sensor_mac, 6);
    put(frame, len, gateway_mac, 6);
    if (capture->link == LINK_VLAN) {
        put_be16(frame, len, ETHERTYPE_VLAN);
        put_be16(frame, len, capture->vlan);
    }
    put_be16(frame, len, packet->ethertype);
}

static void put_sll(uint8_t *frame, size_t *len, const struct packet *packet)
{
    static const uint8_t padding[2] = {0};

    put_be16(frame, len, packet->broadcast ? 1 : 0); // packet type
    put_be16(frame, len, 1);                         // ARPHRD_ETHER
    put_be16(frame, len, 6);
    put(frame, len, gateway_mac, 6);
    put(frame, len, padding, 2);
    put_be16(frame, len, packet->ethertype);
}

static void put_sll2(uint8_t *frame, size_t *len, const struct packet *packet)
{
    static const uint8_t padding[2] = {0};

    put_be16(frame, len, packet->ethertype);
    put_be16(frame, len, 0);
    put_be16(frame, len, 0); // interface index 2
    put_be16(frame, len, 2);
    put_be16(frame, len, 1); // ARPHRD_ETHER
    frame[(*len)++] = packet->broadcast ? 1 : 0;
    frame[(*len)++] = 6;
    put(frame, len, gateway_mac, 6);
    put(frame, len, padding, 2);
}

int capture_write(struct capture *capture, uint64_t time_us, const struct packet *packet)
{
    uint8_t record[16 + 32 + PACKET_MAX] = {0};
    size_t len = 16;

    switch (capture->link) {
    case LINK_ETHERNET:
    case LINK_VLAN:
        put_ethernet(record, &len, capture, packet);
        break;
    case LINK_SLL:
        put_sll(record, &len, packet);
        break;
    case LINK_SLL2:
        put_sll2(record, &len, packet);
        break;
    case LINK_RAW:
        break;
    }
    put(record, &len, packet->data, packet->len);
    if ((capture->link == LINK_ETHERNET || capture->link == LINK_VLAN) && len < 16 + ETHERNET_MIN) {
        len = 16 + ETHERNET_MIN;
    }
    if (len - 16 > FRAME_SNAPLEN) {
        return -EMSGSIZE; // a frame of this scenario is always captured completely
    }
    put_le32(record, (uint32_t)(QUARTER_START_UTC + time_us / 1000000u));
    put_le32(record + 4, (uint32_t)(time_us % 1000000u));
    put_le32(record + 8, (uint32_t)(len - 16));
    put_le32(record + 12, (uint32_t)(len - 16));
    return write_all(capture->file, record, len);
}

int capture_close(struct capture *capture)
{
    int r = 0;

    if (fflush(capture->file) != 0) {
        r = -errno;
    }
    if (fclose(capture->file) != 0 && r == 0) {
        r = -errno;
    }
    free(capture);
    return r;
}
