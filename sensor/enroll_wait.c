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
#define DAY_S        86400

struct waiting {
    const struct sensor_conf *conf;
    const char *conf_path;
    const struct key_pair *keys;
    int64_t since_ms; // what was committed before is an earlier sensor's, whose spool was here
    bool unseen;      // batches are taken, but no packet was in them
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

// How far this machine's clock is from the collector's; false: it is not, or nobody knows.
static bool clock_words(const struct probe *p, char *ret, size_t size)
{
    if (p->clock_offset_ms <= CLOCK_OFF_MS && p->clock_offset_ms >= -CLOCK_OFF_MS)
        return false;
    long long off_s =
        (long long)(p->clock_offset_ms < 0 ? -p->clock_offset_ms : p->clock_offset_ms) / 1000;
    char days[32] = "";
    if (off_s >= 2 * DAY_S)
        snprintf(days, sizeof days, " (%lld days)", off_s / DAY_S);
    snprintf(ret, size, "%lld s%s %s the collector's", off_s, days,
             p->clock_offset_ms > 0 ? "behind" : "ahead of");
    return true;
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
    char off[96];
    if (clock_words(p, off, sizeof off))
        errmsg_set(e, 0,
                   "approved, but this machine's clock is %s: set it (NTP); more than a day ahead "
                   "is not taken",
                   off);
    else
        errmsg_set(e, 0, "approved and reachable; no window of %lld s is delivered yet",
                   (long long)w->conf->values.window_ms / 1000);
}

// What was put into quarantine is no proof. A clock that is off is the usual reason.
static void explain_aside(const struct probe *p, const struct spool_status *s, struct errmsg *e)
{
    char off[96];
    bool is_off = clock_words(p, off, sizeof off);
    errmsg_set(
        e, 0,
        "collector %s put batch %llu into its quarantine instead of the database (%.160s)%s%s%s; "
        "its owner sees it with hirundo-collector quarantine list",
        p->endpoint, (unsigned long long)s->receipts.aside_seq, s->receipts.aside_reason,
        is_off ? ": this machine's clock is " : "", is_off ? off : "",
        is_off ? ", set it (NTP)" : "");
}

// What is missing, in the order in which a person would mend it. s: NULL: there is no spool.
static void diagnose(struct waiting *w, const struct spool_status *s, struct errmsg *e)
{
    if (try_capture(w, e) < 0)
        return;
    struct probe p;
    int r = probe_collectors(w->conf, w->keys, &p, e);
    if (r < 0)
        return;
    explain_probe(w, &p, e);
    if (p.answer != PROBE_GOOD)
        return;
    if (!s)
        errmsg_set(e, 0, "approved; no sensor runs here yet: start it (hirundo-sensor run -c %s)",
                   w->conf_path);
    else if (s->has_receipts && s->receipts.aside_ms != 0 && s->receipts.aside_ms >= w->since_ms)
        explain_aside(&p, s, e);
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

// Is a batch in the database? An ack alone does not say so: quarantine acknowledges, too.
static bool is_delivered(const struct waiting *w, const struct spool_status *s)
{
    if (!s->has_receipts) // by a sensor of an earlier version, which still runs
        return s->acked_through != 0 && s->last_ack_ms != 0 && s->last_ack_ms >= w->since_ms;
    return s->receipts.taken_ms != 0 && s->receipts.taken_ms >= w->since_ms;
}

// Where another interface than the configured one has the default route; NULL: it is that one, or
// nobody knows.
static const char *other_interface(const struct waiting *w, char ret[64])
{
    const char *configured = w->conf->values.interface;
    bool other = strcmp(configured, "any") != 0 && enroll_default_interface(ret, 64, NULL) == 0 &&
                 strcmp(ret, configured) != 0;
    return other ? ret : NULL;
}

static bool saw_something(const struct waiting *w, const struct spool_status *s)
{
    return !s->has_receipts || s->receipts.seen_ms >= w->since_ms;
}

// What was delivered proves nothing if the key was revoked since.
static bool is_revoked(const struct waiting *w, struct probe *ret)
{
    return probe_collectors(w->conf, w->keys, ret, NULL) >= 0 && ret->answer == PROBE_REVOKED;
}

static void say_enrolled(const struct waiting *w, const struct spool_status *s,
                         const struct probe *p, const char *other)
{
    char text[CLOCK_TEXT], off[96];
    bool noted = s->has_receipts;
    clock_text(noted ? s->receipts.taken_ms : s->last_ack_ms, text);
    fprintf(stderr, "enrolled: collector %s committed batch %llu at %s\n", s->peer,
            (unsigned long long)(noted ? s->receipts.taken_seq : s->acked_through), text);
    if (clock_words(p, off, sizeof off))
        fprintf(stderr,
                "note: this machine's clock is %s: set it (NTP), for its times stand in the "
                "database\n",
                off);
    if (other)
        fprintf(stderr,
                "note: it listens on %s, but this machine's way to the Internet is %s: if that is "
                "not meant, enroll again with --interface %s --replace\n",
                w->conf->values.interface, other, other);
    else if (!saw_something(w, s))
        fprintf(stderr,
                "note: that batch is empty: nothing was seen on %s yet. If last_seen of "
                "hirundo-sensor status stays \"never\", it is the wrong interface\n",
                w->conf->values.interface);
}

// Delivery works; on the interface that was meant, something is seen sooner or later.
static void explain_unseen(struct waiting *w, const struct spool_status *s, const char *other,
                           struct errmsg *e)
{
    w->unseen = true;
    errmsg_set(e, 0,
               "batch %llu is committed, but nothing was seen on %s; this machine's way to the "
               "Internet is %s: enroll again with --interface %s --replace, and restart the sensor",
               (unsigned long long)s->receipts.taken_seq, w->conf->values.interface, other, other);
}

// True: it is enrolled.
static bool look(struct waiting *w)
{
    struct spool_status status;
    struct errmsg why = {""};
    struct probe probe = {0};
    char room[64];
    int found = spool_status_read(w->conf->values.spool_path, &status, NULL);
    w->since_ms = MIN(w->since_ms, wall_ms()); // the clock was set back meanwhile
    w->unseen = false;
    if (found == 0 && is_delivered(w, &status) && !is_revoked(w, &probe)) {
        const char *other = other_interface(w, room);
        if (!other || saw_something(w, &status)) {
            say_enrolled(w, &status, &probe, other);
            return true;
        }
        explain_unseen(w, &status, other, &why);
    } else {
        diagnose(w, found == 0 ? &status : NULL, &why);
    }
    say(w, &why);
    return false;
}

int enroll_wait(const struct sensor_conf *conf, const char *conf_path, const struct key_pair *keys,
                int timeout_s, struct errmsg *e)
{
    struct waiting w = {
        .conf = conf,
        .conf_path = conf_path,
        .keys = keys,
        .since_ms = MAX(written_ms(conf_path), written_ms(conf->values.key)),
    };
    int64_t end = mono_ms() + timeout_s * 1000LL;
    do {
        if (look(&w))
            return 0;
        const struct timespec pause = {LOOK_MS / 1000, LOOK_MS % 1000 * 1000000L};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    } while (mono_ms() < end);
    return w.unseen ? errmsg_set(e, -ETIMEDOUT, "within %d s %s", timeout_s, w.said)
                    : errmsg_set(e, -ETIMEDOUT, "nothing was committed within %d s: %s", timeout_s,
                                 w.said);
}
