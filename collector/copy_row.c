#include "collector/copy_row.h"

#include <endian.h>
#include <string.h>

#define ROW_MAX 256 // no row here is longer
// PostgreSQL's own address families, whatever the system's are (utils/inet.h).
#define PG_INET  2
#define PG_INET6 3

static int reserve(struct copy_buffer *b, size_t more)
{
    if (b->size - b->used >= more)
        return 0;
    size_t size = MAX(b->size * 2, b->used + more + 64 * 1024);
    char *p = realloc(b->p, size);
    if (!p)
        return -ENOMEM;
    b->p = p;
    b->size = size;
    return 0;
}

void copy_buffer_release(struct copy_buffer *b)
{
    free(b->p);
    *b = (struct copy_buffer){0};
}

static inline char *put_raw(char *p, const void *data, size_t n)
{
    memcpy(p, data, n);
    return p + n;
}

static inline char *put_i16(char *p, int16_t v)
{
    uint16_t n = htobe16((uint16_t)v);
    return put_raw(p, &n, sizeof n);
}

static inline char *put_i32(char *p, int32_t v)
{
    uint32_t n = htobe32((uint32_t)v);
    return put_raw(p, &n, sizeof n);
}

static inline char *put_i64(char *p, int64_t v)
{
    uint64_t n = htobe64((uint64_t)v);
    return put_raw(p, &n, sizeof n);
}

// Fields: length, then value; a null is the length -1.
static inline char *field_null(char *p)
{
    return put_i32(p, -1);
}

static inline char *field_i16(char *p, int16_t v)
{
    return put_i16(put_i32(p, 2), v);
}

static inline char *field_i32(char *p, int32_t v)
{
    return put_i32(put_i32(p, 4), v);
}

static inline char *field_i32_if(char *p, bool there, int32_t v)
{
    return there ? field_i32(p, v) : field_null(p);
}

static inline char *field_i64(char *p, int64_t v)
{
    return put_i64(put_i32(p, 8), v);
}

static inline char *field_time(char *p, int64_t unix_ms)
{
    return field_i64(p, (unix_ms - COPY_EPOCH_MS) * 1000);
}

static inline char *field_bytes(char *p, const void *data, size_t n)
{
    return put_raw(put_i32(p, (int32_t)n), data, n);
}

static inline char *field_inet(char *p, const struct ip_addr *a)
{
    bool v4 = a->version == 4;
    uint8_t size = v4 ? 4 : 16;
    p = put_i32(p, 4 + size);
    const uint8_t head[] = {v4 ? PG_INET : PG_INET6, (uint8_t)(size * 8), 0, size};
    return put_raw(put_raw(p, head, sizeof head), a->b, size);
}

int copy_begin(struct copy_buffer *b)
{
    static const char head[] =
        "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; // and its own NUL: flags, extension 0
    b->used = 0;
    b->rows = 0;
    int r = reserve(b, sizeof head);
    if (r == 0)
        b->used = (size_t)(put_raw(b->p, head, sizeof head) - b->p);
    return r;
}

int copy_end(struct copy_buffer *b)
{
    int r = reserve(b, 2);
    if (r == 0)
        b->used = (size_t)(put_i16(b->p + b->used, -1) - b->p);
    return r;
}

static void row_done(struct copy_buffer *b, const char *end)
{
    b->used = (size_t)(end - b->p);
    b->rows++;
}

static int one_flow(struct copy_buffer *b, const struct flow *f, int16_t sensor_id, int16_t dst_no,
                    int32_t options_id)
{
    int r = reserve(b, ROW_MAX);
    if (r < 0)
        return r;
    char *p = put_i16(b->p + b->used, 17);
    p = field_time(p, f->ts_ms);
    p = field_i32(p, (int32_t)f->duration_ms);
    p = field_i32(p, (int32_t)f->packets);
    p = field_i32(p, (int32_t)f->bytes);
    p = field_i32_if(p, f->has & HAS_PORT, f->port);
    p = field_i32_if(p, f->has & HAS_SRC_PORT, f->src_port);
    p = field_i32_if(p, f->has & HAS_TCP_WINDOW, f->tcp_window);
    p = field_i32_if(p, f->has & HAS_IP_ID, f->ip_id);
    p = field_i32(p, (int32_t)f->ip_len);
    p = field_i32_if(p, options_id != COPY_NO_OPTIONS, options_id);
    p = field_i16(p, sensor_id);
    p = field_i16(p, dst_no);
    p = field_i16(p, f->proto);
    p = field_i16(p, f->ttl);
    p = field_i16(p, f->tcp_flags);
    p = field_i16(p, f->marks);
    p = field_inet(p, &f->src);
    row_done(b, p);
    return 0;
}

