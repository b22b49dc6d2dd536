// Prefixes from text, and flattened against a plain search.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/prefixes.h"
#include "collector/scanners.h"
#include "tests/unit/rand_batch.h"

static void test_lines(void **state)
{
    static const struct {
        const char *line;
        int result;
        const char *why; // what the message holds
    } cases[] = {
        {"192.0.2.0/24\t64500\tJP", 0, ""},
        {"192.0.2.0/24\tAS64500\tjp\r", 0, ""},
        {"192.0.2.0/24\t\t", 0, ""},
        {"192.0.2.0/24", 0, ""},
        {"0.0.0.0/0\t4294967295\tJP", 0, ""},
        {"2001:db8::/32\t1\tJP", 0, ""},
        {"::/0\t1\t", 0, ""},
        {"2001:db8::1/128\t1\tJP", 0, ""},
        {"", PREFIX_SKIP, ""},
        {"# comment", PREFIX_SKIP, ""},
        {"prefix\tasn\tcountry", PREFIX_SKIP, ""},
        {"192.0.2.0/33\t1\tJP", -EINVAL, "not a prefix"},
        {"192.0.2.0/\t1\tJP", -EINVAL, "not a prefix"},
        {"192.0.2.0/-1\t1\tJP", -EINVAL, "not a prefix"},
        {"192.0.2.0/24x\t1\tJP", -EINVAL, "not a prefix"},
        {"192.0.2/24\t1\tJP", -EINVAL, "not a prefix"},
        {"192.0.2.0\t1\tJP", -EINVAL, "not a prefix"},
        {"2001:db8::/129\t1\tJP", -EINVAL, "not a prefix"},
        {"192.0.2.1/24\t1\tJP", -EINVAL, "bits set"},
        {"2001:db8::1/64\t1\tJP", -EINVAL, "bits set"},
        {"192.0.2.0/24\t4294967296\tJP", -EINVAL, "AS number"},
        {"192.0.2.0/24\t1_2\tJP", -EINVAL, "AS number"},
        {"192.0.2.0/24\t-1\tJP", -EINVAL, "AS number"},
        {"192.0.2.0/24\t1\tJPN", -EINVAL, "country"},
        {"192.0.2.0/24\t1\t??", -EINVAL, "country"},
        {"192.0.2.0/24\t1\tJP\tmore", -EINVAL, "4 columns"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char line[128];
        struct prefix p;
        struct errmsg e = {""};
        snprintf(line, sizeof line, "%s", cases[i].line);
        const char *kind;
        int r = prefix_parse_line(line, &p, &kind, &e);
        if (r != cases[i].result || !strstr(e.text, cases[i].why))
            fail_msg("\"%s\": %d \"%s\"", cases[i].line, r, e.text);
    }
}

static struct prefix made(const char *text, uint32_t asn, uint32_t line)
{
    struct prefix p;
    assert_int_equal(prefix_parse(text, &p, NULL), 0);
    p.has_asn = true;
    p.asn = asn;
    p.line = line;
    return p;
}

static void assert_range(const struct range *r, uint8_t lo, uint8_t hi, uint32_t asn)
{
    assert_int_equal(r->lo.b[3], lo);
    assert_int_equal(r->hi.b[3], hi);
    assert_int_equal(r->asn, asn);
}

static void test_nested(void **state)
{
    (void)state;
    struct prefix p[] = {
        made("192.0.2.64/26", 2, 1),  made("192.0.2.0/24", 1, 2),   made("192.0.2.96/27", 3, 3),
        made("192.0.2.127/32", 4, 4), made("192.0.2.128/25", 1, 5), made("192.0.2.64/26", 9, 6),
    };
    struct flattened flat;
    assert_int_equal(prefixes_flatten(p, ARRAY_SIZE(p), &flat), 0);
    assert_int_equal(flat.duplicates, 1);
    assert_int_equal(flat.n, 5);
    assert_range(&flat.ranges[0], 0, 63, 1);
    assert_range(&flat.ranges[1], 64, 95, 9); // the last of equal ones
    assert_range(&flat.ranges[2], 96, 126, 3);
    assert_range(&flat.ranges[3], 127, 127, 4);
    assert_range(&flat.ranges[4], 128, 255, 1);
    free(flat.ranges);
}

static void test_ends_of_the_address_space(void **state)
{
    (void)state;
    struct prefix p[] = {
        made("::/0", 1, 1),      made("0.0.0.0/0", 2, 2), made("255.255.255.255/32", 3, 3),
        made("ffff::/16", 4, 4), made("::/128", 5, 5),
    };
    struct flattened flat;
    assert_int_equal(prefixes_flatten(p, ARRAY_SIZE(p), &flat), 0);
    assert_int_equal(flat.n, 5);
    const uint32_t order[] = {2, 3, 5, 1, 4};
    for (size_t i = 0; i < flat.n; i++)
        assert_int_equal(flat.ranges[i].asn, order[i]);
    static const uint8_t ones[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255};
    assert_memory_equal(flat.ranges[4].hi.b, ones, 16);
    assert_int_equal(flat.ranges[3].lo.b[15], 1);
    free(flat.ranges);
}

static void test_nothing(void **state)
{
    (void)state;
    struct flattened flat;
    assert_int_equal(prefixes_flatten(NULL, 0, &flat), 0);
    assert_int_equal(flat.n, 0);
    free(flat.ranges);
}

// In a space of 256 addresses: what the ranges say of each address is what the longest prefix says.
static void test_random_against_search(void **state)
{
    (void)state;
    struct rand_source source = {11};
    for (int run = 0; run < 2000; run++) {
        struct prefix p[24], sorted[24];
        size_t n = 1 + rand_below(&source, ARRAY_SIZE(p));
        for (size_t i = 0; i < n; i++) {
            char text[32];
            unsigned length = 24 + rand_below(&source, 9);
            unsigned last = rand_below(&source, 256) & (0xff00u >> (length - 24)) & 0xff;
            snprintf(text, sizeof text, "10.0.0.%u/%u", last, length);
            p[i] = made(text, rand_below(&source, 3), (uint32_t)i);
        }
        memcpy(sorted, p, sizeof p);
        struct flattened flat;
        assert_int_equal(prefixes_flatten(sorted, n, &flat), 0);
        size_t at = 0;
        for (unsigned a = 0; a < 256; a++) {
            const struct prefix *best = NULL;
            for (size_t i = 0; i < n; i++) {
                unsigned size = 1u << (32 - p[i].length);
                if (a - p[i].address.b[3] < size && (!best || p[i].length >= best->length))
                    best = &p[i];
            }
            while (at < flat.n && flat.ranges[at].hi.b[3] < a)
                at++;
            bool inside = at < flat.n && flat.ranges[at].lo.b[3] <= a;
            assert_int_equal(inside, best != NULL);
            if (best)
                assert_int_equal(flat.ranges[at].asn, best->asn);
        }
        for (size_t i = 1; i < flat.n;
             i++) // disjoint, ascending, merged where neighbours say the same
            assert_true(flat.ranges[i].lo.b[3] > flat.ranges[i - 1].hi.b[3] + 1 ||
                        (flat.ranges[i].lo.b[3] == flat.ranges[i - 1].hi.b[3] + 1 &&
                         flat.ranges[i].asn != flat.ranges[i - 1].asn));
        free(flat.ranges);
    }
}

// What the ranges say of 10.0.0.a; NULL: nothing.
static const struct range *at(const struct flattened *f, unsigned a)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->ranges[i].lo.b[3] <= a && a <= f->ranges[i].hi.b[3])
            return &f->ranges[i];
    return NULL;
}

