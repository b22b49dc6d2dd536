#include "collector/export.h"

#include <sodium.h>
#include <string.h>

#include "collector/text.h"
#include "common/bundle.h"
#include "common/wire.h"

#define ROWS_AT_ONCE "1000"

const char *export_value(const struct export *x, enum export_column column)
{
    return PQgetvalue(x->head, 0, (int)column);
}

void export_release(struct export *x)
{
    PQclear(x->head);
    PQclear(x->notice);
    free(x->json);
    case_dir_free(x->dir);
    *x = (struct export){0};
}

int export_begin(struct db *db, struct export *x, struct errmsg *e)
{
    const char *values[] = {x->organisation, x->period};
    int r = db_exec(db, "begin isolation level repeatable read, read only", e);
    if (r == 0)
        r = db_query(db,
                     "select h, hirundo.export_clean(h ->> 'organisation'), h ->> 'tlp', h ->> "
                     "'today', hirundo.export_xarf_missing(h), h ->> 'hosts', "
                     "hirundo.export_clean(h ->> 'contacts') from hirundo.export_head($1, $2) h",
                     2, values, &x->head, e);
    return r == 0 ? case_dir_new(x->out, &x->dir, e) : r;
}

// ---- what sensors are called

struct names {
    struct text ids, pseudonyms; // arrays
};

static void names_release(struct names *n)
{
    text_release(&n->ids);
    text_release(&n->pseudonyms);
}

// No partner is called so, and no name is too long.
static void recipient_of(const char *organisation, char *ret, size_t size)
{
    uint8_t digest[WIRE_SHA256_SIZE];
    char hex[2 * WIRE_SHA256_SIZE + 1];
    wire_sha256((const uint8_t *)organisation, strlen(organisation), digest);
    snprintf(ret, size, "organisation %s", sodium_bin2hex(hex, sizeof hex, digest, sizeof digest));
}

static int name_sensors(struct db *db, const struct export *x, const struct pseudonym_key *key,
                        struct names *ret, struct errmsg *e)
{
    _cleanup_(db_result_freep) PGresult *sensors = NULL;
    char recipient[96], pseudonym[PSEUDONYM_SIZE];
    recipient_of(x->organisation, recipient, sizeof recipient);
    int r = db_query(db, "select sensor_id, name from hirundo.sensor order by sensor_id", 0, NULL,
                     &sensors, e);
    for (int i = 0; r == 0 && i < PQntuples(sensors); i++) {
        r = pseudonym_make(key, recipient, PQgetvalue(sensors, i, 1), pseudonym, e);
        text_array_word(&ret->ids, PQgetvalue(sensors, i, 0));
        text_array_word(&ret->pseudonyms, pseudonym);
    }
    text_array_end(&ret->ids);
    text_array_end(&ret->pseudonyms);
    if (r == 0 && (ret->ids.bad || ret->pseudonyms.bad))
        r = errmsg_set(e, -ENOMEM, "out of memory");
    return r;
}

// ---- files of any length

static int put_lines(struct export *x, const PGresult *lines, struct errmsg *e)
{
    int r = 0;
    for (int i = 0; r == 0 && i < PQntuples(lines); i++) {
        r = case_dir_put(x->dir, PQgetvalue(lines, i, 0), (size_t)PQgetlength(lines, i, 0), e);
        if (r == 0)
            r = case_dir_put(x->dir, "\n", 1, e);
    }
    return r;
}

