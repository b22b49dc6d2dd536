// Payload to struct batch, trusting nothing.
#include <string.h>
#include <zstd.h>

#include "common/wire_bound.h"
#include "common/wire_internal.h"

// Heap that unpacking one batch message may take: the compressed columns and their lengths.
#define UNPACK_MAX (2 * BATCH_PAYLOAD_MAX)
// More columns than this are from no version that this one could read.
#define COLUMNS_MAX 64u
// Sums over a batch stay within 64 bits.
#define COUNT_MAX (UINT64_MAX / (16 * (uint64_t)BATCH_FLOWS_MAX))

struct wire_decoder {
    ZSTD_DCtx *zstd;
    uint8_t *raw; // WIRE_COLUMNS_MAX
    struct flow *flows;
    struct flood *floods;
    struct window_record *windows;
    uint32_t *values;           // BATCH_FLOWS_MAX, one column's
    struct ip_addr *dsts;       // BATCH_FLOWS_MAX
    struct tuple_entry *tuples; // BATCH_FLOWS_MAX
    struct in_bytes columns[COL_COUNT];
};

struct tuple_entry {
    uint32_t ip_len;
    uint16_t window;
    uint8_t proto, flags, marks, has;
    struct tcp_options options;
};

void wire_decoder_free(struct wire_decoder *dec)
{
    if (!dec)
        return;
    ZSTD_freeDCtx(dec->zstd);
    free(dec->raw);
    free(dec->flows);
    free(dec->floods);
    free(dec->windows);
    free(dec->values);
    free(dec->dsts);
    free(dec->tuples);
    free(dec);
}

int wire_decoder_new(struct wire_decoder **ret)
{
    _cleanup_(wire_decoder_freep) struct wire_decoder *dec = calloc(1, sizeof *dec);
    if (!dec)
        return -ENOMEM;
    dec->zstd = ZSTD_createDCtx();
    dec->raw = malloc(WIRE_COLUMNS_MAX);
    dec->flows = malloc(BATCH_FLOWS_MAX * sizeof *dec->flows);
    dec->floods = malloc(BATCH_FLOODS_MAX * sizeof *dec->floods);
    dec->windows = malloc(BATCH_WINDOWS_MAX * sizeof *dec->windows);
    dec->values = malloc(BATCH_FLOWS_MAX * sizeof *dec->values);
    dec->dsts = malloc(BATCH_FLOWS_MAX * sizeof *dec->dsts);
    dec->tuples = malloc(BATCH_FLOWS_MAX * sizeof *dec->tuples);
    if (!dec->zstd || !dec->raw || !dec->flows || !dec->floods || !dec->windows || !dec->values ||
        !dec->dsts || !dec->tuples)
        return -ENOMEM;
    *ret = dec;
    dec = NULL;
    return 0;
}

static int refuse(struct errmsg *e, const char *what)
{
    return errmsg_set(e, WIRE_REFUSED, "batch with damaged %s", what);
}

// --- columns
// ---------------------------------------------------------------------------------------------------------

// Decompresses and cuts the columns. Columns that this version does not know are passed over.
static int open_columns(struct wire_decoder *dec, const Hirundo__V1__Batch *m, struct errmsg *e)
{
    size_t total = 0;
    if (m->n_column_lengths > COLUMNS_MAX)
        return refuse(e, "column lengths");
    for (size_t i = 0; i < m->n_column_lengths; i++) {
        total += m->column_lengths[i];
        if (total > WIRE_COLUMNS_MAX)
            return errmsg_set(e, WIRE_REFUSED, "batch of more than %u bytes uncompressed",
                              WIRE_COLUMNS_MAX);
    }
    size_t got =
        ZSTD_decompressDCtx(dec->zstd, dec->raw, WIRE_COLUMNS_MAX, m->columns.data, m->columns.len);
    if (ZSTD_isError(got))
        return errmsg_set(e, WIRE_REFUSED, "batch does not decompress: %s", ZSTD_getErrorName(got));
    if (got != total)
        return refuse(e, "column lengths");
    const uint8_t *p = dec->raw;
    for (size_t i = 0; i < COL_COUNT; i++) {
        uint32_t length = i < m->n_column_lengths ? m->column_lengths[i] : 0;
        dec->columns[i] = (struct in_bytes){p, length, false};
        p += length;
    }
    return 0;
}

