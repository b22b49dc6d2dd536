// struct batch to payload: columns, then one zstd frame.
#include <sodium.h>
#include <string.h>
#include <zstd.h>

#include "common/wire_bound.h"
#include "common/wire_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

// A column of more than this many bytes ends its own zstd block, so that its entropy tables fit it
// alone (measured: docs/protocol.md).
#define FLUSH_BYTES  384
#define ZSTD_LEVEL   1
#define ZSTD_WINDOW  17 // log2: the compressor's memory; columns are short, larger wins nothing
#define INDEX_SLOTS  (2 * BATCH_FLOWS_MAX)
#define COLUMN_SLACK 4096u

// The fields that repeat together, packed: words are built in registers, where bytes written one by
// one would have to reach the cache before they can be hashed.
struct tuple {
    uint64_t words[4];
};

struct wire_encoder {
    ZSTD_CCtx *zstd;
    uint8_t *raw;  // WIRE_COLUMNS_MAX
    uint8_t *comp; // compressed columns
    size_t comp_size;
    uint8_t *payload; // the packed message
    size_t payload_size;
    uint32_t *values;     // BATCH_FLOWS_MAX, one column's
    uint16_t *indices;    // BATCH_FLOWS_MAX, per flow
    uint16_t *slots;      // INDEX_SLOTS: hash table over a dictionary's entries, index + 1
    uint32_t *examples;   // BATCH_FLOWS_MAX: dictionary entry -> the first flow that has it
    struct tuple *tuples; // BATCH_FLOWS_MAX
    uint64_t seed;        // of the dictionaries' hash: their keys come from whoever sends packets
    uint32_t n6;          // flows of IPv6
    struct out_bytes out;
    uint32_t lengths[COL_COUNT];
};

void wire_encoder_free(struct wire_encoder *enc)
{
    if (!enc)
        return;
    ZSTD_freeCCtx(enc->zstd);
    free(enc->raw);
    free(enc->comp);
    free(enc->payload);
    free(enc->values);
    free(enc->indices);
    free(enc->slots);
    free(enc->examples);
    free(enc->tuples);
    free(enc);
}

static int encoder_set_up(struct wire_encoder *enc)
{
    if (sodium_init() < 0)
        return -EIO;
    randombytes_buf(&enc->seed, sizeof enc->seed);
    enc->zstd = ZSTD_createCCtx();
    enc->raw = malloc(WIRE_COLUMNS_MAX);
    enc->comp_size = ZSTD_compressBound(WIRE_COLUMNS_MAX) + COL_COUNT * 64;
    enc->comp = malloc(enc->comp_size);
    enc->payload_size = enc->comp_size + COLUMN_SLACK;
    enc->payload = malloc(enc->payload_size);
    enc->values = malloc(BATCH_FLOWS_MAX * sizeof *enc->values);
    enc->indices = malloc(BATCH_FLOWS_MAX * sizeof *enc->indices);
    enc->slots = malloc(INDEX_SLOTS * sizeof *enc->slots);
    enc->examples = malloc(BATCH_FLOWS_MAX * sizeof *enc->examples);
    enc->tuples = malloc(BATCH_FLOWS_MAX * sizeof *enc->tuples);
    if (!enc->zstd || !enc->raw || !enc->comp || !enc->payload || !enc->values || !enc->indices ||
        !enc->slots || !enc->examples || !enc->tuples)
        return -ENOMEM;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(enc->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(enc->zstd, ZSTD_c_windowLog, ZSTD_WINDOW)))
        return -ENOMEM;
    return 0;
}

int wire_encoder_new(struct wire_encoder **ret)
{
    struct wire_encoder *enc = calloc(1, sizeof *enc);
    if (!enc)
        return -ENOMEM;
    int r = encoder_set_up(enc);
    if (r < 0) {
        wire_encoder_free(enc);
        return r;
    }
    *ret = enc;
    return 0;
}

// --- columns
// ---------------------------------------------------------------------------------------------------------

// Ends the column that is being written: notes its length.
static void end_column(struct wire_encoder *enc, enum wire_column column)
{
    size_t before = 0;
    for (int i = 0; i < (int)column; i++)
        before += enc->lengths[i];
    enc->lengths[column] = (uint32_t)(enc->out.used - before);
}

