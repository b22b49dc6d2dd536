// Capture files: pcap in both byte orders, with micro- or nanoseconds, and pcapng.
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>

#include "sensor/capture_internal.h"
#include "sensor/decode.h"

#define READ_BUFFER (64u * 1024u) // stdio's own 4 KiB make sixteen times the system calls

// Why libpcap did not know the file: the two kinds of file people most often try.
static const char *foreign_format(const char *path)
{
    unsigned char magic[8] = {0};
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return NULL; // a pipe's first bytes are gone
    _cleanup_(fclosep) FILE *f = fopen(path, "rbe");
    if (!f || fread(magic, 1, sizeof magic, f) < 2)
        return NULL;
    if (magic[0] == 0x1f && magic[1] == 0x8b)
        return "gzip-compressed; decompress it first (gunzip)";
    if (memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0)
        return "zstd-compressed; decompress it first (unzstd)";
    if (memcmp(magic, "snoop\0\0\0", 8) == 0)
        return "a snoop file, not pcap or pcapng; convert it first (editcap -F pcap)";
    return NULL;
}

static int open_error(const char *path, const char *pcap_error, struct errmsg *e)
{
    const char *foreign = foreign_format(path);
    if (foreign)
        return errmsg_set(e, -ENOTSUP, "%s: %s", path, foreign);
    if (strstr(pcap_error, "unknown file format"))
        return errmsg_set(e, -ENOTSUP, "%s: not a pcap or pcapng file", path);
    return errmsg_set(e, -ENOTSUP, "%s: cannot be read: %s", path, pcap_error);
}

static int check_link_type(const struct capture *c, struct errmsg *e)
{
    int link_type = pcap_datalink(c->pcap);
    if (decode_link_find(link_type))
        return 0;
    const char *name = pcap_datalink_val_to_name(link_type);
    return errmsg_set(e, -EPROTONOSUPPORT, "%s: unsupported link type %d (%s)", c->name, link_type,
                      name ? name : "no name");
}

int capture_open_file(const char *path, struct capture **ret, struct errmsg *e)
{
    _cleanup_(capture_freep) struct capture *c = NULL;
    if (capture_new(path, &c) < 0)
        return errmsg_set(e, -ENOMEM, "%s: no memory", path);
    _cleanup_(fclosep) FILE *f = fopen(path, "rbe");
    if (!f) {
        int r = -errno;
        return errmsg_set(e, r, "%s: %s", path, strerror(-r));
    }
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode))
        return errmsg_set(e, -EISDIR, "%s: a directory, not a capture file", path);
    setvbuf(f, NULL, _IOFBF, READ_BUFFER);
    __fsetlocking(f, FSETLOCKING_BYCALLER); // one thread: no lock for each of two reads a frame
    char pcap_error[PCAP_ERRBUF_SIZE] = "";
    c->pcap = pcap_fopen_offline(f, pcap_error);
    if (!c->pcap)
        return open_error(path, pcap_error, e);
    f = NULL; // libpcap closes it
    // pcapng's is 1
    c->unsigned_seconds = pcap_major_version(c->pcap) == PCAP_VERSION_MAJOR;
    int r = check_link_type(c, e);
    if (r < 0)
        return r;
    *ret = c;
    c = NULL;
    return 0;
}
