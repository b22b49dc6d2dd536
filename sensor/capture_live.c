// A network interface through libpcap's memory-mapped ring.
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sensor/capture_internal.h"
#include "sensor/decode.h"

// How long the kernel keeps a block of the ring that is not full. Longer saves wake-ups. Its timer
// hands a block over when it finds it a second time, so that a frame may wait for two periods.
#define BLOCK_TIMEOUT_MS 250
#define FILTER_TEXT_MAX  32768
static_assert(2 * BLOCK_TIMEOUT_MS < CAPTURE_HOLD_MS, "ends with frames in the ring");

static bool interface_exists(const char *name)
{
    return strcmp(name, "any") == 0 || if_nametoindex(name) != 0;
}

static int activate_error(struct capture *c, int status, struct errmsg *e)
{
    switch (status) {
    case PCAP_ERROR_NO_SUCH_DEVICE:
        return errmsg_set(e, -ENODEV, "interface %s: there is no such interface (see ip link)",
                          c->name);
    case PCAP_ERROR_PERM_DENIED:
    case PCAP_ERROR_PROMISC_PERM_DENIED:
        return errmsg_set(e, -EPERM, "interface %s: no right to capture; CAP_NET_RAW is needed",
                          c->name);
    case PCAP_ERROR_IFACE_NOT_UP:
        return errmsg_set(e, -ENETDOWN, "interface %s: it is down; bring it up (ip link set %s up)",
                          c->name, c->name);
    default:
        return errmsg_set(e, -EIO, "interface %s: %s: %s", c->name, pcap_statustostr(status),
                          pcap_geterr(c->pcap));
    }
}

static int activate(struct capture *c, const struct capture_live_config *config, struct errmsg *e)
{
    pcap_set_snaplen(c->pcap, (int)config->snaplen);
    pcap_set_promisc(c->pcap, 0);
    pcap_set_timeout(c->pcap, BLOCK_TIMEOUT_MS);
    pcap_set_buffer_size(c->pcap, (int)config->ring_bytes);
    int status = pcap_activate(c->pcap);
    if (status < 0)
        return activate_error(c, status, e);
    int link_type = pcap_datalink(c->pcap);
    if (!decode_link_find(link_type))
        return errmsg_set(e, -EPROTONOSUPPORT, "interface %s: unsupported link type %d", c->name,
                          link_type);
    // PCAP_D_IN, never the filter word "inbound", which loses packets silently
    char text[PCAP_ERRBUF_SIZE];
    if (pcap_setdirection(c->pcap, PCAP_D_IN) != 0 || pcap_setnonblock(c->pcap, 1, text) != 0)
        return errmsg_set(e, -EIO, "interface %s: inbound capture is not possible: %s", c->name,
                          pcap_geterr(c->pcap));
    return 0;
}

static int set_filter(struct capture *c, const struct capture_live_config *config, struct errmsg *e)
{
    if (config->n_excludes == 0)
        return 0;
    _cleanup_(freep) char *text = malloc(FILTER_TEXT_MAX);
    if (!text)
        return errmsg_set(e, -ENOMEM, "interface %s: no memory", c->name);
    int r = capture_filter_text(config->excludes, config->n_excludes, pcap_datalink(c->pcap), text,
                                FILTER_TEXT_MAX);
    if (r < 0)
        return errmsg_set(e, r, "interface %s: too many excluded networks", c->name);
    struct bpf_program program;
    if (pcap_compile(c->pcap, &program, text, 1, PCAP_NETMASK_UNKNOWN) != 0)
        return errmsg_set(e, -EINVAL, "interface %s: filter for excluded networks: %s", c->name,
                          pcap_geterr(c->pcap));
    r = pcap_setfilter(c->pcap, &program);
    pcap_freecode(&program);
    if (r != 0)
        return errmsg_set(e, -EIO, "interface %s: filter for excluded networks: %s", c->name,
                          pcap_geterr(c->pcap));
    return 0;
}

int capture_open_live(const struct capture_live_config *config, struct capture **ret,
                      struct errmsg *e)
{
    _cleanup_(capture_freep) struct capture *c = NULL;
    if (capture_new(config->interface, &c) < 0)
        return errmsg_set(e, -ENOMEM, "interface %s: no memory", config->interface);
    char text[PCAP_ERRBUF_SIZE] = "";
    c->pcap = pcap_create(config->interface, text);
    if (!c->pcap)
        return errmsg_set(e, -EIO, "interface %s: %s", config->interface, text);
    int r = activate(c, config, e);
    if (r == 0)
        r = set_filter(c, config, e);
    if (r < 0)
        return r;
    char statistics[128];
    snprintf(statistics, sizeof statistics, "/sys/class/net/%s/statistics", config->interface);
    if_drops_open(statistics, &c->if_drops);
    c->poll_fd = pcap_get_selectable_fd(c->pcap);
    c->break_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->poll_fd < 0 || c->break_fd < 0)
        return errmsg_set(e, -EIO, "interface %s: cannot be waited for", config->interface);
    *ret = c;
    c = NULL;
    return 0;
}

int capture_wait(struct capture *c, int timeout_ms, struct errmsg *e)
{
    struct pollfd fds[] = {
        {.fd = c->poll_fd, .events = POLLIN},
        {.fd = c->break_fd, .events = POLLIN},
    };
    if (poll(fds, ARRAY_SIZE(fds), timeout_ms) < 0) {
        if (errno == EINTR)
            return CAPTURE_BROKEN;
        return errmsg_set(e, -EIO, "interface %s: poll: %s", c->name, strerror(errno));
    }
    if (!fds[1].revents)
        return 0;
    eventfd_t value;
    (void)eventfd_read(c->break_fd, &value);
    return CAPTURE_BROKEN;
}

int capture_live_error(struct capture *c, struct errmsg *e)
{
    if (!interface_exists(c->name))
        return errmsg_set(e, -ENODEV, "interface %s: it vanished while capturing", c->name);
    return errmsg_set(e, -EIO, "interface %s: %s", c->name, pcap_geterr(c->pcap));
}