static bool finished(const struct in_bytes *in)
{
    return !in->bad && in->left == 0;
}

// Reads n values of planes into dec->values; none may exceed max.
static bool get_planes(struct wire_decoder *dec, enum wire_column column, size_t n, uint32_t max)
{
    struct in_bytes *in = &dec->columns[column];
    unsigned planes = get_u8(in);
    if (in->bad || planes > 4 || in->left != planes * n)
        return false;
    memset(dec->values, 0, n * sizeof *dec->values);
    for (unsigned plane = 0; plane < planes; plane++) {
        const uint8_t *p = in->p + plane * n;
        for (size_t i = 0; i < n; i++)
            dec->values[i] |= (uint32_t)p[i] << (8 * plane);
    }
    for (size_t i = 0; i < n; i++) {
        if (dec->values[i] > max)
            return false;
    }
    return true;
}

// --- records
// ---------------------------------------------------------------------------------------------------------

// Start of a record, from the difference to what was expected; false beyond any calendar.
static bool record_start(struct in_bytes *in, int64_t expected, int64_t *ret)
{
    int64_t delta = unzigzag(get_varint(in));
    int64_t start;
    if (__builtin_add_overflow(expected, delta, &start) || start > INT64_MAX / 4 ||
        start < INT64_MIN / 4)
        return false;
    *ret = start;
    return true;
}

struct progress {
    int64_t expected_ms;
    uint32_t flow;
    uint32_t flood;
};

// One record; its rows get the window's start as their time, for the time column to add to.
static bool get_record(struct wire_decoder *dec, const struct batch *b, uint32_t i,
                       struct progress *at)
{
    struct in_bytes *in = &dec->columns[COL_RECORDS];
    struct window_record *record = &dec->windows[i];
    *record = (struct window_record){0};
    if (!record_start(in, at->expected_ms, &record->start_ms) ||
        record->start_ms % (int64_t)b->window_ms != 0 ||
        (i > 0 && record->start_ms < at->expected_ms))
        return false;
    record->windows = (uint32_t)get_varint_max(in, UINT32_MAX);
    record->covered_ms = (uint32_t)get_varint_max(in, UINT32_MAX);
    uint32_t flows = (uint32_t)get_varint_max(in, b->n_flows - at->flow);
    uint32_t floods = (uint32_t)get_varint_max(in, b->n_floods - at->flood);
    record->non_ip = get_varint_max(in, COUNT_MAX);
    record->malformed = get_varint_max(in, COUNT_MAX);
    record->kernel_dropped = get_varint_max(in, COUNT_MAX);
    record->interface_dropped = get_varint_max(in, COUNT_MAX);
    bool run_with_rows = record->windows > 1 && (flows || floods);
    if (in->bad || record->windows == 0 || run_with_rows ||
        record->covered_ms > (uint64_t)record->windows * b->window_ms)
        return false;
    for (uint32_t k = 0; k < flows; k++)
        dec->flows[at->flow++].ts_ms = record->start_ms;
    for (uint32_t k = 0; k < floods; k++)
        dec->floods[at->flood++].ts_ms = record->start_ms;
    at->expected_ms = record->start_ms + (int64_t)record->windows * b->window_ms;
    return true;
}

static int get_records(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    struct progress at = {0};
    for (uint32_t i = 0; i < b->n_windows; i++) {
        if (!get_record(dec, b, i, &at))
            return refuse(e, "window records");
    }
    if (!finished(&dec->columns[COL_RECORDS]) || at.flow != b->n_flows || at.flood != b->n_floods)
        return refuse(e, "window records");
    return 0;
}

// Puts the rows' packets into their records, and says what each saw in all. Called when the rows
// are complete, with their times still inside their windows.
static int sum_records(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    uint32_t flow = 0, flood = 0;
    for (uint32_t i = 0; i < b->n_windows; i++) {
        struct window_record *record = &dec->windows[i];
        int64_t end = record->start_ms + b->window_ms;
        while (flow < b->n_flows && dec->flows[flow].ts_ms < end)
            record->row_packets += dec->flows[flow++].packets;
        while (flood < b->n_floods && dec->floods[flood].ts_ms < end)
            record->flood_packets += dec->floods[flood++].packets;
        record->frames =
            record->non_ip + record->malformed + record->row_packets + record->flood_packets;
        int r = wire_record_check(record, e);
        if (r != 0)
            return r;
    }
    return 0;
}

