#include "collector/csv_table.h"

#include <csv.h>
#include <string.h>

#define FIELDS_MAX 16

// The reader's place: libcsv calls back for each field and each record.
struct csv_table {
    const struct csv_table_format *format;
    csv_table_record_fn record;
    void *context;
    struct csv_parser parser;
    size_t line;               // physical, of what is fed now
    size_t records;            // ended
    size_t record_bytes;       // of the present record, on lines before this one
    size_t quote_line;         // where a quoted field began that has not ended; 0: there is none
    size_t field;              // of the present record
    int column_of[FIELDS_MAX]; // field -> column, -1: ignored
    char *values[CSV_TABLE_COLUMNS_MAX];
    int result;
    struct errmsg *e; // while a line is fed
};

static void clear_values(struct csv_table *t)
{
    for (size_t i = 0; i < t->format->n_columns; i++) {
        free(t->values[i]);
        t->values[i] = NULL;
    }
    t->field = 0;
}

static void on_heading(struct csv_table *t, const char *text)
{
    for (size_t i = 0; i < t->format->n_columns; i++)
        if (strcasecmp(text, t->format->columns[i]) == 0)
            t->column_of[t->field] = (int)i;
}

// A field is not a string: libcsv gives its bytes and their number.
static char *copy_field(const void *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return NULL;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static void on_field(void *data, size_t size, void *context)
{
    struct csv_table *t = context;
    t->quote_line = 0;
    if (t->result == 0 && t->field < FIELDS_MAX) {
        char *text = copy_field(data, size);
        int column = t->column_of[t->field];
        if (!text) {
            t->result = -ENOMEM;
        } else if (t->records == 0) {
            on_heading(t, text);
            free(text);
        } else if (column >= 0 && !t->values[column]) {
            t->values[column] = text;
        } else {
            free(text);
        }
    }
    t->field++;
}

static int check_heading(struct csv_table *t)
{
    size_t there = 0;
    for (size_t i = 0; i < FIELDS_MAX; i++)
        for (size_t column = 0; column < t->format->n_needed; column++)
            if (t->column_of[i] == (int)column) {
                there |= (size_t)1 << column;
                break;
            }
    if (there == ((size_t)1 << t->format->n_needed) - 1)
        return 0;
    return errmsg_set(t->e, -EINVAL, "line %zu: the heading must name the columns %s", t->line,
                      t->format->heading);
}

static void on_record(int end, void *context)
{
    (void)end;
    struct csv_table *t = context;
    if (t->result == 0)
        t->result = t->records == 0 ? check_heading(t) : t->record(t->context, t->line, t->values);
    t->records++;
    t->record_bytes = 0;
    clear_values(t);
}

int csv_table_new(const struct csv_table_format *format, csv_table_record_fn record, void *context,
                  struct csv_table **ret)
{
    struct csv_table *t = calloc(1, sizeof *t);
    if (!t || csv_init(&t->parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
        free(t);
        return -ENOMEM;
    }
    t->format = format;
    t->record = record;
    t->context = context;
    for (size_t i = 0; i < FIELDS_MAX; i++)
        t->column_of[i] = -1;
    *ret = t;
    return 0;
}

void csv_table_free(struct csv_table *t)
{
    if (!t)
        return;
    clear_values(t);
    csv_free(&t->parser);
    free(t);
}

static int say_no_end(const struct csv_table *t, const char *within, struct errmsg *e)
{
    return errmsg_set(e, -EINVAL, "line %zu: a quoted field begins here and has no end%s",
                      t->quote_line, within);
}

// An unended quote takes in line after line: not for ever.
static int check_quote(struct csv_table *t, size_t fed, struct errmsg *e)
{
    if (!t->parser.quoted || t->parser.pstate == 0) // 0: no field has begun
        return 0;
    if (t->quote_line == 0)
        t->quote_line = t->line;
    t->record_bytes += fed + 1;
    if (t->line - t->quote_line >= CSV_TABLE_FIELD_LINES)
        return say_no_end(t, " within 1000 lines", e);
    return t->record_bytes > CSV_TABLE_LINE_MAX ? say_no_end(t, " within 4 MiB", e) : 0;
}

int csv_table_line(struct csv_table *t, const char *text, const struct line *line, struct errmsg *e)
{
    t->line++;
    t->e = e;
    if (line->wrong)
        return errmsg_set(e, -EINVAL, "line %zu: %s", t->line, line->wrong);
    if (csv_parse(&t->parser, text, line->n, on_field, on_record, t) != line->n ||
        csv_parse(&t->parser, "\n", line->ended, on_field, on_record, t) != line->ended)
        return errmsg_set(e, -EINVAL, "line %zu: %s (a quote out of place?)", t->line,
                          csv_strerror(csv_error(&t->parser)));
    return t->result < 0 ? t->result : check_quote(t, line->n, e);
}

void csv_table_skip(struct csv_table *t)
{
    t->line++;
}

int csv_table_end(struct csv_table *t, struct errmsg *e)
{
    t->e = e;
    if (csv_fini(&t->parser, on_field, on_record, t) != 0)
        return say_no_end(t, "", e);
    if (t->result == 0 && t->records == 0)
        return errmsg_set(e, -EINVAL, "empty");
    return t->result;
}

int csv_table_file(struct csv_table *t, FILE *f, struct errmsg *e)
{
    _cleanup_(freep) char *text = malloc(CSV_TABLE_LINE_MAX);
    struct line line;
    if (!text)
        return -ENOMEM;
    while (line_read(f, text, CSV_TABLE_LINE_MAX, &line)) {
        int r = csv_table_line(t, text, &line, e);
        if (r < 0)
            return r;
    }
    if (ferror(f))
        return errmsg_set(e, -EIO, "cannot be read");
    return csv_table_end(t, e);
}
