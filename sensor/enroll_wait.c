#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/clock.h"
#include "sensor/capture.h"
#include "sensor/enroll.h"
#include "sensor/probe.h"
#include "sensor/spool.h"

#define LOOK_MS      2000  // between two looks
#define PROBE_MS     12000 // for one collector to answer
#define CLOCK_OFF_MS 5000  // more than that is worth a word

struct waiting {
    const struct sensor_conf *conf;
    const char *conf_path;
    const struct key_pair *keys;
    char said[512];
};

// Can the interface be listened on from here? Somebody without the right to capture cannot tell.
static int try_capture(const struct waiting *w, struct errmsg *e)
{
    const struct sensor_conf *c = w->conf;
    struct capture_live_config config = {
        .interface = c->values.interface,
        .snaplen = CAPTURE_SNAPLEN_MIN,
        .ring_bytes = CAPTURE_RING_MIN,
        .excludes = c->excludes,
        .n_excludes = c->n_excludes,
    };
    _cleanup_(capture_freep) struct capture *capture = NULL;
    return capture_open_live(&config, &capture, e);
}

static void explain_probe(const struct waiting *w, const struct probe *p, struct errmsg *e)
{
    const char *endpoint = p->endpoint;
    switch (p->answer) {
    case PROBE_UNREACHABLE:
        errmsg_set(
            e, 0,
            "collector %s cannot be reached: a wrong address or port, a firewall on the way, "
            "or the collector is down",
            endpoint);
        return;
    case PROBE_REVOKED:
        errmsg_set(e, 0,
                   "collector %s has revoked this machine's key: its owner adds the machine anew "
                   "under another name; before that bundle, move the key file %s away",
                   endpoint, w->conf->values.key);
        return;
    case PROBE_REFUSED:
        errmsg_set(e, 0,
                   "not approved yet: the collector's owner runs hirundo-collector sensor approve "
                   "with the request above (or this is not the collector the bundle was made for)");
        return;
    case PROBE_SILENT:
        errmsg_set(e, 0, "collector %s lets this sensor in but does not answer", endpoint);
        return;
    case PROBE_NO_DATABASE:
        errmsg_set(e, 0, "approved; collector %s has no database at the moment", endpoint);
        return;
    case PROBE_GOOD:
        break;
    }
    if (p->clock_offset_ms > CLOCK_OFF_MS || p->clock_offset_ms < -CLOCK_OFF_MS)
        errmsg_set(e, 0,
                   "approved, but this machine's clock is %lld s %s the collector's: set it (NTP); "
                   "more than a day ahead is not taken",
                   (long long)(p->clock_offset_ms < 0 ? -p->clock_offset_ms : p->clock_offset_ms) /
                       1000,
                   p->clock_offset_ms > 0 ? "behind" : "ahead of");
    else
        errmsg_set(e, 0, "approved and reachable; no window of %lld s is delivered yet",
                   (long long)w->conf->values.window_ms / 1000);
}

// What is missing, in the order in which a person would mend it.
static void diagnose(struct waiting *w, bool has_spool, struct errmsg *e)
{
    if (try_capture(w, e) < 0)
        return;
    struct probe p;
    int r = probe_collectors(w->conf, w->keys, &p, e);
    if (r < 0)
        return;
    explain_probe(w, &p, e);
    if (p.answer == PROBE_GOOD && !has_spool)
        errmsg_set(e, 0, "approved; no sensor runs here yet: start it (hirundo-sensor run -c %s)",
                   w->conf_path);
}

static void say(struct waiting *w, const struct errmsg *e)
{
    if (strcmp(w->said, e->text) == 0)
        return;
    memcpy(w->said, e->text, sizeof w->said);
    fprintf(stderr, "waiting: %s\n", e->text);
}

// 0: there is no such file.
static int64_t written_ms(const char *path)
{
    struct stat st;
    return stat(path, &st) < 0 ? 0 : st.st_mtim.tv_sec * 1000LL + st.st_mtim.tv_nsec / 1000000;
}

// since_ms: what was committed before is an earlier sensor's, whose spool was here.
static bool is_delivered(const struct spool_status *s, int64_t since_ms)
{
    return s->acked_through != 0 && s->last_ack_ms != 0 && s->last_ack_ms >= since_ms;
}

// What was delivered proves nothing if the key was revoked since.
static bool is_revoked(const struct waiting *w)
{
    struct probe p;
    return probe_collectors(w->conf, w->keys, &p, NULL) >= 0 && p.answer == PROBE_REVOKED;
}

static void say_enrolled(const struct waiting *w, const struct spool_status *s)
{
    char text[CLOCK_TEXT], interface[64];
    clock_text(s->last_ack_ms, text);
    fprintf(stderr, "enrolled: collector %s committed batch %llu at %s\n", s->peer,
            (unsigned long long)s->acked_through, text);
    if (strcmp(w->conf->values.interface, "any") != 0 &&
        enroll_default_interface(interface, sizeof interface, NULL) == 0 &&
        strcmp(interface, w->conf->values.interface) != 0)
        fprintf(stderr,
                "note: it listens on %s, but this machine's way to the Internet is %s: if that is "
                "not meant, enroll again with --interface %s --replace\n",
                w->conf->values.interface, interface, interface);
}

int enroll_wait(const struct sensor_conf *conf, const char *conf_path, const struct key_pair *keys,
                int timeout_s, struct errmsg *e)
{
    struct waiting w = {.conf = conf, .conf_path = conf_path, .keys = keys};
    int64_t end = mono_ms() + timeout_s * 1000LL;
    int64_t since = MAX(written_ms(conf_path), written_ms(conf->values.key));
    do {
        struct spool_status status;
        struct errmsg why = {""};
        int found = spool_status_read(conf->values.spool_path, &status, NULL);
        since = MIN(since, wall_ms()); // the clock was set back meanwhile
        if (found == 0 && is_delivered(&status, since) && !is_revoked(&w)) {
            say_enrolled(&w, &status);
            return 0;
        }
        diagnose(&w, found == 0, &why);
        say(&w, &why);
        const struct timespec pause = {LOOK_MS / 1000, LOOK_MS % 1000 * 1000000L};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    } while (mono_ms() < end);
    return errmsg_set(e, -ETIMEDOUT, "nothing was committed within %d s: %s", timeout_s, w.said);
}