// Writes enc->values[0..n) as byte planes: a byte that tells how many planes, then the lowest bytes
// of all, and so on.
static void put_planes(struct wire_encoder *enc, size_t n)
{
    uint32_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= enc->values[i];
    unsigned planes = 0;
    while (planes < 4 && all >> (8 * planes))
        planes++;
    struct out_bytes *o = &enc->out;
    put_u8(o, (uint8_t)planes);
    if (o->size - o->used < planes * n) {
        o->bad = true;
        return;
    }
    for (unsigned plane = 0; plane < planes; plane++) {
        uint8_t *restrict p = o->p + o->used;
        const uint32_t *restrict values = enc->values;
        const unsigned shift = 8 * plane;
        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)(values[i] >> shift);
        o->used += n;
    }
}

struct rows_in_record {
    uint32_t flows;
    uint32_t floods;
    uint64_t row_packets;
    uint64_t flood_packets;
};

static bool in_record(int64_t ts, const struct window_record *record, uint32_t window_ms)
{
    return ts >= record->start_ms && ts - record->start_ms < (int64_t)window_ms;
}

// Which of the rows from (flow, flood) on belong to the record.
static struct rows_in_record count_rows(const struct batch *b, const struct window_record *record,
                                        uint32_t flow, uint32_t flood)
{
    struct rows_in_record rows = {0};
    if (record->windows > 1)
        return rows;
    while (flow < b->n_flows && in_record(b->flows[flow].ts_ms, record, b->window_ms)) {
        rows.row_packets += b->flows[flow++].packets;
        rows.flows++;
    }
    while (flood < b->n_floods && in_record(b->floods[flood].ts_ms, record, b->window_ms)) {
        rows.flood_packets += b->floods[flood++].packets;
        rows.floods++;
    }
    return rows;
}

static void put_record(struct out_bytes *o, const struct window_record *record, int64_t expected_ms,
                       const struct rows_in_record *rows)
{
    put_varint(o, zigzag(record->start_ms - expected_ms));
    put_varint(o, record->windows);
    put_varint(o, record->covered_ms);
    put_varint(o, rows->flows);
    put_varint(o, rows->floods);
    put_varint(o, record->non_ip);
    put_varint(o, record->malformed);
    put_varint(o, record->kernel_dropped);
    put_varint(o, record->interface_dropped);
}

// Records, with the rows of each; the packet sums are not sent, they follow from the rows. Checks
// what decoding promises.
static int put_records(struct wire_encoder *enc, const struct batch *b)
{
    uint32_t flow = 0, flood = 0;
    int64_t expected_ms = 0;
    for (uint32_t i = 0; i < b->n_windows; i++) {
        const struct window_record *record = &b->windows[i];
        struct rows_in_record rows = count_rows(b, record, flow, flood);
        if (wire_record_check(record, NULL) != 0 || rows.row_packets != record->row_packets ||
            rows.flood_packets != record->flood_packets || record->start_ms % b->window_ms != 0 ||
            (i > 0 && record->start_ms < expected_ms))
            return -EINVAL;
        put_record(&enc->out, record, expected_ms, &rows);
        expected_ms = record->start_ms + (int64_t)record->windows * b->window_ms;
        flow += rows.flows;
        flood += rows.floods;
    }
    end_column(enc, COL_RECORDS);
    return flow == b->n_flows && flood == b->n_floods ? 0 : -EINVAL;
}

static int put_versions(struct wire_encoder *enc, const struct batch *b)
{
    uint8_t version = 4;
    uint32_t run = 0;
    enc->n6 = 0;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        const struct flow *f = &b->flows[i];
        if ((f->src.version != 4 && f->src.version != 6) || f->dst.version != f->src.version)
            return -EINVAL;
        if (f->src.version != version) {
            put_varint(&enc->out, run);
            version = f->src.version;
            run = 0;
        }
        run++;
        enc->n6 += version == 6;
    }
    put_varint(&enc->out, run);
    end_column(enc, COL_VERSIONS);
    return 0;
}

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_sources(struct wire_encoder *enc, const struct batch *b)
{
    for (int plane = 0; enc->n6 && plane < 16; plane++) {
        for (uint32_t i = 0; i < b->n_flows; i++) {
            if (b->flows[i].src.version == 6)
                put_u8(&enc->out, b->flows[i].src.b[plane]);
        }
    }
    end_column(enc, COL_SRC6);
    size_t n = 0;
    uint32_t before = 0;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        if (b->flows[i].src.version != 4)
            continue;
        uint32_t address = load_be32(b->flows[i].src.b);
        enc->values[n++] = address - before;
        before = address;
    }
    put_planes(enc, n);
    end_column(enc, COL_SRC4);
}

