#include "collector/case_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "collector/part_dir.h"
#include "common/clock.h"

struct case_dir {
    char out[PATH_MAX];
    struct part_dir part; // its path "" once it is in its place
    struct case_file files[CASE_FILES_MAX];
    size_t n;
    FILE *f; // of files[n]
    EVP_MD_CTX *digest;
    int64_t begun_ms;
};

bool case_name_is_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= CASE_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int fail(const struct case_dir *dir, const char *name, struct errmsg *e)
{
    int r = errno ? -errno : -EIO;
    return errmsg_set(e, r, "%s%s%s: %s", dir->out, *name ? "/" : "", name, strerror(-r));
}

// Nothing is ever written over: it may be another case's.
static int check_out(const struct case_dir *dir, struct errmsg *e)
{
    DIR *d = opendir(dir->out);
    if (!d)
        return errno == ENOENT ? 0 : fail(dir, "", e);
    struct dirent *entry;
    do
        entry = readdir(d);
    while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    closedir(d);
    if (entry)
        return errmsg_set(
            e, -ENOTEMPTY,
            "%s is not empty: name a directory that is not there yet, or an empty one", dir->out);
    return 0;
}

// What an export calls its files: others are not taken for what a killed one left.
static bool is_of_a_case(const char *name)
{
    static const char *const names[] = {
        "case.en.html", "case.en.txt", "case.ja.html", "case.ja.txt", "sources.csv",
        "events.csv",   "xarf.jsonl",  CASE_KEY,       CASE_MANIFEST, CASE_SIGNATURE};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

int case_dir_new(const char *out, struct case_dir **ret, struct errmsg *e)
{
    _cleanup_(case_dir_freep) struct case_dir *dir = calloc(1, sizeof *dir);
    if (!dir)
        return errmsg_set(e, -ENOMEM, "out of memory");
    dir->part.fd = -1;
    int r = part_dir_target(out, dir->out, e);
    if (r < 0)
        return r;
    dir->digest = EVP_MD_CTX_new();
    if (!dir->digest)
        return errmsg_set(e, -ENOMEM, "out of memory");
    r = check_out(dir, e);
    if (r == 0)
        r = part_dir_new(dir->out, ".part", is_of_a_case, &dir->part, e);
    if (r < 0)
        return r;
    *ret = dir;
    dir = NULL;
    return 0;
}

void case_dir_free(struct case_dir *dir)
{
    if (!dir)
        return;
    if (dir->f)
        fclose(dir->f);
    part_dir_release(&dir->part);
    EVP_MD_CTX_free(dir->digest);
    free(dir);
}

int case_dir_begin(struct case_dir *dir, const char *name, struct errmsg *e)
{
    if (dir->f || dir->n == CASE_FILES_MAX || !case_name_is_valid(name))
        return errmsg_set(e, -EINVAL, "%s/%s: cannot be begun", dir->out, name);
    struct case_file *file = &dir->files[dir->n];
    *file = (struct case_file){0};
    dir->begun_ms = mono_ms();
    int fd = openat(dir->part.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(dir, name, e);
    snprintf(file->name, sizeof file->name, "%s", name);
    dir->f = fdopen(fd, "w");
    if (!dir->f) {
        close(fd);
        return errmsg_set(e, -ENOMEM, "out of memory");
    }
    if (EVP_DigestInit_ex2(dir->digest, EVP_sha256(), NULL) != 1)
        return errmsg_set(e, -EIO, "OpenSSL computes no SHA-256 on this machine");
    return 0;
}

int case_dir_put(struct case_dir *dir, const void *data, size_t size, struct errmsg *e)
{
    struct case_file *file = &dir->files[dir->n];
    errno = 0;
    if (fwrite(data, 1, size, dir->f) != size)
        return fail(dir, file->name, e);
    if (EVP_DigestUpdate(dir->digest, data, size) != 1)
        return errmsg_set(e, -EIO, "OpenSSL computes no SHA-256 on this machine");
    file->bytes += size;
    return 0;
}

int case_dir_end(struct case_dir *dir, uint64_t rows, struct errmsg *e)
{
    struct case_file *file = &dir->files[dir->n];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    errno = 0;
    bool bad = fflush(dir->f) != 0 || fsync(fileno(dir->f)) < 0;
    int r = bad ? fail(dir, file->name, e) : 0;
    fclose(dir->f);
    dir->f = NULL;
    if (r < 0)
        return r;
    if (EVP_DigestFinal_ex(dir->digest, digest, &size) != 1 || 2 * size >= sizeof file->sha256)
        return errmsg_set(e, -EIO, "OpenSSL computes no SHA-256 on this machine");
    sodium_bin2hex(file->sha256, sizeof file->sha256, digest, size);
    file->rows = rows;
    file->ms = mono_ms() - dir->begun_ms;
    dir->n++;
    return 0;
}

int case_dir_write(struct case_dir *dir, const char *name, const void *data, size_t size,
                   struct errmsg *e)
{
    int r = case_dir_begin(dir, name, e);
    if (r == 0)
        r = case_dir_put(dir, data, size, e);
    return r == 0 ? case_dir_end(dir, 0, e) : r;
}

const struct case_file *case_dir_files(const struct case_dir *dir, size_t *ret_n)
{
    *ret_n = dir->n;
    return dir->files;
}

int case_dir_finish(struct case_dir *dir, struct errmsg *e)
{
    // an empty directory of that name gives way
    if (fsync(dir->part.fd) < 0 || rename(dir->part.path, dir->out) < 0)
        return fail(dir, "", e);
    dir->part.path[0] = '\0';
    return 0;
}
