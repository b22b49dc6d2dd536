// What uplink.c (thread, spool side) and uplink_link.c (the collector's side) share. Not for
// others.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "sensor/link.h"
#include "sensor/sender.h"
#include "sensor/uplink.h"

#define TROUBLE_AGAIN_MS 600000 // the same complaint is logged again after this
#define CLOCK_SAMPLES    8

// What a pong says about the clocks. Kept against the monotonic clock, so that it stays true when
// this host's wall clock is set.
struct clock_sample {
    int64_t round_trip_ms;
    int64_t collector_ahead_ms; // collector's wall clock less our monotonic one
};

struct uplink {
    struct uplink_config config;
    struct queue *queue;
    struct spool *spool;
    struct link *link;
    struct sender *sender;
    pthread_t thread;
    bool running;
    int ended_fd; // eventfd: readable when the thread is at its end
    int outcome;
    char public_key[KEY_Z85_SIZE]; // of the pair in use
    struct key_pair keys[2];       // the present pair, the next one
    unsigned n_keys, key_no;       // key_no: in use
    bool tried_both;               // at this connection
    bool told_withdrawn;           // that the next key is

    // for other threads
    atomic_bool stop;
    atomic_bool connected;
    atomic_bool ended;
    atomic_ullong spooled;
    atomic_ullong delivered;
    atomic_ullong waiting;
    atomic_ullong lost;
    // Of a replay: the earliest and the latest packet (0: none), and whether time went back.
    atomic_llong read_first_ms, read_last_ms;
    atomic_bool read_back;
    atomic_bool all_sealed, left_behind;
    uint64_t waiting_at_start;

    // monotonic ms
    int64_t started_ms;
    int64_t append_at;
    int64_t open_at; // of a spool that is late
    int64_t sync_at;
    int64_t note_at; // of what a replay has read
    int64_t heartbeat_at;
    int64_t beat_at;   // the last one
    int64_t closed_at; // -1: the queue is open
    int64_t trouble_at;
    uint64_t put_aside;   // batches that went to the collector's quarantine
    int64_t put_aside_at; // when that was last said
    struct spool_receipts receipts;
    bool receipts_new;   // not noted in the spool yet
    bool taken_new;      // likewise, of what was taken
    int64_t receipts_at; // not before
    uint64_t progress_acked;
    int64_t progress_at;

    bool spool_failing;
    bool beat_failing;     // as the last heartbeat told
    uint64_t beat_evicted; // likewise
    uint64_t evicted_told;
    struct wire_header last; // of the last batch: run id and counters for other messages
    uint32_t endpoint;
    bool was_ready;
    int64_t ping_wall_ms; // the last ping, by both clocks
    int64_t ping_mono_ms;
    struct clock_sample clocks[CLOCK_SAMPLES]; // of the last pongs, in turn
    unsigned n_clocks;                         // pongs since the connection was made
    char peer[128];
    char last_error[512]; // whole: compared with the next one
};

// Logs (once, then every ten minutes) and keeps for `status`.
void uplink_trouble(struct uplink *u, const char *text);
// How long a spool that took so long to be found unusable is left alone.
int64_t spool_again_ms(int64_t took_ms);
int uplink_spool_failed(struct uplink *u, int r, const char *doing);

// uplink_link.c
// Does what the sender asks for; value: when to come back (monotonic ms).
int64_t uplink_act(struct uplink *u, int64_t now);
// Takes in what the socket and its monitor have.
void uplink_hear(struct uplink *u);
void uplink_send_heartbeat(struct uplink *u);
// By the pong with the shortest round trip of the last ones: a queue on the way delays, and never
// hastens. False: no pong came on this connection yet.
bool uplink_clock(const struct uplink *u, int64_t *ret_offset_ms, int64_t *ret_round_trip_ms);
