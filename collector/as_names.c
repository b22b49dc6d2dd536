#include "collector/as_names.h"

#include <iconv.h>
#include <string.h>

#include "collector/prefixes.h"

static bool is_utf8(const char *text)
{
    char out[64], *in = (char *)text;
    size_t left = strlen(text);
    iconv_t cd = iconv_open("UTF-32LE", "UTF-8");
    if (cd == (iconv_t)-1) // NOLINT(performance-no-int-to-ptr): as iconv_open(3) has it
        return false;
    size_t r = 0;
    do {
        char *p = out;
        size_t room = sizeof out;
        r = iconv(cd, &in, &left, &p, &room);
    } while (r == (size_t)-1 && errno == E2BIG);
    iconv_close(cd);
    return r != (size_t)-1;
}

int text_check(const char *text, struct errmsg *e)
{
    return is_utf8(text) ? 0 : errmsg_set(e, -EINVAL, "the text is not UTF-8");
}

int name_check(const char *name, struct errmsg *e)
{
    if (!*name)
        return errmsg_set(e, -EINVAL, "no name");
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            return errmsg_set(e, -EINVAL, "a control character in the name");
    if (!is_utf8(name))
        return errmsg_set(e, -EINVAL, "the name is not UTF-8");
    return 0;
}

int as_names_add(struct as_names *names, uint32_t asn, const char *name, struct errmsg *e)
{
    if (names->n == AS_NAMES_MAX)
        return errmsg_set(e, -E2BIG, "more than %d names", AS_NAMES_MAX);
    if (names->n == names->size) {
        size_t size = names->size ? names->size * 2 : 1024;
        struct as_name *grown = realloc(names->list, size * sizeof *grown);
        if (!grown)
            return errmsg_set(e, -ENOMEM, "out of memory");
        names->list = grown;
        names->size = size;
    }
    char *copy = strdup(name);
    if (!copy)
        return errmsg_set(e, -ENOMEM, "out of memory");
    names->list[names->n] = (struct as_name){.asn = asn, .line = (uint32_t)names->n, .name = copy};
    names->n++;
    return 0;
}

static int by_asn(const void *a, const void *b)
{
    const struct as_name *x = a, *y = b;
    if (x->asn != y->asn)
        return x->asn < y->asn ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

void as_names_sort(struct as_names *names)
{
    size_t kept = 0;
    if (names->n > 0)
        qsort(names->list, names->n, sizeof *names->list, by_asn);
    for (size_t i = 0; i < names->n; i++) {
        if (kept > 0 && names->list[kept - 1].asn == names->list[i].asn)
            free(names->list[--kept].name);
        names->list[kept++] = names->list[i];
    }
    names->n = kept;
}

void as_names_release(struct as_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->list[i].name);
    free(names->list);
    *names = (struct as_names){0};
}

int as_names_parse_line(char *line, uint32_t *ret_asn, const char **ret_name, const char **ret_kind,
                        struct errmsg *e)
{
    line[strcspn(line, "\r")] = '\0';
    if (!*line || *line == '#')
        return PREFIX_SKIP;
    char *tab = strchr(line, '\t');
    *ret_kind = "columns";
    if (!tab)
        return errmsg_set(e, -EINVAL, "one column; there are two, separated by a tab: AS, name");
    *tab = '\0';
    if (strcasecmp(line, "asn") == 0 || strcasecmp(line, "as") == 0)
        return PREFIX_SKIP;
    struct prefix p = {0};
    *ret_kind = "AS number";
    int r = prefix_parse_asn(line, &p, e);
    if (r == 0 && !p.has_asn)
        r = errmsg_set(e, -EINVAL, "no AS number");
    if (r < 0)
        return r;
    *ret_kind = "name";
    r = name_check(tab + 1, e);
    if (r < 0)
        return r;
    *ret_asn = p.asn;
    *ret_name = tab + 1;
    return 0;
}
