#include "collector/zap.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <zmq.h>

#include "collector/frames.h"
#include "collector/quiet.h"
#include "collector/visits.h"
#include "common/clock.h"
#include "common/log.h"

#define STOP_ENDPOINT "inproc://hirundo.zap.stop"
#define FRAME_MAX     256
#define FRAMES        7 // version, request id, domain, address, identity, mechanism, credentials

#define PULSE_MS 250

#define VISITS_SHOWN 5 // within a minute, in a log of level info

struct zap {
    struct keyring *keyring;
    struct strangers *strangers;
    struct guests *guests;
    void *requests; // REP
    void *stop;     // PAIR, ours
    void *stopped;  // PAIR, the thread's
    pthread_t thread;
    struct pulse pulse;
    atomic_ullong refused;
    atomic_bool open; // who is refused now is a stranger, not the self-test
    struct quiet unknown, known, restless;
    struct visits visits[INT16_MAX + 1]; // by sensor; untouched pages cost nothing
};

struct frame {
    size_t size;
    uint8_t bytes[FRAME_MAX];
};

static int receive_frame(void *socket, struct frame *ret, bool *ret_more)
{
    zmq_msg_t m;
    zmq_msg_init(&m);
    int r = frames_receive_more(&m, socket) < 0 ? -errno : 0;
    if (r == 0) {
        ret->size = MIN(zmq_msg_size(&m), sizeof ret->bytes);
        memcpy(ret->bytes, zmq_msg_data(&m), ret->size);
        *ret_more = zmq_msg_more(&m);
    }
    zmq_msg_close(&m);
    return r;
}

// One request: *ret_n frames of it, those beyond FRAMES read and dropped.
static int receive(void *socket, struct frame frames[FRAMES], size_t *ret_n)
{
    bool more = true;
    size_t n = 0;
    for (; more; n++) {
        struct frame scratch;
        int r = receive_frame(socket, n < FRAMES ? &frames[n] : &scratch, &more);
        if (r < 0)
            return r;
    }
    *ret_n = n;
    return 0;
}

static bool is_text(const struct frame *f, const char *text)
{
    return f->size == strlen(text) && memcmp(f->bytes, text, f->size) == 0;
}

static uint8_t *put(uint8_t *p, const void *data, size_t size)
{
    memcpy(p, data, size);
    return p + size;
}

// Metadata of a reply: name length, name, value length (4 bytes, network order), value.
static size_t put_metadata(uint8_t *p, const char *name, const char *value)
{
    const uint8_t name_size = (uint8_t)strlen(name), value_size = (uint8_t)strlen(value);
    const uint8_t length[] = {0, 0, 0, value_size};
    uint8_t *end = put(put(p, &name_size, 1), name, name_size);
    end = put(put(end, length, sizeof length), value, value_size);
    return (size_t)(end - p);
}

// ---- one request

struct asker {
    enum keyring_state state;
    bool has_key; // a request as it should be
    uint8_t key[KEY_SIZE];
    char text[KEY_Z85_SIZE]; // the same
    int16_t sensor_id;
    char name[KEYRING_NAME_MAX];
    char address[64];
};

static void look(struct zap *z, const struct frame frames[FRAMES], size_t n, struct asker *ret)
{
    *ret = (struct asker){.state = KEYRING_UNKNOWN};
    if (n > 3)
        snprintf(ret->address, sizeof ret->address, "%.*s", (int)frames[3].size,
                 (const char *)frames[3].bytes);
    ret->has_key = n == FRAMES && is_text(&frames[0], "1.0") && is_text(&frames[2], ZAP_DOMAIN) &&
                   is_text(&frames[5], "CURVE") && frames[6].size == KEY_SIZE;
    if (!ret->has_key)
        return;
    memcpy(ret->key, frames[6].bytes, KEY_SIZE);
    key_format(ret->key, ret->text);
    ret->state = keyring_look(z->keyring, ret->text, &ret->sensor_id, ret->name);
}

// A sensor with a good key. False: it comes again and again, and is not let in for now.
static bool welcome(struct zap *z, const struct asker *a)
{
    int64_t now = mono_ms();
    struct visits *v = &z->visits[a->sensor_id < 0 ? 0 : a->sensor_id];
    char more[QUIET_MORE_MAX];
    keyring_note_used(z->keyring, a->key);
    if (!visits_allow(v, now)) {
        if (quiet_allows(&z->restless, a->name, now, more))
            log_warning("sensor %s connected %u times within a minute, last from %s, and is not "
                        "let in until the minute is over: its connections break at once. A bad "
                        "network, two machines with one key, or no hirundo-sensor; if it is not "
                        "yours: hirundo-collector sensor revoke %s%s",
                        a->name, v->n, a->address, a->name, more);
        atomic_fetch_add(&z->refused, 1);
        return false;
    }
    if (v->n <= VISITS_SHOWN)
        log_info("sensor %s connects from %s", a->name, a->address);
    guests_let_in(z->guests, a->address, a->name, now);
    return true;
}

// Of a sensor that has another key it is either a next key that was withdrawn, or one that was
// replaced and should be nowhere any more.
static void say_revoked(const struct zap *z, const struct asker *a, const char *more)
{
    if (keyring_has_sensor(z->keyring, a->sensor_id))
        log_warning("sensor %s from %s refused with its key %s, which was withdrawn or replaced; "
                    "with its present key it is let in. If that machine is yours, hirundo-sensor "
                    "rotate there puts the other key away; if not, somebody has a copy of that "
                    "key, which is worth nothing%s",
                    a->name, a->address, a->text, more);
    else
        log_warning("sensor %s from %s refused: its key is revoked. If the machine is still yours, "
                    "stop the sensor there, or add it anew under another name%s",
                    a->name, a->address, more);
}