// --- dictionaries
// ----------------------------------------------------------------------------------------------------

// Gives each flow the index of its destination; returns how many there are. Destinations are
// numbered as they first appear.
static uint32_t index_destinations(struct wire_encoder *enc, const struct batch *b)
{
    uint32_t n = 0;
    memset(enc->slots, 0, INDEX_SLOTS * sizeof *enc->slots);
    for (uint32_t i = 0; i < b->n_flows; i++) {
        const struct ip_addr *dst = &b->flows[i].dst;
        if (i > 0 && memcmp(dst, &b->flows[i - 1].dst, sizeof *dst) == 0) {
            enc->indices[i] = enc->indices[i - 1];
            continue;
        }
        uint32_t slot = (uint32_t)XXH3_64bits_withSeed(dst, sizeof *dst, enc->seed) % INDEX_SLOTS;
        while (enc->slots[slot] &&
               memcmp(dst, &b->flows[enc->examples[enc->slots[slot] - 1]].dst, sizeof *dst) != 0)
            slot = (slot + 1) % INDEX_SLOTS;
        if (!enc->slots[slot]) {
            enc->examples[n] = i;
            enc->slots[slot] = (uint16_t)++n;
        }
        enc->indices[i] = (uint16_t)(enc->slots[slot] - 1);
    }
    return n;
}

static void put_address(struct out_bytes *o, const struct ip_addr *a)
{
    put_u8(o, a->version);
    put_bytes(o, a->b, a->version == 4 ? 4 : 16);
}

static void put_indices(struct wire_encoder *enc, const struct batch *b, enum wire_column column)
{
    for (uint32_t i = 0; i < b->n_flows; i++)
        enc->values[i] = enc->indices[i];
    put_planes(enc, b->n_flows);
    end_column(enc, column);
}