static void make_ranges(struct rand_source *source, struct flattened *ret)
{
    struct prefix p[8];
    size_t n = rand_below(source, ARRAY_SIZE(p));
    for (size_t i = 0; i < n; i++) {
        char text[32];
        unsigned length = 24 + rand_below(source, 9);
        snprintf(text, sizeof text, "10.0.0.%u/%u",
                 rand_below(source, 256) & (0xff00u >> (length - 24)) & 0xff, length);
        p[i] = made(text, rand_below(source, 2), (uint32_t)i);
        p[i].has_asn = rand_below(source, 2);
        p[i].asn *= p[i].has_asn;
        if (rand_below(source, 2))
            prefix_parse_country(rand_below(source, 2) ? "JP" : "TW", &p[i], NULL);
    }
    assert_int_equal(prefixes_flatten(p, n, ret), 0);
}

static void test_overlay_against_search(void **state)
{
    (void)state;
    struct rand_source source = {12};
    for (int run = 0; run < 3000; run++) {
        struct flattened over, under, both;
        make_ranges(&source, &over);
        make_ranges(&source, &under);
        assert_int_equal(ranges_overlay(&over, &under, &both), 0);
        for (unsigned a = 0; a < 256; a++) {
            const struct range *x = at(&over, a), *y = at(&under, a), *r = at(&both, a);
            assert_int_equal(r != NULL, x || y);
            if (!r)
                continue;
            const struct range *asn = x && x->has_asn ? x : y;
            const struct range *country = x && x->country[0] ? x : y;
            assert_int_equal(r->has_asn, asn && asn->has_asn);
            assert_int_equal(r->asn, asn ? asn->asn : 0);
            assert_memory_equal(r->country, country ? country->country : "\0", 2);
        }
        for (size_t i = 1; i < both.n; i++)
            assert_true(both.ranges[i].lo.b[3] > both.ranges[i - 1].hi.b[3]);
        flattened_release(&over);
        flattened_release(&under);
        flattened_release(&both);
    }
}