// --- addresses
// -------------------------------------------------------------------------------------------------------

static int get_versions(struct wire_decoder *dec, const struct batch *b, uint32_t *ret_n4,
                        struct errmsg *e)
{
    struct in_bytes *in = &dec->columns[COL_VERSIONS];
    uint32_t i = 0, n4 = 0;
    uint8_t version = 4;
    while (!in->bad && in->left) {
        uint32_t run = (uint32_t)get_varint_max(in, b->n_flows - i);
        for (uint32_t k = 0; k < run; k++)
            dec->flows[i++].src = (struct ip_addr){.version = version};
        n4 += version == 4 ? run : 0;
        version = version == 4 ? 6 : 4;
    }
    if (!finished(in) || i != b->n_flows)
        return refuse(e, "address versions");
    *ret_n4 = n4;
    return 0;
}

static void store_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static int get_sources(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    uint32_t n4 = 0;
    int r = get_versions(dec, b, &n4, e);
    if (r != 0)
        return r;
    const struct in_bytes *six = &dec->columns[COL_SRC6];
    uint32_t n6 = b->n_flows - n4;
    if (!get_planes(dec, COL_SRC4, n4, UINT32_MAX) || six->left != 16 * (size_t)n6)
        return refuse(e, "source addresses");
    uint32_t address = 0, at4 = 0, at6 = 0;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        struct ip_addr *src = &dec->flows[i].src;
        if (src->version == 4) {
            address += dec->values[at4++];
            store_be32(src->b, address);
        } else {
            for (uint32_t k = 0; k < 16; k++)
                src->b[k] = six->p[k * n6 + at6];
            at6++;
        }
    }
    return 0;
}

static bool get_address(struct in_bytes *in, struct ip_addr *ret)
{
    *ret = (struct ip_addr){.version = get_u8(in)};
    if (ret->version != 4 && ret->version != 6)
        return false;
    for (int i = 0; i < (ret->version == 4 ? 4 : 16); i++)
        ret->b[i] = get_u8(in);
    return !in->bad;
}

static int get_destinations(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    struct in_bytes *in = &dec->columns[COL_DST_TABLE];
    uint32_t n = 0;
    while (in->left) {
        if (n == b->n_flows || !get_address(in, &dec->dsts[n++]))
            return refuse(e, "destination addresses");
    }
    if (!get_planes(dec, COL_DST, b->n_flows, n ? n - 1 : 0) || (b->n_flows && n == 0))
        return refuse(e, "destination addresses");
    for (uint32_t i = 0; i < b->n_flows; i++) {
        dec->flows[i].dst = dec->dsts[dec->values[i]];
        if (dec->flows[i].dst.version != dec->flows[i].src.version)
            return refuse(e, "destination addresses");
    }
    return 0;
}

// --- tuples
// ----------------------------------------------------------------------------------------------------------

static void get_options(struct in_bytes *in, struct tcp_options *ret)
{
    ret->n = get_u8(in);
    if (ret->n > OPT_KINDS_MAX) {
        in->bad = true;
        return;
    }
    for (int i = 0; i < ret->n; i++)
        ret->kinds[i] = get_u8(in);
    ret->mss = (uint16_t)get_varint_max(in, UINT16_MAX);
    ret->wscale = get_u8(in);
}

static bool get_tuple(struct in_bytes *in, bool with_window, struct tuple_entry *ret)
{
    *ret = (struct tuple_entry){0};
    ret->proto = get_u8(in);
    ret->flags = get_u8(in);
    ret->marks = get_u8(in);
    ret->has = get_u8(in);
    ret->ip_len = (uint32_t)get_varint_max(in, INT32_MAX);
    if (ret->has & HAS_TCP_WINDOW) {
        if (with_window)
            ret->window = (uint16_t)get_varint_max(in, UINT16_MAX);
        get_options(in, &ret->options);
    }
    return !in->bad && ret->marks <= MARK_ALL && ret->has <= HAS_ALL;
}