static void put_destinations(struct wire_encoder *enc, const struct batch *b)
{
    uint32_t n = index_destinations(enc, b);
    for (uint32_t k = 0; k < n; k++)
        put_address(&enc->out, &b->flows[enc->examples[k]].dst);
    end_column(enc, COL_DST_TABLE);
    put_indices(enc, b, COL_DST);
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static struct tuple tuple_of(const struct flow *f, bool with_window)
{
    const struct tcp_options *o = &f->options;
    struct tuple t = {{f->ip_len, (uint64_t)f->proto | (uint64_t)f->tcp_flags << 8 |
                                      (uint64_t)f->marks << 16 | (uint64_t)f->has << 24}};
    if (f->has & HAS_TCP_WINDOW) {
        t.words[0] |= (uint64_t)(with_window ? f->tcp_window : 0) << 32 | (uint64_t)o->mss << 48;
        t.words[1] |= (uint64_t)o->wscale << 32 | (uint64_t)o->n << 40;
        t.words[2] = load64(o->kinds);
        t.words[3] = load64(o->kinds + OPT_KINDS_MAX - 8);
    }
    return t;
}

// Gives each flow the index of its tuple, numbered as they first appear; returns how many there
// are.
static uint32_t index_tuples(struct wire_encoder *enc, const struct batch *b, bool with_window)
{
    uint32_t n = 0;
    memset(enc->slots, 0, INDEX_SLOTS * sizeof *enc->slots);
    for (uint32_t i = 0; i < b->n_flows; i++) {
        struct tuple t = tuple_of(&b->flows[i], with_window);
        uint32_t slot = (uint32_t)XXH3_64bits_withSeed(&t, sizeof t, enc->seed) % INDEX_SLOTS;
        while (enc->slots[slot] && memcmp(&t, &enc->tuples[enc->slots[slot] - 1], sizeof t) != 0)
            slot = (slot + 1) % INDEX_SLOTS;
        if (!enc->slots[slot]) {
            enc->tuples[n] = t;
            enc->examples[n] = i;
            enc->slots[slot] = (uint16_t)++n;
        }
        enc->indices[i] = (uint16_t)(enc->slots[slot] - 1);
    }
    return n;
}

static void put_tuple(struct out_bytes *o, const struct flow *f, bool with_window)
{
    put_u8(o, f->proto);
    put_u8(o, f->tcp_flags);
    put_u8(o, f->marks);
    put_u8(o, f->has);
    put_varint(o, f->ip_len);
    if (!(f->has & HAS_TCP_WINDOW))
        return;
    if (with_window)
        put_varint(o, f->tcp_window);
    put_u8(o, f->options.n);
    put_bytes(o, f->options.kinds, f->options.n);
    put_varint(o, f->options.mss);
    put_u8(o, f->options.wscale);
}

static bool has_many_windows(uint32_t tuples, const struct batch *b)
{
    return tuples > 64 && tuples > b->n_flows / 8;
}

// Windows go into the dictionary unless they are what makes it large (a scanner that draws them at
// random).
static bool put_tuples(struct wire_encoder *enc, const struct batch *b)
{
    bool with_window = true;
    uint32_t n = index_tuples(enc, b, true);
    if (has_many_windows(n, b)) {
        with_window = false;
        n = index_tuples(enc, b, false);
    }
    put_u8(&enc->out, with_window);
    for (uint32_t k = 0; k < n; k++)
        put_tuple(&enc->out, &b->flows[enc->examples[k]], with_window);
    end_column(enc, COL_TUPLE_TABLE);
    put_indices(enc, b, COL_TUPLE);
    return with_window;
}

// --- the rest
// --------------------------------------------------------------------------------------------------------

// A column of a 16-bit field of those flows that have it.
#define PUT_FIELD(enc, b, flag, field, column)                                                     \
    do {                                                                                           \
        size_t n_ = 0;                                                                             \
        for (uint32_t i_ = 0; i_ < (b)->n_flows; i_++) {                                           \
            if ((b)->flows[i_].has & (flag))                                                       \
                (enc)->values[n_++] = (b)->flows[i_].field;                                        \
        }                                                                                          \
        put_planes(enc, n_);                                                                       \
        end_column(enc, column);                                                                   \
    } while (0)

static void put_ttls(struct wire_encoder *enc, const struct batch *b)
{
    for (uint32_t i = 0; i < b->n_flows; i++)
        put_u8(&enc->out, b->flows[i].ttl);
    end_column(enc, COL_TTL);
}

static int64_t window_start(int64_t ts_ms, uint32_t window_ms)
{
    int64_t offset = ts_ms % (int64_t)window_ms;
    return ts_ms - (offset < 0 ? offset + window_ms : offset);
}

static void put_times(struct wire_encoder *enc, const struct batch *b)
{
    int64_t start = 0;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        if (b->flows[i].ts_ms - start >= b->window_ms || b->flows[i].ts_ms < start)
            start = window_start(b->flows[i].ts_ms, b->window_ms);
        enc->values[i] = (uint32_t)(b->flows[i].ts_ms - start);
    }
    put_planes(enc, b->n_flows);
    end_column(enc, COL_TIME);
}

static int put_measures(struct wire_encoder *enc, const struct batch *b)
{
    const int64_t most = INT64_MAX / 2;
    for (uint32_t i = 0; i < b->n_flows; i++) {
        const struct flow *f = &b->flows[i];
        if (f->packets == 0 || f->packets > INT32_MAX || f->ip_len > INT32_MAX ||
            f->bytes > (uint64_t)most || f->duration_ms >= b->window_ms ||
            (f->packets == 1 && f->duration_ms != 0))
            return -EINVAL;
        put_varint(&enc->out, f->packets - 1);
    }
    end_column(enc, COL_PACKETS);
    for (uint32_t i = 0; i < b->n_flows; i++) {
        const struct flow *f = &b->flows[i];
        put_varint(&enc->out, zigzag((int64_t)f->bytes - (int64_t)f->packets * f->ip_len));
    }
    end_column(enc, COL_BYTES);
    for (uint32_t i = 0; i < b->n_flows; i++) {
        if (b->flows[i].packets > 1)
            put_varint(&enc->out, b->flows[i].duration_ms);
    }
    end_column(enc, COL_DURATION);
    return 0;
}

static int put_floods(struct wire_encoder *enc, const struct batch *b)
{
    struct out_bytes *o = &enc->out;
    for (uint32_t i = 0; i < b->n_floods; i++) {
        const struct flood *f = &b->floods[i];
        if ((f->dst.version != 4 && f->dst.version != 6) || f->packets == 0 ||
            f->ttl_min > f->ttl_max)
            return -EINVAL;
        put_address(o, &f->dst);
        put_u8(o, f->proto);
        put_u8(o, f->tcp_flags);
        put_u8(o, f->ttl_min);
        put_u8(o, f->ttl_max);
        put_varint(o, f->has_port ? (uint64_t)f->port + 1 : 0);
        put_varint(o, f->packets);
        put_varint(o, f->bytes);
        put_varint(o, f->has_sources ? f->sources_estimate + 1 : 0);
    }
    end_column(enc, COL_FLOODS);
    return 0;
}