uint64_t copy_flow_rows(const struct flow *f)
{
    uint64_t by_packets = (f->packets + (uint64_t)INT32_MAX - 1) / INT32_MAX;
    uint64_t by_bytes = f->bytes / INT32_MAX + (f->bytes % INT32_MAX != 0);
    return MAX(MAX(by_packets, by_bytes), (uint64_t)1);
}

// Equal shares, what is left over on the first rows.
static uint64_t share(uint64_t total, uint64_t n, uint64_t i)
{
    return total / n + (i < total % n);
}

int copy_flow(struct copy_buffer *b, const struct flow *f, int16_t sensor_id, int16_t dst_no,
              int32_t options_id)
{
    if (f->packets <= INT32_MAX && f->bytes <= INT32_MAX)
        return one_flow(b, f, sensor_id, dst_no, options_id);
    uint64_t n = copy_flow_rows(f);
    for (uint64_t i = 0; i < n; i++) {
        struct flow part = *f;
        part.packets = (uint32_t)share(f->packets, n, i);
        part.bytes = share(f->bytes, n, i);
        int r = one_flow(b, &part, sensor_id, dst_no, options_id);
        if (r < 0)
            return r;
    }
    return 0;
}

int copy_flood(struct copy_buffer *b, const struct flood *f, int16_t sensor_id, int16_t dst_no)
{
    int r = reserve(b, ROW_MAX);
    if (r < 0)
        return r;
    char *p = put_i16(b->p + b->used, 11);
    p = field_time(p, f->ts_ms);
    p = field_i64(p, (int64_t)f->packets);
    p = field_i64(p, (int64_t)f->bytes);
    p = f->has_sources ? field_i64(p, (int64_t)f->sources_estimate) : field_null(p);
    p = field_i32_if(p, f->has_port, f->port);
    p = field_i16(p, sensor_id);
    p = field_i16(p, dst_no);
    p = field_i16(p, f->proto);
    p = field_i16(p, f->tcp_flags);
    p = field_i16(p, f->ttl_min);
    p = field_i16(p, f->ttl_max);
    row_done(b, p);
    return 0;
}

int copy_batch(struct copy_buffer *b, const struct batch_row *row)
{
    int r = reserve(b, ROW_MAX);
    if (r < 0)
        return r;
    char *p = put_i16(b->p + b->used, 12);
    p = field_i16(p, row->sensor_id);
    p = field_bytes(p, row->spool_id, WIRE_SPOOL_ID_SIZE);
    p = field_i64(p, (int64_t)row->seq);
    p = field_bytes(p, row->digest, WIRE_SHA256_SIZE);
    p = field_time(p, row->committed_ms);
    p = row->has_windows ? field_time(p, row->first_window_ms) : field_null(p);
    p = row->has_windows ? field_time(p, row->last_window_ms) : field_null(p);
    p = field_i64(p, row->frames);
    p = field_i32(p, (int32_t)row->flows);
    p = field_i32(p, (int32_t)row->floods);
    p = field_i32(p, (int32_t)row->payload_bytes);
    p = field_bytes(p, row->outcome, strlen(row->outcome));
    row_done(b, p);
    return 0;
}

int copy_network(struct copy_buffer *b, const struct network_row *row)
{
    int r = reserve(b, ROW_MAX);
    if (r < 0)
        return r;
    char *p = put_i16(b->p + b->used, 5);
    p = field_i32(p, row->set_id);
    p = field_inet(p, &row->lo);
    p = field_inet(p, &row->hi);
    p = row->has_asn ? field_i64(p, row->asn) : field_null(p);
    p = row->country[0] ? field_bytes(p, row->country, 2) : field_null(p);
    row_done(b, p);
    return 0;
}

int copy_scanner(struct copy_buffer *b, int32_t set_id, const struct ip_addr *lo,
                 const struct ip_addr *hi, const char *name)
{
    int r = reserve(b, ROW_MAX + strlen(name));
    if (r < 0)
        return r;
    char *p = put_i16(b->p + b->used, 4);
    p = field_i32(p, set_id);
    p = field_inet(p, lo);
    p = field_inet(p, hi);
    p = field_bytes(p, name, strlen(name));
    row_done(b, p);
    return 0;
}

int copy_as_name(struct copy_buffer *b, uint32_t asn, const char *name)
{
    int r = reserve(b, ROW_MAX + strlen(name));
    if (r < 0)
        return r;
    char *p = put_i16(b->p + b->used, 2);
    p = field_i64(p, asn);
    p = field_bytes(p, name, strlen(name));
    row_done(b, p);
    return 0;
}
