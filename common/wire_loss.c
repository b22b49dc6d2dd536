// Declared losses and lists of window records.
#include <string.h>

#include "common/wire_bound.h"
#include "common/wire_internal.h"

// Heap that unpacking one loss message may take: pointers and structs of its records, with room to
// spare.
#define UNPACK_MAX (WIRE_RECORDS_MAX * 256u + WIRE_LOSS_ITEMS_MAX * 1024u)

static const uint8_t no_digest[WIRE_SHA256_SIZE];

static void record_to_proto(const struct window_record *record, Hirundo__V1__WindowRecord *m)
{
    hirundo__v1__window_record__init(m);
    m->start = record->start_ms;
    m->windows = record->windows;
    m->covered_ms = record->covered_ms;
    m->frames = record->frames;
    m->non_ip = record->non_ip;
    m->malformed = record->malformed;
    m->row_packets = record->row_packets;
    m->flood_packets = record->flood_packets;
    m->kernel_dropped = record->kernel_dropped;
    m->interface_dropped = record->interface_dropped;
}

static struct window_record record_from_proto(const Hirundo__V1__WindowRecord *m)
{
    return (struct window_record){
        .start_ms = m->start,
        .windows = m->windows,
        .covered_ms = m->covered_ms,
        .frames = m->frames,
        .non_ip = m->non_ip,
        .malformed = m->malformed,
        .row_packets = m->row_packets,
        .flood_packets = m->flood_packets,
        .kernel_dropped = m->kernel_dropped,
        .interface_dropped = m->interface_dropped,
    };
}

// Proto shapes of n items with their records, in one block.
struct loss_shapes {
    Hirundo__V1__Loss loss;
    Hirundo__V1__Loss__Item **item_list;
    Hirundo__V1__Loss__Item *items;
    Hirundo__V1__WindowRecord **record_list;
    Hirundo__V1__WindowRecord *records;
};

static void shapes_clear(struct loss_shapes *s)
{
    free(s->item_list);
    free(s->items);
    free(s->record_list);
    free(s->records);
}

static int shapes_fill(struct loss_shapes *s, const struct loss_item *items, size_t n,
                       size_t n_records)
{
    s->item_list = calloc(n + 1, sizeof *s->item_list);
    s->items = calloc(n + 1, sizeof *s->items);
    s->record_list = calloc(n_records + 1, sizeof *s->record_list);
    s->records = calloc(n_records + 1, sizeof *s->records);
    if (!s->item_list || !s->items || !s->record_list || !s->records)
        return -ENOMEM;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        Hirundo__V1__Loss__Item *m = s->item_list[i] = &s->items[i];
        hirundo__v1__loss__item__init(m);
        m->seq_first = items[i].seq_first;
        m->seq_last = items[i].seq_last;
        m->unknown = items[i].unknown;
        m->first = items[i].first_ms;
        m->last = items[i].last_ms;
        m->reason = (char *)items[i].reason;
        if (memcmp(items[i].sha256, no_digest, sizeof no_digest) != 0)
            m->sha256 = (ProtobufCBinaryData){sizeof items[i].sha256, (uint8_t *)items[i].sha256};
        m->n_records = items[i].n_records;
        m->records = &s->record_list[at];
        for (size_t k = 0; k < items[i].n_records; k++, at++) {
            s->record_list[at] = &s->records[at];
            record_to_proto(&items[i].records[k], &s->records[at]);
        }
    }
    hirundo__v1__loss__init(&s->loss);
    s->loss.n_items = n;
    s->loss.items = s->item_list;
    return 0;
}

static int pack_new(const ProtobufCMessage *m, uint8_t **ret, size_t *ret_size)
{
    size_t need = protobuf_c_message_get_packed_size(m);
    if (need > BATCH_PAYLOAD_MAX)
        return -E2BIG;
    uint8_t *p = malloc(need + 1);
    if (!p)
        return -ENOMEM;
    *ret_size = protobuf_c_message_pack(m, p);
    *ret = p;
    return 0;
}

int wire_loss_encode(const struct loss_item *items, size_t n, uint8_t **ret_payload,
                     size_t *ret_size)
{
    size_t n_records = 0;
    for (size_t i = 0; i < n; i++)
        n_records += items[i].n_records;
    if (n == 0)
        return -EINVAL;
    if (n > WIRE_LOSS_ITEMS_MAX || n_records > WIRE_RECORDS_MAX)
        return -E2BIG;
    struct loss_shapes shapes = {0};
    int r = shapes_fill(&shapes, items, n, n_records);
    if (r == 0)
        r = pack_new(&shapes.loss.base, ret_payload, ret_size);
    shapes_clear(&shapes);
    return r;
}

// Times that could not be added to without overflow are nobody's clock.
static bool sane_time(int64_t ms)
{
    return ms > INT64_MIN / 4 && ms < INT64_MAX / 4;
}