// A line a row, so many at a time: however many there are, they take no more memory.
static int write_lines(struct db *db, struct export *x, const char *name, const char *declare,
                       int n, const char *const *values, uint64_t headings, struct errmsg *e)
{
    uint64_t rows = 0;
    progress_show(&x->progress, name, 0, 0);
    int r = case_dir_begin(x->dir, name, e);
    if (r == 0)
        r = db_query(db, declare, n, values, NULL, e);
    for (int got = 1; r == 0 && got > 0;) {
        _cleanup_(db_result_freep) PGresult *lines = NULL;
        r = db_query(db, "fetch forward " ROWS_AT_ONCE " from lines", 0, NULL, &lines, e);
        if (r == 0) {
            got = PQntuples(lines);
            rows += (uint64_t)got;
            r = put_lines(x, lines, e);
        }
        if (r == 0)
            r = interrupt_check(x->interrupt, e);
        progress_show(&x->progress, name, rows, 0);
    }
    if (r == 0)
        r = db_exec(db, "close lines", e);
    if (r == 0)
        r = case_dir_end(x->dir, rows - MIN(rows, headings), e);
    if (r != 0)
        errmsg_prefix(e, "%s", name);
    return r;
}

static int write_rows(struct db *db, struct export *x, const struct names *names, struct errmsg *e)
{
    const char *values[] = {x->json, names->ids.p, names->pseudonyms.p};
    int r = 0;
    if (x->formats & EXPORT_CSV)
        r = write_lines(db, x, "sources.csv",
                        "declare lines no scroll cursor for select l from "
                        "hirundo.export_sources($1::jsonb) l",
                        1, values, 1, e);
    if (r == 0 && x->formats & EXPORT_CSV)
        r = write_lines(db, x, "events.csv",
                        "declare lines no scroll cursor for select l from "
                        "hirundo.export_events($1::jsonb, $2::int[], $3::text[]) l",
                        3, values, 1, e);
    if (r == 0 && x->formats & EXPORT_XARF)
        r = write_lines(db, x, "xarf.jsonl",
                        "declare lines no scroll cursor for select l from "
                        "hirundo.export_xarf($1::jsonb, $2::int[], $3::text[]) l",
                        3, values, 0, e);
    return r;
}

// ---- documents

static int write_document(struct db *db, struct export *x, const char *content, const char *lang,
                          bool html, struct errmsg *e)
{
    char name[32];
    _cleanup_(db_result_freep) PGresult *made = NULL;
    const char *values[] = {content, lang, x->formats & EXPORT_CSV ? "true" : "false",
                            x->formats & EXPORT_XARF ? "true" : "false"};
    snprintf(name, sizeof name, "case.%s.%s", lang, html ? "html" : "txt");
    int r = db_query(db,
                     html ? "select hirundo.export_html(hirundo.export_blocks($1::jsonb, $2, "
                            "$3::boolean, $4::boolean), $2)"
                          : "select hirundo.export_text(hirundo.export_blocks($1::jsonb, $2, "
                            "$3::boolean, $4::boolean))",
                     4, values, &made, e);
    if (r == 0)
        r = case_dir_write(x->dir, name, PQgetvalue(made, 0, 0), (size_t)PQgetlength(made, 0, 0),
                           e);
    return r;
}

static int write_documents(struct db *db, struct export *x, struct errmsg *e)
{
    static const char *const languages[] = {"en", "ja"};
    const char *values[] = {x->json};
    _cleanup_(db_result_freep) PGresult *content = NULL;
    progress_show(&x->progress, "summing up", 0, 0);
    int r = db_query(db,
                     "select c, case when (c #>> '{summary,ports}')::int <= 10 then (select "
                     "string_agg(p ->> 0, ',' order by n) from jsonb_array_elements(c -> 'ports') "
                     "with ordinality x(p, n)) end from hirundo.export_case($1::jsonb) c",
                     1, values, &content, e);
    for (size_t i = 0; r == 0 && x->formats & EXPORT_HTML && i < ARRAY_SIZE(languages); i++) {
        r = write_document(db, x, PQgetvalue(content, 0, 0), languages[i], true, e);
        if (r == 0)
            r = write_document(db, x, PQgetvalue(content, 0, 0), languages[i], false, e);
    }
    x->notice = content;
    content = NULL;
    return r;
}

// ---- manifest and signature