static int get_tuples(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    struct in_bytes *in = &dec->columns[COL_TUPLE_TABLE];
    uint8_t with_window = get_u8(in);
    uint32_t n = 0;
    if (in->bad || with_window > 1)
        return refuse(e, "tuples");
    while (in->left) {
        if (n == b->n_flows || !get_tuple(in, with_window, &dec->tuples[n++]))
            return refuse(e, "tuples");
    }
    if (!get_planes(dec, COL_TUPLE, b->n_flows, n ? n - 1 : 0) || (b->n_flows && n == 0))
        return refuse(e, "tuples");
    uint32_t windows_apart = 0;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        const struct tuple_entry *t = &dec->tuples[dec->values[i]];
        struct flow *f = &dec->flows[i];
        f->proto = t->proto;
        f->tcp_flags = t->flags;
        f->marks = t->marks;
        f->has = t->has;
        f->ip_len = t->ip_len;
        f->tcp_window = t->window;
        f->options = t->options;
        windows_apart += !with_window && t->has & HAS_TCP_WINDOW;
    }
    if (!get_planes(dec, COL_WINDOW, windows_apart, UINT16_MAX))
        return refuse(e, "TCP windows");
    for (uint32_t i = 0, at = 0; at < windows_apart; i++) {
        if (dec->flows[i].has & HAS_TCP_WINDOW)
            dec->flows[i].tcp_window = (uint16_t)dec->values[at++];
    }
    return 0;
}

// --- the rest
// --------------------------------------------------------------------------------------------------------

// A 16-bit field of the flows that have it; the others' is 0.
#define GET_FIELD(dec, b, flag, field, column)                                                     \
    ({                                                                                             \
        size_t n_ = 0;                                                                             \
        for (uint32_t i_ = 0; i_ < (b)->n_flows; i_++)                                             \
            n_ += ((dec)->flows[i_].has & (flag)) != 0;                                            \
        bool good_ = get_planes(dec, column, n_, UINT16_MAX);                                      \
        n_ = 0;                                                                                    \
        for (uint32_t i_ = 0; good_ && i_ < (b)->n_flows; i_++)                                    \
            (dec)->flows[i_].field =                                                               \
                (dec)->flows[i_].has & (flag) ? (uint16_t)(dec)->values[n_++] : 0;                 \
        good_;                                                                                     \
    })

static int get_fields(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    const struct in_bytes *ttl = &dec->columns[COL_TTL];
    if (ttl->left != b->n_flows)
        return refuse(e, "TTLs");
    for (uint32_t i = 0; i < b->n_flows; i++)
        dec->flows[i].ttl = ttl->p[i];
    if (!GET_FIELD(dec, b, HAS_PORT, port, COL_PORT))
        return refuse(e, "ports");
    if (!GET_FIELD(dec, b, HAS_SRC_PORT, src_port, COL_SRC_PORT))
        return refuse(e, "source ports");
    if (!GET_FIELD(dec, b, HAS_IP_ID, ip_id, COL_IP_ID))
        return refuse(e, "IP ids");
    if (!get_planes(dec, COL_TIME, b->n_flows, b->window_ms - 1))
        return refuse(e, "times");
    for (uint32_t i = 0; i < b->n_flows; i++)
        dec->flows[i].ts_ms += dec->values[i];
    return 0;
}

static bool get_measures_of(struct wire_decoder *dec, struct flow *f, uint32_t window_ms)
{
    f->packets = (uint32_t)get_varint_max(&dec->columns[COL_PACKETS], INT32_MAX - 1) + 1;
    int64_t whole = (int64_t)f->packets * f->ip_len;
    int64_t bytes;
    if (__builtin_add_overflow(whole, unzigzag(get_varint(&dec->columns[COL_BYTES])), &bytes) ||
        bytes < 0 || bytes > INT64_MAX / 2)
        return false;
    f->bytes = (uint64_t)bytes;
    f->duration_ms = 0;
    if (f->packets > 1)
        f->duration_ms = (uint32_t)get_varint_max(&dec->columns[COL_DURATION], window_ms - 1);
    return true;
}