int wire_record_check(const struct window_record *record, struct errmsg *e)
{
    const uint64_t most = UINT64_MAX / 16; // sums of a few stay within 64 bits
    bool counts_small = record->frames < most && record->non_ip < most &&
                        record->malformed < most && record->row_packets < most &&
                        record->flood_packets < most && record->kernel_dropped < most &&
                        record->interface_dropped < most;
    if (!counts_small || !sane_time(record->start_ms) || record->windows == 0)
        return errmsg_set(e, WIRE_REFUSED, "window record out of range");
    if (record->frames !=
        record->non_ip + record->malformed + record->row_packets + record->flood_packets)
        return errmsg_set(e, WIRE_REFUSED, "window record whose frames do not add up");
    if (record->windows > 1 && record->frames != 0)
        return errmsg_set(e, WIRE_REFUSED, "frames in a run of %u windows", record->windows);
    if (record->covered_ms > (uint64_t)record->windows * WINDOW_MS_MAX)
        return errmsg_set(e, WIRE_REFUSED, "%u ms observed in %u windows", record->covered_ms,
                          record->windows);
    return 0;
}

static int item_from_proto(const Hirundo__V1__Loss__Item *m, uint64_t expected,
                           struct window_record *records, struct loss_item *ret, struct errmsg *e)
{
    *ret = (struct loss_item){
        .seq_first = m->seq_first,
        .seq_last = m->seq_last,
        .unknown = m->unknown,
        .first_ms = m->first,
        .last_ms = m->last,
        .n_records = (uint32_t)m->n_records,
        .records = m->n_records ? records : NULL,
    };
    if (m->seq_first == 0 || m->seq_last < m->seq_first || m->seq_last >= INT64_MAX ||
        (expected && m->seq_first != expected))
        return errmsg_set(e, WIRE_REFUSED, "loss of numbers that do not follow one another");
    if (!sane_time(m->first) || !sane_time(m->last) || m->last < m->first ||
        (m->unknown && m->n_records))
        return errmsg_set(e, WIRE_REFUSED, "loss with an interval that is none");
    if (m->sha256.len != 0 && m->sha256.len != sizeof ret->sha256)
        return errmsg_set(e, WIRE_REFUSED, "loss with a digest of %zu bytes", m->sha256.len);
    if (m->sha256.len != 0)
        memcpy(ret->sha256, m->sha256.data, sizeof ret->sha256);
    for (size_t i = 0; i < m->n_records; i++) {
        records[i] = record_from_proto(m->records[i]);
        int r = wire_record_check(&records[i], e);
        if (r != 0)
            return r;
    }
    return wire_text_copy(ret->reason, m->reason, "reason", e);
}

static int items_from_proto(const Hirundo__V1__Loss *m, struct loss_item **ret_items, size_t *ret_n,
                            struct errmsg *e)
{
    size_t n_records = 0;
    for (size_t i = 0; i < m->n_items; i++)
        n_records += m->items[i]->n_records;
    if (m->n_items == 0 || m->n_items > WIRE_LOSS_ITEMS_MAX || n_records > WIRE_RECORDS_MAX)
        return errmsg_set(e, WIRE_REFUSED, "loss of %zu items and %zu records", m->n_items,
                          n_records);
    size_t items_size = m->n_items * sizeof(struct loss_item);
    _cleanup_(freep) struct loss_item *items =
        malloc(items_size + n_records * sizeof(struct window_record));
    if (!items)
        return -ENOMEM;
    struct window_record *records = (struct window_record *)((char *)items + items_size);
    uint64_t expected = 0;
    for (size_t i = 0; i < m->n_items; i++) {
        int r = item_from_proto(m->items[i], expected, records, &items[i], e);
        if (r != 0)
            return r;
        records += m->items[i]->n_records;
        expected = items[i].seq_last + 1;
    }
    *ret_n = m->n_items;
    *ret_items = items;
    items = NULL;
    return 0;
}

int wire_loss_decode(const uint8_t *p, size_t size, struct loss_item **ret_items, size_t *ret_n,
                     struct errmsg *e)
{
    if (size > BATCH_PAYLOAD_MAX)
        return errmsg_set(e, WIRE_REFUSED, "loss of %zu bytes", size);
    struct wire_bound bound;
    ProtobufCMessage *m =
        wire_bound_unpack(&bound, &hirundo__v1__loss__descriptor, p, size, UNPACK_MAX);
    if (!m)
        return wire_bound_failed(&bound, "payload is not a hirundo.v1.Loss, or too large", e);
    int r = items_from_proto((const Hirundo__V1__Loss *)m, ret_items, ret_n, e);
    wire_bound_free(&bound, m);
    return r;
}

int wire_records_encode(const struct window_record *records, size_t n, uint8_t **ret,
                        size_t *ret_size)
{
    struct loss_item item = {
        .seq_first = 1, .seq_last = 1, .n_records = (uint32_t)n, .records = records};
    return wire_loss_encode(&item, 1, ret, ret_size);
}

int wire_records_decode(const uint8_t *p, size_t size, struct window_record **ret, size_t *ret_n,
                        struct errmsg *e)
{
    _cleanup_(freep) struct loss_item *items = NULL;
    size_t n = 0;
    int r = wire_loss_decode(p, size, &items, &n, e);
    if (r != 0)
        return r;
    if (n != 1)
        return errmsg_set(e, WIRE_REFUSED, "records of %zu batches", n);
    struct window_record *records = malloc((items[0].n_records + 1) * sizeof *records);
    if (!records)
        return -ENOMEM;
    if (items[0].n_records)
        memcpy(records, items[0].records, items[0].n_records * sizeof *records);
    *ret = records;
    *ret_n = items[0].n_records;
    return 0;
}