static int make_manifest(struct db *db, const struct export *x, PGresult **ret, struct errmsg *e)
{
    size_t n;
    const struct case_file *files = case_dir_files(x->dir, &n);
    struct text names = {0}, sizes = {0}, digests = {0};
    for (size_t i = 0; i < n; i++) {
        text_array_word(&names, files[i].name);
        text_array_int(&sizes, (int64_t)files[i].bytes);
        text_array_word(&digests, files[i].sha256);
    }
    text_array_end(&names);
    text_array_end(&sizes);
    text_array_end(&digests);
    const char *product = "hirundo-collector " HIRUNDO_VERSION;
    const char *values[] = {x->json, product, names.p, sizes.p, digests.p};
    int r = names.bad || sizes.bad || digests.bad
                ? errmsg_set(e, -ENOMEM, "out of memory")
                : db_query(db,
                           "select hirundo.export_manifest($1::jsonb, $2, $3::text[], "
                           "$4::bigint[], $5::text[])",
                           5, values, ret, e);
    text_release(&names);
    text_release(&sizes);
    text_release(&digests);
    return r;
}

static int write_manifest(struct db *db, struct export *x, const struct operator_key *key,
                          struct errmsg *e)
{
    char pem[OPERATOR_PEM_SIZE];
    uint8_t signature[OPERATOR_SIGNATURE_SIZE];
    _cleanup_(db_result_freep) PGresult *manifest = NULL;
    int r = operator_key_public_pem(key, pem, e);
    if (r == 0)
        r = case_dir_write(x->dir, CASE_KEY, pem, strlen(pem), e);
    if (r == 0)
        r = make_manifest(db, x, &manifest, e);
    if (r != 0)
        return r;
    const char *text = PQgetvalue(manifest, 0, 0);
    size_t size = (size_t)PQgetlength(manifest, 0, 0), n;
    r = operator_key_sign(key, text, size, signature, e);
    if (r == 0)
        r = case_dir_write(x->dir, CASE_MANIFEST, text, size, e);
    if (r == 0)
        r = case_dir_write(x->dir, CASE_SIGNATURE, signature, sizeof signature, e);
    if (r == 0) {
        const struct case_file *files = case_dir_files(x->dir, &n);
        snprintf(x->reference, sizeof x->reference, "case %.12s", files[n - 2].sha256);
    }
    return r;
}

static int note_operator(struct db *db, struct export *x, const struct operator_key *key,
                         struct errmsg *e)
{
    uint8_t public_key[OPERATOR_KEY_SIZE];
    char fingerprint[BUNDLE_FINGERPRINT];
    operator_key_public(key, public_key);
    bundle_fingerprint(public_key, fingerprint);
    const char *values[] = {export_value(x, EXPORT_HEAD), fingerprint};
    _cleanup_(db_result_freep) PGresult *result = NULL;
    int r = db_query(db, "select $1::jsonb || jsonb_build_object('operator', $2::text)", 2, values,
                     &result, e);
    if (r == 0 && !(x->json = strdup(PQgetvalue(result, 0, 0))))
        r = errmsg_set(e, -ENOMEM, "out of memory");
    return r;
}

int export_write(struct db *db, struct export *x, const struct operator_key *operator_key,
                 const struct pseudonym_key *key, struct errmsg *e)
{
    struct names names = {0};
    int r = note_operator(db, x, operator_key, e);
    if (r == 0)
        r = name_sensors(db, x, key, &names, e);
    if (r == 0)
        r = write_documents(db, x, e);
    if (r == 0)
        r = write_rows(db, x, &names, e);
    progress_clear(&x->progress);
    if (r == 0)
        r = write_manifest(db, x, operator_key, e);
    if (r == 0)
        r = db_exec(db, "rollback", e);
    if (r == 0)
        r = interrupt_check(x->interrupt, e);
    if (r == 0)
        r = case_dir_finish(x->dir, e);
    names_release(&names);
    return r;
}