static void test_overlay_at_the_ends(void **state)
{
    (void)state;
    struct prefix a[] = {made("0.0.0.0/0", 1, 1), made("ffff::/16", 4, 2)};
    struct prefix b[] = {made("::/0", 2, 1), made("255.255.255.255/32", 3, 2)};
    prefix_parse_country("JP", &b[0], NULL);
    prefix_parse_country("TW", &b[1], NULL);
    struct flattened over, under, both;
    assert_int_equal(prefixes_flatten(a, 2, &over), 0);
    assert_int_equal(prefixes_flatten(b, 2, &under), 0);
    assert_int_equal(ranges_overlay(&over, &under, &both), 0);
    assert_int_equal(both.n, 4);
    static const struct {
        uint32_t asn;
        const char *country;
    } said[] = {{1, "\0"}, {1, "TW"}, {2, "JP"}, {4, "JP"}};
    for (size_t i = 0; i < both.n; i++) {
        assert_int_equal(both.ranges[i].asn, said[i].asn);
        assert_memory_equal(both.ranges[i].country, said[i].country, 2);
    }
    assert_int_equal(both.ranges[3].hi.b[15], 255);
    flattened_release(&over);
    flattened_release(&under);
    flattened_release(&both);
}

static void test_addresses_without_a_length(void **state)
{
    (void)state;
    struct prefix p;
    struct errmsg e;
    assert_int_equal(prefix_parse_address("192.0.2.1", &p, NULL), 0);
    assert_int_equal(p.length, 32);
    assert_int_equal(prefix_parse_address("2001:db8::1", &p, NULL), 0);
    assert_int_equal(p.length, 128);
    assert_int_equal(prefix_parse_address("192.0.2.0/24", &p, NULL), 0);
    assert_int_equal(p.length, 24);
    assert_int_equal(prefix_parse_address("example.com", &p, &e), -EINVAL);
    assert_int_equal(prefix_parse_address("", &p, &e), -EINVAL);
}

static void test_names_of_lists(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/a/b.c/censys_v4.txt", "censys"},
        {"censys_v6.txt", "censys"},
        {"onyphe.list.txt", "onyphe"},
        {"_v4.txt", "_v4"},
        {"v4", "v4"},
    };
    char name[SCANNER_NAME_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(scanners_name(cases[i][0], name), 0);
        assert_string_equal(name, cases[i][1]);
    }
    assert_int_equal(scanners_name("a/", name), -EINVAL);
    assert_int_equal(scanners_name(".txt", name), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_ends_of_the_address_space),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_random_against_search),
        cmocka_unit_test(test_overlay_against_search),
        cmocka_unit_test(test_overlay_at_the_ends),
        cmocka_unit_test(test_addresses_without_a_length),
        cmocka_unit_test(test_names_of_lists),
    };
    return cmocka_run_group_tests_name("prefixes", tests, NULL, NULL);
}
