#include "common/keys.h"

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#define Z85_LENGTH (KEY_Z85_SIZE - 1)

int key_parse(const char *text, uint8_t ret_key[KEY_SIZE])
{
    size_t length = strlen(text);
    uint8_t key[KEY_SIZE];
    if (length == 2 * KEY_SIZE) {
        size_t used = 0;
        if (sodium_hex2bin(key, sizeof key, text, length, NULL, &used, NULL) < 0 ||
            used != KEY_SIZE)
            return -EINVAL;
    } else if (length != Z85_LENGTH || !zmq_z85_decode(key, text)) {
        return -EINVAL;
    }
    memcpy(ret_key, key, KEY_SIZE);
    sodium_memzero(key, sizeof key);
    return 0;
}

void key_format(const uint8_t key[KEY_SIZE], char ret_text[KEY_Z85_SIZE])
{
    zmq_z85_encode(ret_text, key, KEY_SIZE);
}

void key_write(FILE *out, const char *name, const uint8_t key[KEY_SIZE])
{
    char text[KEY_Z85_SIZE];
    key_format(key, text);
    fprintf(out, "%s = %s\n", name, text);
    sodium_memzero(text, sizeof text);
}

void key_pair_wipe(struct key_pair *pair)
{
    sodium_memzero(pair, sizeof *pair);
}

int key_pair_generate(struct key_pair *ret)
{
    if (sodium_init() < 0)
        return -EIO;
    // What zmq_curve_keypair() does, without its detour over text.
    randombytes_buf(ret->secret_key, KEY_SIZE);
    return crypto_scalarmult_base(ret->public_key, ret->secret_key) == 0 ? 0 : -EIO;
}

// The service manager's directory of this service's credentials (systemd.exec(5)), or NULL.
static const char *credentials(void)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    return directory && directory[0] == '/' ? directory : NULL;
}

static bool in_credentials(const char *path)
{
    const char *directory = credentials();
    size_t n = directory ? strlen(directory) : 0;
    return directory && strncmp(path, directory, n) == 0 && path[n] == '/' &&
           !strchr(path + n + 1, '/');
}

int key_file_place(const char *path, char *ret, size_t size)
{
    const char *directory = credentials(), *slash = strrchr(path, '/');
    int n = -1;
    if (directory) {
        n = snprintf(ret, size, "%s/%s", directory, slash ? slash + 1 : path);
        if (n < 0 || (size_t)n >= size || access(ret, F_OK) < 0)
            n = -1;
    }
    if (n < 0)
        n = snprintf(ret, size, "%s", path);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

// Opens the file only if its mode and owner keep the secret in it secret.
int key_file_open(const char *path, struct errmsg *e)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errmsg_set(e, -errno, "key file %s: %s%s", path, strerror(errno),
                          errno == ENOENT ? "; make one with keygen" : "");
    struct stat st;
    if (fstat(fd, &st) < 0)
        return errmsg_set(e, -errno, "key file %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return errmsg_set(e, -EINVAL, "key file %s: not a regular file", path);
    // A credential's group bits are the mask of the list by which its one reader is let in.
    mode_t others = in_credentials(path) ? 037 : 077;
    if (st.st_mode & others)
        return errmsg_set(e, -EPERM,
                          "key file %s: mode %04o lets others read it; run: chmod 600 %s", path,
                          (unsigned)(st.st_mode & 07777), path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return errmsg_set(e, -EPERM, "key file %s: belongs to user %u, not to this one (%u)", path,
                          (unsigned)st.st_uid, (unsigned)geteuid());
    int moved = fd;
    fd = -1;
    return moved;
}

// "name = Z85" -> 0 and the key; 1: another line; -EINVAL: this line, damaged.
static int parse_line(const char *line, const char *name, uint8_t ret_key[KEY_SIZE])
{
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0)
        return 1;
    line += n;
    line += strspn(line, " \t");
    if (*line++ != '=')
        return 1;
    line += strspn(line, " \t");
    char text[2 * KEY_SIZE + 1];
    size_t length = strcspn(line, " \t\r\n");
    if (length >= sizeof text)
        return -EINVAL;
    memcpy(text, line, length);
    text[length] = '\0';
    int r = key_parse(text, ret_key);
    sodium_memzero(text, sizeof text);
    return r;
}

static int parse_file(FILE *f, const char *path, struct key_pair *pair, struct errmsg *e)
{
    char line[256];
    bool have_public = false, have_secret = false;
    for (int number = 1; fgets(line, sizeof line, f); number++) {
        int p = parse_line(line, "public", pair->public_key);
        int s = p == 1 ? parse_line(line, "secret", pair->secret_key) : 1;
        bool blank = line[strspn(line, " \t\r\n")] == '\0' || line[0] == '#';
        if (p < 0 || s < 0 || (p == 1 && s == 1 && !blank)) {
            sodium_memzero(line, sizeof line);
            return errmsg_set(e, -EINVAL,
                              "key file %s, line %d: expected \"public = KEY\" or \"secret = KEY\" "
                              "with 40 characters of Z85; restore the file or make a new key",
                              path, number);
        }
        have_public |= p == 0;
        have_secret |= s == 0;
    }
    sodium_memzero(line, sizeof line);
    if (!have_public || !have_secret)
        return errmsg_set(e, -EINVAL, "key file %s: has no %s key; restore it or make a new one",
                          path, have_public ? "secret" : "public");
    return 0;
}

int key_file_read(const char *path, struct key_pair *ret, struct errmsg *e)
{
    if (sodium_init() < 0)
        return errmsg_set(e, -EIO, "libsodium does not start on this machine");
    int fd = key_file_open(path, e);
    if (fd < 0)
        return fd;
    _cleanup_(fclosep) FILE *f = fdopen(fd, "r");
    if (!f) {
        close(fd);
        return -ENOMEM;
    }
    setvbuf(f, NULL, _IONBF, 0); // no copy of the secret in a buffer that nobody wipes
    struct key_pair pair;
    int r = parse_file(f, path, &pair, e);
    if (r == 0) {
        uint8_t derived[KEY_SIZE];
        if (crypto_scalarmult_base(derived, pair.secret_key) != 0 ||
            memcmp(derived, pair.public_key, KEY_SIZE) != 0)
            r = errmsg_set(e, -EINVAL, "key file %s: its two keys do not belong together", path);
        else
            *ret = pair;
    }
    key_pair_wipe(&pair);
    return r;
}

int key_file_write(const char *path, const struct key_pair *pair, struct errmsg *e)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errmsg_set(e, -errno, "key file %s: %s%s", path, strerror(errno),
                          errno == EEXIST ? "; a key is never overwritten: move it away first"
                                          : "");
    char public_text[KEY_Z85_SIZE], secret_text[KEY_Z85_SIZE], text[160];
    key_format(pair->public_key, public_text);
    key_format(pair->secret_key, secret_text);
    int n = snprintf(text, sizeof text, "public = %s\nsecret = %s\n", public_text, secret_text);
    int r = 0;
    if (fchmod(fd, 0600) < 0 || write(fd, text, (size_t)n) != n || fsync(fd) < 0) {
        r = errmsg_set(e, errno ? -errno : -EIO, "key file %s: %s", path, strerror(errno));
        unlink(path);
    }
    sodium_memzero(secret_text, sizeof secret_text);
    sodium_memzero(text, sizeof text);
    return r;
}
