// Headers, losses, window records, heartbeats and replies: the first byte says which. What decodes
// must encode, and decode again to what encodes to the same bytes.
#include <string.h>

#include "common/util.h"
#include "common/wire.h"
#include "tests/fuzz/fuzz.h"

static void check_records(const struct window_record *records, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct window_record *w = &records[i];
        HOLDS(w->frames == w->row_packets + w->flood_packets + w->non_ip + w->malformed);
        HOLDS(w->windows > 0);
    }
}

static int header(const uint8_t *data, size_t size, uint8_t **ret, size_t *ret_size)
{
    struct errmsg e = {""};
    struct wire_header h;
    int r = wire_header_decode(data, size, &h, &e);
    if (r != 0)
        return r;
    *ret = calloc(1, WIRE_HEADER_MAX);
    HOLDS(*ret && wire_header_encode(&h, *ret, ret_size) == 0 && *ret_size <= WIRE_HEADER_MAX);
    return 0;
}

static int heartbeat(const uint8_t *data, size_t size, uint8_t **ret, size_t *ret_size)
{
    struct errmsg e = {""};
    struct wire_heartbeat h;
    int r = wire_heartbeat_decode(data, size, &h, &e);
    if (r != 0)
        return r;
    *ret = calloc(1, WIRE_HEADER_MAX);
    HOLDS(*ret && wire_heartbeat_encode(&h, *ret, ret_size) == 0 && *ret_size <= WIRE_HEADER_MAX);
    return 0;
}

static int reply(const uint8_t *data, size_t size, uint8_t **ret, size_t *ret_size)
{
    struct errmsg e = {""};
    struct wire_reply reply;
    int r = wire_reply_decode(data, size, &reply, &e);
    if (r != 0)
        return r;
    *ret = calloc(1, WIRE_REPLY_MAX);
    HOLDS(*ret && wire_reply_encode(&reply, *ret, ret_size) == 0 && *ret_size <= WIRE_REPLY_MAX);
    return 0;
}

static int loss(const uint8_t *data, size_t size, uint8_t **ret, size_t *ret_size)
{
    struct errmsg e = {""};
    struct loss_item *items;
    size_t n;
    int r = wire_loss_decode(data, size, &items, &n, &e);
    if (r != 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        HOLDS(items[i].seq_first <= items[i].seq_last);
        HOLDS(i == 0 || items[i].seq_first == items[i - 1].seq_last + 1);
        HOLDS(!items[i].unknown || items[i].n_records == 0);
        check_records(items[i].records, items[i].n_records);
    }
    HOLDS(wire_loss_encode(items, n, ret, ret_size) == 0);
    free(items);
    return 0;
}

static int records(const uint8_t *data, size_t size, uint8_t **ret, size_t *ret_size)
{
    struct errmsg e = {""};
    struct window_record *list;
    size_t n;
    int r = wire_records_decode(data, size, &list, &n, &e);
    if (r != 0)
        return r;
    check_records(list, n);
    HOLDS(wire_records_encode(list, n, ret, ret_size) == 0);
    free(list);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const kinds[])(const uint8_t *, size_t, uint8_t **,
                                size_t *) = {header, heartbeat, reply, loss, records};
    uint8_t *once = NULL, *twice = NULL;
    size_t once_size, twice_size;
    if (size == 0 || data[0] >= ARRAY_SIZE(kinds))
        return 0;
    if (kinds[data[0]](data + 1, size - 1, &once, &once_size) != 0)
        return 0;
    HOLDS(kinds[data[0]](once, once_size, &twice, &twice_size) == 0);
    HOLDS(once_size == twice_size && memcmp(once, twice, once_size) == 0);
    free(once);
    free(twice);
    return 0;
}