static void refuse(struct zap *z, const struct asker *a)
{
    int64_t now = mono_ms();
    char hex[KEY_HEX_SIZE] = "", more[QUIET_MORE_MAX];
    atomic_fetch_add(&z->refused, 1);
    if (!atomic_load(&z->open))
        return; // the self-test
    if (a->has_key) {
        sodium_bin2hex(hex, sizeof hex, a->key, KEY_SIZE); // as in a request
        strangers_note(z->strangers, a->key, a->address, wall_ms());
    }
    if (a->state == KEYRING_UNKNOWN && quiet_allows(&z->unknown, hex, now, more))
        log_notice("key %s (%s) from %s refused: nobody enrolled it. If it is a sensor of yours: "
                   "hirundo-collector sensor approve NAME REQUEST (sensor list --unknown shows who "
                   "waits)%s",
                   a->has_key ? a->text : "(none)", hex, a->address,
                   more); // as in the sensor's log
    if (a->state == KEYRING_REVOKED && quiet_allows(&z->known, a->name, now, more))
        say_revoked(z, a, more);
    if (a->state == KEYRING_EXPIRED && quiet_allows(&z->known, a->name, now, more))
        log_warning("sensor %s from %s refused: its key came in a bundle that has expired before "
                    "the key was used. If it is yours: hirundo-collector sensor bundle %s makes "
                    "another, and lets this key in; else: sensor revoke %s%s",
                    a->name, a->address, a->name, a->name, more);
}

static void answer(struct zap *z, const struct frame frames[FRAMES], size_t n)
{
    static const char *const codes[] = {"300", "200", "400", "300"}; // by keyring_state
    struct asker a;
    char user[16] = "";
    uint8_t metadata[128];
    size_t metadata_size = 0;
    look(z, frames, n, &a);
    bool let_in = a.state == KEYRING_ENROLLED && welcome(z, &a);
    if (let_in) {
        snprintf(user, sizeof user, "%d", a.sensor_id);
        metadata_size = put_metadata(metadata, ZAP_KEY, a.text);
    } else if (a.state != KEYRING_ENROLLED) {
        refuse(z, &a);
    }
    const char *code = a.state == KEYRING_ENROLLED && !let_in ? "500" : codes[a.state];
    const char *text = let_in ? "OK" : "not let in";
    const struct {
        const void *p;
        size_t size;
    } parts[] = {
        {"1.0", 3},
        {frames[1].bytes, n > 1 ? frames[1].size : 0},
        {code, 3},
        {text, strlen(text)},
        {user, strlen(user)},
        {metadata, metadata_size},
    };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        (void)frames_send_bytes(z->requests, parts[i].p, parts[i].size,
                                i + 1 < ARRAY_SIZE(parts) ? ZMQ_SNDMORE : 0);
}

static void *zap_run(void *data)
{
    struct zap *z = data;
    pthread_setname_np(pthread_self(), "zap");
    for (;;) {
        zmq_pollitem_t items[] = {{z->requests, 0, ZMQ_POLLIN, 0}, {z->stopped, 0, ZMQ_POLLIN, 0}};
        if (frames_poll(items, 2, PULSE_MS) < 0)
            break;
        pulse_beat(&z->pulse);
        if (items[1].revents)
            break;
        struct frame frames[FRAMES] = {0};
        size_t n = 0;
        if (items[0].revents && receive(z->requests, frames, &n) == 0)
            answer(z, frames, n);
    }
    return NULL;
}

static void zap_free(struct zap *z)
{
    if (!z)
        return;
    if (z->requests)
        zmq_close(z->requests);
    if (z->stop)
        zmq_close(z->stop);
    if (z->stopped)
        zmq_close(z->stopped);
    free(z);
}
DEFINE_CLEANUP(struct zap *, zap_free)

int zap_start(void *zmq, struct keyring *keyring, struct strangers *strangers,
              struct guests *guests, struct zap **ret, struct errmsg *e)
{
    _cleanup_(zap_freep) struct zap *z = calloc(1, sizeof *z);
    if (!z)
        return -ENOMEM;
    int none = 0;
    z->keyring = keyring;
    z->strangers = strangers;
    z->guests = guests;
    z->requests = zmq_socket(zmq, ZMQ_REP);
    z->stop = zmq_socket(zmq, ZMQ_PAIR);
    z->stopped = zmq_socket(zmq, ZMQ_PAIR);
    if (!z->requests || !z->stop || !z->stopped ||
        zmq_setsockopt(z->requests, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_bind(z->requests, "inproc://zeromq.zap.01") < 0 ||
        zmq_bind(z->stopped, STOP_ENDPOINT) < 0 || zmq_connect(z->stop, STOP_ENDPOINT) < 0)
        return errmsg_set(e, -errno, "authentication handler: %s", zmq_strerror(errno));
    int r = -pthread_create(&z->thread, NULL, zap_run, z);
    if (r < 0)
        return errmsg_set(e, r, "thread: %s", strerror(-r));
    *ret = z;
    z = NULL;
    return 0;
}

const struct pulse *zap_pulse(const struct zap *z)
{
    return &z->pulse;
}

void zap_stop(struct zap *z)
{
    if (!z)
        return;
    (void)frames_send_bytes(z->stop, "", 0, 0);
    pthread_join(z->thread, NULL);
    zap_free(z);
}

void zap_open(struct zap *z)
{
    atomic_store(&z->open, true);
}

uint64_t zap_refused(const struct zap *z)
{
    return atomic_load(&z->refused);
}
