#include "collector/operator_key.h"

#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#include "common/keys.h"

struct operator_key {
    EVP_PKEY *pair;
    uint8_t public_key[OPERATOR_KEY_SIZE];
};

void operator_key_free(struct operator_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->pair);
    free(k);
}

// Takes the pair over.
static int wrap(EVP_PKEY *pair, const char *path, struct operator_key **ret, struct errmsg *e)
{
    struct operator_key *k = calloc(1, sizeof *k);
    size_t size = OPERATOR_KEY_SIZE;
    if (!k || EVP_PKEY_id(pair) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(pair, k->public_key, &size) != 1 || size != OPERATOR_KEY_SIZE) {
        EVP_PKEY_free(pair);
        free(k);
        return errmsg_set(e, -EINVAL, "operator key %s: not an Ed25519 key", path);
    }
    k->pair = pair;
    *ret = k;
    return 0;
}

int operator_key_read(const char *path, struct operator_key **ret, struct errmsg *e)
{
    _cleanup_(closep) int fd = key_file_open(path, e);
    if (fd < 0)
        return fd;
    _cleanup_(fclosep) FILE *f = fdopen(fd, "r");
    if (!f)
        return errmsg_set(e, -ENOMEM, "out of memory");
    fd = -1;
    setvbuf(f, NULL, _IONBF, 0); // no copy of the secret in a buffer that nobody wipes
    // A pass phrase is asked for on the terminal where the file has one.
    EVP_PKEY *pair = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    if (!pair)
        return errmsg_set(e, -EINVAL,
                          "operator key %s: not a private key in PEM, or the pass phrase is wrong",
                          path);
    return wrap(pair, path, ret, e);
}

static int write_pem(const char *path, EVP_PKEY *pair, struct errmsg *e)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errmsg_set(e, -errno, "operator key %s: %s%s", path, strerror(errno),
                          errno == ENOENT ? "; make its directory, or name another place with "
                                            "[enrolment] operator_key or --operator-key"
                                          : "");
    _cleanup_(fclosep) FILE *f = fdopen(fd, "w");
    if (!f)
        return errmsg_set(e, -ENOMEM, "out of memory");
    fd = -1;
    setvbuf(f, NULL, _IONBF, 0);
    if (PEM_write_PKCS8PrivateKey(f, pair, NULL, NULL, 0, NULL, NULL) != 1 ||
        fsync(fileno(f)) < 0) {
        unlink(path);
        return errmsg_set(e, -EIO, "operator key %s: cannot be written", path);
    }
    return 0;
}

int operator_key_make(const char *path, struct operator_key **ret, struct errmsg *e)
{
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!pair)
        return errmsg_set(e, -EIO, "OpenSSL makes no Ed25519 key on this machine");
    int r = write_pem(path, pair, e);
    if (r < 0) {
        EVP_PKEY_free(pair);
        return r;
    }
    return wrap(pair, path, ret, e);
}

void operator_key_public(const struct operator_key *k, uint8_t ret[OPERATOR_KEY_SIZE])
{
    memcpy(ret, k->public_key, OPERATOR_KEY_SIZE);
}

int operator_key_sign(const struct operator_key *k, const void *data, size_t size,
                      uint8_t ret[OPERATOR_SIGNATURE_SIZE], struct errmsg *e)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t length = OPERATOR_SIGNATURE_SIZE;
    bool signed_ = context && EVP_DigestSignInit(context, NULL, NULL, NULL, k->pair) == 1 &&
                   EVP_DigestSign(context, ret, &length, data, size) == 1 &&
                   length == OPERATOR_SIGNATURE_SIZE;
    EVP_MD_CTX_free(context);
    return signed_ ? 0 : errmsg_set(e, -EIO, "OpenSSL does not sign with this key");
}

int operator_key_public_pem(const struct operator_key *k, char ret[OPERATOR_PEM_SIZE],
                            struct errmsg *e)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int n = -1;
    if (bio && PEM_write_bio_PUBKEY(bio, k->pair) == 1)
        n = BIO_read(bio, ret, OPERATOR_PEM_SIZE - 1);
    BIO_free(bio);
    if (n <= 0)
        return errmsg_set(e, -EIO, "OpenSSL does not write this key's public half");
    ret[n] = '\0';
    return 0;
}

int operator_public_parse(const char *pem, size_t size, uint8_t ret[OPERATOR_KEY_SIZE])
{
    uint8_t key[OPERATOR_KEY_SIZE];
    size_t length = sizeof key;
    BIO *bio = size <= INT_MAX ? BIO_new_mem_buf(pem, (int)size) : NULL;
    EVP_PKEY *pair = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    bool good = pair && EVP_PKEY_id(pair) == EVP_PKEY_ED25519 &&
                EVP_PKEY_get_raw_public_key(pair, key, &length) == 1 && length == sizeof key;
    EVP_PKEY_free(pair);
    BIO_free(bio);
    if (!good)
        return -EINVAL;
    memcpy(ret, key, sizeof key);
    return 0;
}

bool operator_public_verify(const uint8_t key[OPERATOR_KEY_SIZE], const void *data, size_t size,
                            const uint8_t signature[OPERATOR_SIGNATURE_SIZE])
{
    EVP_PKEY *pair = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, OPERATOR_KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = pair && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, pair) == 1 &&
                EVP_DigestVerify(context, signature, OPERATOR_SIGNATURE_SIZE, data, size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
    return good;
}
