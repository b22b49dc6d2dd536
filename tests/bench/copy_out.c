#include "copy_out.h"

#include <errno.h>
#include <string.h>

#include "flow_rows.h"

static void put(FILE *out, uint64_t v, uint32_t size)
{
    uint8_t b[8] = {0};
    for (uint32_t i = 0; i < size; i++)
        b[i] = (uint8_t)(v >> 8 * (size - 1 - i));
    fwrite(b, size, 1, out);
}

static void put_field(FILE *out, uint64_t v, uint32_t size)
{
    put(out, size, 4);
    put(out, v, size);
}

void copy_begin(FILE *out)
{
    static const char head[19] = "PGCOPY\n\377\r\n";
    fwrite(head, sizeof head, 1, out);
}

void copy_row(FILE *out, uint32_t fields)
{
    put(out, fields, 2);
}

void copy_null(FILE *out)
{
    put(out, UINT32_MAX, 4);
}

void copy_bool(FILE *out, bool v)
{
    put_field(out, v, 1);
}

void copy_int2(FILE *out, int32_t v)
{
    put_field(out, (uint64_t)(int64_t)v, 2);
}

void copy_int4(FILE *out, int32_t v)
{
    put_field(out, (uint64_t)(int64_t)v, 4);
}

void copy_int8(FILE *out, int64_t v)
{
    put_field(out, (uint64_t)v, 8);
}

void copy_text(FILE *out, const char *v)
{
    uint32_t n = (uint32_t)strlen(v);
    put(out, n, 4);
    fwrite(v, n, 1, out);
}

void copy_inet(FILE *out, uint64_t source)
{
    bool v6 = source & IPV6_BIT;
    uint32_t size = v6 ? 16 : 4;
    put(out, 4 + size, 4);
    put(out, v6 ? 3 : 2, 1); // PGSQL_AF_INET6, PGSQL_AF_INET
    put(out, (uint64_t)size * 8, 1);
    put(out, 0, 1);
    put(out, size, 1);
    if (v6)
        put(out, UINT64_C(0x20010db8) << 32, 8);
    put(out, source, v6 ? 8 : 4);
}

void copy_varbit(FILE *out, const uint64_t *words, uint32_t bits)
{
    uint32_t bytes = (bits + 7) / 8;
    put(out, 4 + bytes, 4);
    put(out, bits, 4);
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t b = 0;
        for (uint32_t k = i * 8; k < i * 8 + 8 && k < bits; k++)
            b |= (uint8_t)((words[k / 64] >> k % 64 & 1) << (7 - k % 8));
        fwrite(&b, 1, 1, out);
    }
}

int copy_end(FILE *out)
{
    put(out, 0xffff, 2);
    return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