static int put_columns(struct wire_encoder *enc, const struct batch *b)
{
    int r = put_records(enc, b);
    if (r == 0)
        r = put_versions(enc, b);
    if (r < 0)
        return r;
    put_destinations(enc, b);
    bool with_window = put_tuples(enc, b);
    put_ttls(enc, b);
    r = put_measures(enc, b);
    if (r == 0)
        r = put_floods(enc, b);
    if (r < 0)
        return r;
    PUT_FIELD(enc, b, HAS_PORT, port, COL_PORT);
    put_sources(enc, b);
    put_times(enc, b);
    PUT_FIELD(enc, b, HAS_SRC_PORT, src_port, COL_SRC_PORT);
    PUT_FIELD(enc, b, HAS_IP_ID, ip_id, COL_IP_ID);
    PUT_FIELD(enc, b, with_window ? 0 : HAS_TCP_WINDOW, tcp_window, COL_WINDOW);
    return enc->out.bad ? -E2BIG : 0;
}

// One zstd frame; long columns get blocks of their own. enc->comp has room for all of it, so only
// zstd's own memory can fail.
static int compress(struct wire_encoder *enc, size_t *ret_size)
{
    ZSTD_CCtx_reset(enc->zstd, ZSTD_reset_session_only);
    ZSTD_outBuffer out = {enc->comp, enc->comp_size, 0};
    ZSTD_inBuffer in = {enc->raw, 0, 0};
    for (int column = 0; column < COL_COUNT; column++) {
        bool last = column == COL_COUNT - 1;
        bool own_block =
            enc->lengths[column] > FLUSH_BYTES || (!last && enc->lengths[column + 1] > FLUSH_BYTES);
        in.size += enc->lengths[column];
        size_t left = ZSTD_compressStream2(enc->zstd, &out, &in,
                                           last        ? ZSTD_e_end
                                           : own_block ? ZSTD_e_flush
                                                       : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -ENOMEM;
    }
    *ret_size = out.pos;
    return 0;
}

static bool batch_in_limits(const struct batch *b)
{
    return b->n_flows <= BATCH_FLOWS_MAX && b->n_floods <= BATCH_FLOODS_MAX &&
           b->n_windows <= BATCH_WINDOWS_MAX && b->window_ms >= WINDOW_MS_MIN &&
           b->window_ms <= WINDOW_MS_MAX && WINDOW_MS_MAX % b->window_ms == 0;
}

int wire_batch_encode(struct wire_encoder *enc, const struct batch *b, const uint8_t **ret_payload,
                      size_t *ret_size)
{
    if (!batch_in_limits(b))
        return -EINVAL;
    enc->out = (struct out_bytes){enc->raw, 0, WIRE_COLUMNS_MAX, false};
    memset(enc->lengths, 0, sizeof enc->lengths);
    int r = put_columns(enc, b);
    size_t comp_used = 0;
    if (r == 0)
        r = compress(enc, &comp_used);
    if (r < 0)
        return r;
    Hirundo__V1__Batch m = HIRUNDO__V1__BATCH__INIT;
    m.window_ms = b->window_ms;
    m.flows = b->n_flows;
    m.floods = b->n_floods;
    m.windows = b->n_windows;
    m.n_column_lengths = COL_COUNT;
    m.column_lengths = enc->lengths;
    m.columns = (ProtobufCBinaryData){comp_used, enc->comp};
    r = wire_pack(&m.base, enc->payload, MIN(enc->payload_size, BATCH_PAYLOAD_MAX), ret_size);
    if (r == 0)
        *ret_payload = enc->payload;
    return r;
}

void wire_batch_describe(const struct batch *b, struct wire_header *h)
{
    h->frames = 0;
    h->codec = WIRE_CODEC_ZSTD_COLUMNS;
    h->first_window_ms = b->n_windows ? b->windows[0].start_ms : 0;
    h->last_window_ms = 0;
    for (uint32_t i = 0; i < b->n_windows; i++) {
        const struct window_record *record = &b->windows[i];
        h->frames += record->frames;
        h->last_window_ms = record->start_ms + (int64_t)record->windows * b->window_ms;
    }
}
