#include "geo_files.h"

#include <errno.h>
#include <stdio.h>

#include "cleanup.h"
#include "geo.h"
#include "sensors.h"

#define PRIVATE_AS 64512u // RFC 6996

static int finish(FILE *file)
{
    if (fflush(file) != 0 || ferror(file) != 0) {
        return errno != 0 ? -errno : -EIO;
    }
    return 0;
}

static void put_prefix4(FILE *file, uint32_t addr, unsigned len, uint32_t as, const char *country)
{
    (void)fprintf(file, "%u.%u.%u.%u/%u\t", addr >> 24, addr >> 16 & 255, addr >> 8 & 255,
                  addr & 255, len);
    if (as != 0) {
        (void)fprintf(file, "%u", as);
    }
    (void)fprintf(file, "\t%s\n", country);
}

// The blocks of geo.c: every other country has a /16 and, under a covering /10 without an AS, two
// /11 with one each.
static void put_countries(FILE *file)
{
    put_prefix4(file, 0x64700000u, 12, 0, HOME_COUNTRY); // 100.112.0.0/12, allocated
    put_prefix4(file, 0x64700000u, 14, PRIVATE_AS, HOME_COUNTRY);
    put_prefix4(file, 0x64740000u, 14, PRIVATE_AS + 1, HOME_COUNTRY);
    for (int c = COUNTRY_HOME + 1; c < COUNTRY_COUNT; c++) {
        uint32_t base = 0xf0000000u + ((uint32_t)c << 22);
        uint32_t as = PRIVATE_AS + 3 * (uint32_t)c;

        put_prefix4(file, 0x64400000u + ((uint32_t)c << 16), 16, as, country_code(c));
        put_prefix4(file, base, 10, 0, country_code(c));
        put_prefix4(file, base, 11, as + 1, country_code(c));
        put_prefix4(file, base + 0x200000u, 11, as + 2, country_code(c));
    }
}

static void put_countries6(FILE *file)
{
    for (int c = 0; c < COUNTRY_COUNT; c++) {
        (void)fprintf(file, "2001:db8:%x::/40\t%u\t%s\n", 0x4000u + ((unsigned)c << 8),
                      PRIVATE_AS + 3 * (unsigned)c, country_code(c));
    }
}

static void put_sensors(FILE *file)
{
    for (int i = 0; i < SENSOR_COUNT; i++) {
        put_prefix4(file, sensor_addr4(i) & 0xffffff00u, 24, 0, sensor_at(i)->country);
        (void)fprintf(file, "2001:db8:ff00:%x::/64\t\t%s\n",
                      (unsigned)sensor_addr6_high(i) & 0xffff, sensor_at(i)->country);
    }
}

int prefixes_write(const char *path)
{
    _cleanup_(fclosep) FILE *file = fopen(path, "we");

    if (file == NULL) {
        return -errno;
    }
    put_countries(file);
    put_countries6(file);
    put_sensors(file);
    for (int i = 0; i < ORGANISATION_COUNT; i++) {
        const struct organisation *org = organisation_at(i);

        for (int p = 0; p < ORG_PREFIX_MAX && org->prefixes[p] != NULL; p++) {
            (void)fprintf(file, "%s\t%u\t%s\n", org->prefixes[p], org->as, org->country);
        }
    }
    return finish(file);
}

int organisations_write(const char *path)
{
    _cleanup_(fclosep) FILE *file = fopen(path, "we");

    if (file == NULL) {
        return -errno;
    }
    (void)fputs("name,prefixes,contacts,tlp\n", file);
    for (int i = 0; i < ORGANISATION_COUNT; i++) {
        const struct organisation *org = organisation_at(i);

        (void)fprintf(file, "\"%s\",", org->name); // quoted: a name may contain a comma
        for (int p = 0; p < ORG_PREFIX_MAX && org->prefixes[p] != NULL; p++) {
            (void)fprintf(file, "%s%s", p > 0 ? ";" : "", org->prefixes[p]);
        }
        (void)fprintf(file, ",%s,%s\n", org->contact, org->tlp);
    }
    return finish(file);
}

int sensors_write(const struct truth *truth, const char *path)
{
    _cleanup_(fclosep) FILE *file = fopen(path, "we");

    if (file == NULL) {
        return -errno;
    }
    (void)fputs("#code\tcountry\tlabel_en\tlabel_ja\tfiles\n", file);
    for (int i = 0; i < SENSOR_COUNT; i++) {
        const struct sensor *s = sensor_at(i);
        const struct sensor_truth *t = &truth->sensors[i];

        (void)fprintf(file, "%s\t%s\t%s\t%s\t", s->code, s->country, s->label_en, s->label_ja);
        for (size_t f = 0; f < t->file_count; f++) {
            (void)fprintf(file, "%s%s", f > 0 ? "," : "", t->files[f].name);
        }
        (void)fputs("\n", file);
    }
    return finish(file);
}
