// Writes one day's rows of hirundo.flow (see flow_rows.h) as binary COPY to standard output.
//
//   gen_flows SENSORS PACKETS DAY     DAY: days since 2000-01-01 (UTC)
#include <stdlib.h>

#include "copy_out.h"
#include "flow_rows.h"

static void int4_or_null(FILE *out, int32_t v)
{
    if (v < 0)
        copy_null(out);
    else
        copy_int4(out, v);
}

static void write_row(const struct flow_row *row, void *data)
{
    const int32_t wide[] = {row->duration, row->packets, row->bytes,  row->port,   row->src_port,
                            row->window,   row->ip_id,   row->ip_len, row->options};
    const int16_t narrow[] = {row->sensor, row->dst_no, row->proto,
                              row->ttl,    row->flags,  row->marks};
    FILE *out = data;
    copy_row(out, 17);
    copy_int8(out, row->ts);
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        int4_or_null(out, wide[i]);
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
        copy_int2(out, narrow[i]);
    copy_inet(out, row->source);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s SENSORS PACKETS DAY\n", argv[0]);
        return 2;
    }
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    copy_begin(stdout);
    flow_rows((uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]), write_row,
              stdout);
    return copy_end(stdout) == 0 ? 0 : 1;
}