static int get_measures(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    for (uint32_t i = 0; i < b->n_flows; i++) {
        if (!get_measures_of(dec, &dec->flows[i], b->window_ms))
            return refuse(e, "byte counts");
    }
    if (!finished(&dec->columns[COL_PACKETS]) || !finished(&dec->columns[COL_BYTES]) ||
        !finished(&dec->columns[COL_DURATION]))
        return refuse(e, "packet or byte counts or durations");
    return 0;
}

static int get_floods(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    struct in_bytes *in = &dec->columns[COL_FLOODS];
    for (uint32_t i = 0; i < b->n_floods; i++) {
        struct flood *f = &dec->floods[i];
        *f = (struct flood){.ts_ms = f->ts_ms};
        if (!get_address(in, &f->dst))
            return refuse(e, "flood rows");
        f->proto = get_u8(in);
        f->tcp_flags = get_u8(in);
        f->ttl_min = get_u8(in);
        f->ttl_max = get_u8(in);
        uint64_t port = get_varint_max(in, UINT16_MAX + 1);
        f->has_port = port != 0;
        f->port = port ? (uint16_t)(port - 1) : 0;
        f->packets = get_varint_max(in, COUNT_MAX);
        f->bytes = get_varint_max(in, INT64_MAX / 2);
        uint64_t sources = get_varint_max(in, COUNT_MAX);
        f->has_sources = sources != 0;
        f->sources_estimate = sources ? sources - 1 : 0;
        if (in->bad || f->packets == 0 || f->ttl_min > f->ttl_max)
            return refuse(e, "flood rows");
    }
    return finished(in) ? 0 : refuse(e, "flood rows");
}

static int get_columns(struct wire_decoder *dec, const struct batch *b, struct errmsg *e)
{
    static int (*const steps[])(struct wire_decoder *, const struct batch *, struct errmsg *) = {
        get_records, get_sources,  get_destinations, get_tuples,
        get_fields,  get_measures, get_floods,       sum_records,
    };
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i](dec, b, e);
        if (r != 0)
            return r;
    }
    return 0;
}

static int batch_from_proto(struct wire_decoder *dec, const Hirundo__V1__Batch *m,
                            struct batch *ret, struct errmsg *e)
{
    struct batch b = {
        .window_ms = m->window_ms,
        .n_flows = m->flows,
        .n_floods = m->floods,
        .n_windows = m->windows,
        .flows = dec->flows,
        .floods = dec->floods,
        .windows = dec->windows,
    };
    if (b.n_flows > BATCH_FLOWS_MAX || b.n_floods > BATCH_FLOODS_MAX ||
        b.n_windows > BATCH_WINDOWS_MAX)
        return errmsg_set(e, WIRE_REFUSED, "batch of %u flows, %u flood rows, %u records",
                          b.n_flows, b.n_floods, b.n_windows);
    if (b.window_ms < WINDOW_MS_MIN || b.window_ms > WINDOW_MS_MAX ||
        WINDOW_MS_MAX % b.window_ms != 0)
        return errmsg_set(e, WIRE_REFUSED, "batch with windows of %u ms", b.window_ms);
    int r = open_columns(dec, m, e);
    if (r == 0)
        r = get_columns(dec, &b, e);
    if (r == 0)
        *ret = b;
    return r;
}

int wire_batch_decode(struct wire_decoder *dec, const uint8_t *p, size_t size, struct batch *ret,
                      struct errmsg *e)
{
    if (size > BATCH_PAYLOAD_MAX)
        return errmsg_set(e, WIRE_REFUSED, "batch of %zu bytes, at most %u", size,
                          BATCH_PAYLOAD_MAX);
    struct wire_bound bound;
    ProtobufCMessage *m =
        wire_bound_unpack(&bound, &hirundo__v1__batch__descriptor, p, size, UNPACK_MAX);
    if (!m)
        return wire_bound_failed(&bound, "payload is not a hirundo.v1.Batch", e);
    int r = batch_from_proto(dec, (const Hirundo__V1__Batch *)m, ret, e);
    wire_bound_free(&bound, m);
    return r;
}
