// raw_copy CONNINFO FILE: the baseline of the collector's bench. Reads FILE (COPY BINARY of
// hirundo.flow, columns as below) into memory, then sends it as one COPY in one transaction; the
// clock runs from BEGIN to the answer to COMMIT. Prints "SECONDS CPU_SECONDS" of this process.
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define PIECE (256 * 1024)

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *read_file(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "re");
    if (!f || fseek(f, 0, SEEK_END) < 0)
        return NULL;
    long size = ftell(f);
    char *p = malloc((size_t)size + 1);
    rewind(f);
    if (p && fread(p, 1, (size_t)size, f) != (size_t)size) {
        free(p);
        p = NULL;
    }
    fclose(f);
    *ret_size = (size_t)size;
    return p;
}

static bool ask(PGconn *conn, const char *sql, ExecStatusType wanted)
{
    PGresult *result = PQexec(conn, sql);
    bool good = PQresultStatus(result) == wanted;
    PQclear(result);
    return good;
}

static bool copy_all(PGconn *conn, const char *p, size_t size)
{
    if (!ask(conn, "begin", PGRES_COMMAND_OK) ||
        !ask(conn,
             "copy hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, tcp_window, "
             "ip_id, ip_len, options_id, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
             "from stdin (format binary)",
             PGRES_COPY_IN))
        return false;
    for (size_t at = 0; at < size; at += PIECE) {
        size_t n = size - at < PIECE ? size - at : PIECE;
        if (PQputCopyData(conn, p + at, (int)n) != 1)
            return false;
    }
    if (PQputCopyEnd(conn, NULL) != 1)
        return false;
    PGresult *result = PQgetResult(conn);
    bool good = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    while ((result = PQgetResult(conn)))
        PQclear(result);
    return good && ask(conn, "commit", PGRES_COMMAND_OK);
}

int main(int argc, char **argv)
{
    size_t size;
    if (argc != 3) {
        fputs("usage: raw_copy CONNINFO FILE\n", stderr);
        return 2;
    }
    char *p = read_file(argv[2], &size);
    PGconn *conn = PQconnectdb(argv[1]);
    if (!p || PQstatus(conn) != CONNECTION_OK ||
        !ask(conn, "set synchronous_commit = on", PGRES_COMMAND_OK)) {
        fprintf(stderr, "raw_copy: %s\n", p ? PQerrorMessage(conn) : "cannot read the file");
        return EXIT_FAILURE;
    }
    double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    bool good = copy_all(conn, p, size);
    double took = seconds(CLOCK_MONOTONIC) - start;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (good)
        printf("%.6f %.6f\n", took, cpu);
    else
        fprintf(stderr, "raw_copy: %s\n", PQerrorMessage(conn));
    PQfinish(conn);
    free(p);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
