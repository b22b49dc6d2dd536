#include "collector/pseudonym.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sodium.h>
#include <string.h>

#include "common/keys.h"

#define HEX_DIGITS (2 * PSEUDONYM_KEY_SIZE)
// Tells these names from any other use of the key; the zero byte keeps names apart.
#define CONTEXT "hirundo pseudonym 1"

void pseudonym_key_wipe(struct pseudonym_key *key)
{
    sodium_memzero(key, sizeof *key);
}

int pseudonym_key_read(const char *path, struct pseudonym_key *ret, struct errmsg *e)
{
    _cleanup_(closep) int fd = key_file_open(path, e);
    if (fd < 0)
        return fd;
    char text[HEX_DIGITS + 2]; // a newline, and one more to see that there is more
    ssize_t n = read(fd, text, sizeof text);
    size_t used = 0;
    bool ok =
        (n == HEX_DIGITS || (n == HEX_DIGITS + 1 && text[HEX_DIGITS] == '\n')) &&
        sodium_hex2bin(ret->bytes, sizeof ret->bytes, text, HEX_DIGITS, NULL, &used, NULL) == 0 &&
        used == PSEUDONYM_KEY_SIZE;
    sodium_memzero(text, sizeof text);
    if (ok)
        return 0;
    pseudonym_key_wipe(ret);
    return errmsg_set(
        e, -EINVAL, "pseudonym key %s: must be one line of 64 hex digits; restore the file", path);
}

int pseudonym_key_make(const char *path, struct pseudonym_key *ret, struct errmsg *e)
{
    char text[HEX_DIGITS + 2];
    if (RAND_bytes(ret->bytes, sizeof ret->bytes) != 1)
        return errmsg_set(e, -EIO, "OpenSSL makes no random numbers on this machine");
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errmsg_set(e, -errno, "pseudonym key %s: %s%s", path, strerror(errno),
                          errno == ENOENT ? "; make its directory, or name another place with "
                                            "[sharing] pseudonym_key or --pseudonym-key"
                                          : "");
    sodium_bin2hex(text, sizeof text, ret->bytes, sizeof ret->bytes);
    text[HEX_DIGITS] = '\n';
    int r = 0;
    errno = ENOSPC; // what a short write means
    if (write(fd, text, HEX_DIGITS + 1) != HEX_DIGITS + 1 || fsync(fd) < 0) {
        r = errmsg_set(e, -errno, "pseudonym key %s: %s", path, strerror(errno));
        unlink(path);
        pseudonym_key_wipe(ret);
    }
    sodium_memzero(text, sizeof text);
    return r;
}

int pseudonym_make(const struct pseudonym_key *key, const char *partner, const char *sensor,
                   char ret[PSEUDONYM_SIZE], struct errmsg *e)
{
    char message[256];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    int n = snprintf(message, sizeof message, "%s%c%s%c%s", CONTEXT, '\0', partner, '\0', sensor);
    if (n < 0 || (size_t)n >= sizeof message)
        return errmsg_set(e, -ENAMETOOLONG, "sensor %.80s: too long a name", sensor);
    if (!HMAC(EVP_sha256(), key->bytes, sizeof key->bytes, (const unsigned char *)message,
              (size_t)n, digest, &size) ||
        size != 32)
        return errmsg_set(e, -EIO, "OpenSSL computes no HMAC-SHA256 on this machine");
    ret[0] = 's';
    ret[1] = '-';
    sodium_bin2hex(ret + 2, PSEUDONYM_SIZE - 2, digest, (PSEUDONYM_SIZE - 3) / 2);
    return 0;
}
