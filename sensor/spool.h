// The spool: the sensor's queue of sealed batches on disk, one SQLite file.
//
// Numbers (seq) begin at 1 and every number up to the last one is in the spool, as a batch, or as a
// loss that stands for one number or a range of them. The spool_id, 16 random bytes, is made with
// the spool; it and the numbers are what the collector's ledger knows. Acknowledged batches stay
// until the cap needs their room; evicting one keeps its number and window records, so that it can
// be declared if a restored database asks for it. When those records pass a sixteenth of the cap
// the oldest become one range whose counts are unknown.
//
// Each change is one transaction (WAL, synchronous FULL). Opened by one process at a time (a lock
// file beside it); spool_status_read works beside that. One thread.
//
// Return values beside 0: -ENOSPC, -EROFS, -EIO: the disk; nothing was changed, try again later.
// -EUCLEAN: the file is damaged: spool_renew. -EBUSY: another process has it. -ENOMEM.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/util.h"
#include "common/wire.h"

#define SPOOL_CAP_MIN     (2LL * 1024 * 1024) // the largest batch, and room to turn
#define SPOOL_CAP_DEFAULT (256LL * 1024 * 1024)
#define SPOOL_CAP_MAX     (1024LL * 1024 * 1024 * 1024)

#define SPOOL_FULL    1 // spool_append with keep_all: acknowledge something first
#define SPOOL_RENEWED 2 // spool_open: the file was damaged and set aside, or gone: *e says it
#define SPOOL_LATER   3 // spool_open: the disk does not let it be opened now: *e says why

struct spool_config {
    const char *path;
    int64_t cap_bytes; // of the file; the write-ahead log beside it takes up to 8 MiB more
    bool keep_all;     // refuse instead of evicting what is not acknowledged (replay)
    bool live;         // what is captured before an unclean end is declared as unknown at the next
                       // spool_open with live
    bool later;        // where the disk is full, read-only or failing, go on without: SPOOL_LATER
};

struct spool;

// now_ms: wall clock. After an unclean end of a live run a loss `unknown` is appended: from the end
// of the last window that this run spooled (or from its start, if it spooled none) to now_ms. When
// that is in the future, the clock was set back, and two are: what followed that window, and what
// came before now_ms.
int spool_open(const struct spool_config *config, int64_t now_ms, struct spool **ret,
               struct errmsg *e);
// After SPOOL_LATER nothing may be appended until spool_open_late returns 0 or SPOOL_RENEWED; what
// waits in the file can be read and acknowledged, if the disk allows as much; else there is
// nothing, under an id of zeros. A negative value: try again, *e says why. Should the process end
// before it succeeds, the next spool_open with live declares what it captured, if the lock file
// could be written.
bool spool_is_late(const struct spool *s);
int spool_open_late(struct spool *s, struct errmsg *e);
// Whether the next spool_open declares what this process has in memory, should it end now: not so
// where the disk has not taken as much as a note, or nothing is to be declared.
bool spool_will_declare(const struct spool *s);
// A clean end: after this nothing was lost in memory.
int spool_close_clean(struct spool *s);
// What a replay has read, by the packets' time, of which not all is in the spool; in order: time
// never went back. Unless it says later that all is there (last_ms 0), the next spool_open declares
// a loss `unknown` up to last_ms: from the start of the last window spooled since this spool_open;
// if there is none, or not in order, from first_ms. Kept beside the file, so that a full disk takes
// it, too; written when it has changed.
int spool_note_reading(struct spool *s, int64_t first_ms, int64_t last_ms, bool in_order);
void spool_free(struct spool *s);
DEFINE_CLEANUP(struct spool *, spool_free);

// What goes in: a batch, or a declared loss (payload NULL). Borrowed for the call.
struct spool_item {
    struct wire_header header; // of a batch: all but spool_id, seq, sha256, sent_ms; of a loss:
                               // run_id, counters, first_window_ms, last_window_ms, frames
    const uint8_t *payload;
    size_t size;
    const uint8_t *records; // by wire_records_encode
    size_t records_size;
    bool unknown;       // loss: no records, the interval is declared
    int64_t whole_ms;   // what was captured before then is in here or before; 0: up to last_window
    const char *reason; // loss
};

// All of them, or none. Makes room first: acknowledged batches go, then (not with keep_all) the
// oldest ones, which become declared losses.
int spool_append(struct spool *s, const struct spool_item *items, size_t n, int64_t now_ms);

// What the message for a number covers. Consecutive losses go in one message.
struct spool_entry {
    uint64_t first;
    uint64_t last;
    bool loss;
    uint64_t bytes; // of the payload; a loss: about
};
// -ENOENT: no such number.
int spool_look(struct spool *s, uint64_t seq, struct spool_entry *ret);
// Whether a number is a batch's that is still here. Changes nothing, whatever it finds.
bool spool_is_batch(struct spool *s, uint64_t seq);
// The message for a range that spool_look gave. *ret_payload is malloc'ed. -EUCLEAN: a batch does
// not match its digest; when it still does not after spool_renew, it becomes a loss. -EAGAIN: the
// range has changed since: look again.
int spool_read(struct spool *s, uint64_t first, uint64_t last, struct wire_header *ret_header,
               uint8_t **ret_payload, size_t *ret_size);

// Everything up to this number is committed. Known at once, on disk with the next change or
// spool_sync: losing it costs a duplicate, which does no harm.
int spool_acked(struct spool *s, uint64_t through, int64_t now_ms);
int spool_sync(struct spool *s);
// Only what is up to this number is committed. Known at once, even when noting it on disk fails:
// the collector would say it again.
int spool_rewind(struct spool *s, uint64_t through);
// A new spool_id; what stood at `from` becomes number 1, what was before it is forgotten.
int spool_fork(struct spool *s, uint64_t from);
// After -EUCLEAN: reads the file again, and goes on with it when it turns out to be sound; else, or
// when that was so once already since the last append, sets it aside (*e says where) and begins
// anew, with a loss `unknown` as number 1. Where it fails everything returns -EUCLEAN: try again.
int spool_renew(struct spool *s, int64_t now_ms, struct errmsg *e);

const uint8_t *spool_id(const struct spool *s);
uint64_t spool_acked_through(const struct spool *s);
uint64_t spool_next_seq(const struct spool *s);
uint64_t spool_evicted(const struct spool *s); // batches lost to the cap since opening

// Notes for `status`, kept without a sync of their own; failure is no harm.
void spool_note(struct spool *s, const char *peer, const char *last_error, int64_t now_ms);
// Likewise: the collector's clock less ours, and the round trip it was measured over.
void spool_note_clock(struct spool *s, int64_t offset_ms, int64_t round_trip_ms, int64_t now_ms);

// What became of batches, as their acks told, and whether anything was seen at all.
#define SPOOL_REASON_MAX 256
struct spool_receipts {
    uint64_t frames;    // seen by this run, as far as they were spooled
    int64_t seen_ms;    // when a batch with frames was spooled last; 0: never
    uint64_t taken_seq; // the last batch that the collector took into the database
    int64_t taken_ms;   // when its ack came; 0: none
    uint64_t aside_seq; // the last batch that it put into its quarantine instead
    int64_t aside_ms;   // likewise
    char aside_reason[SPOOL_REASON_MAX];
};
// Likewise a note for `status` and `enroll --wait`.
void spool_note_receipts(struct spool *s, const struct spool_receipts *receipts);

struct spool_status {
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    uint64_t next_seq;
    uint64_t acked_through;
    uint64_t waiting;       // numbers not acknowledged
    uint64_t waiting_bytes; // their payloads
    int64_t oldest_ms;      // when the oldest of them was spooled; 0: none
    uint64_t kept;          // acknowledged batches still there
    uint64_t lost;          // unacknowledged losses
    uint64_t used_bytes;    // pages in use
    int64_t cap_bytes;
    int64_t last_window_ms; // end of the last window spooled; 0: none
    int64_t delivered_ms;   // end of the last window acknowledged; 0: none
    int64_t last_ack_ms;    // 0: none
    int64_t error_ms;
    int64_t clock_ms; // when the next two were noted; 0: never
    int64_t clock_offset_ms;
    int64_t round_trip_ms;
    bool live;      // in use by `run` now, or that ended without a clean end
    char peer[128]; // "" : none
    char last_error[512];
    bool has_receipts; // false: noted by an earlier version, or not opened by this one yet
    struct spool_receipts receipts;
};
// Of the spool that is open here.
int spool_status(struct spool *s, struct spool_status *ret);
// Of a file, read only, whether in use or not. -ENOENT: there is none yet.
int spool_status_read(const char *path, struct spool_status *ret, struct errmsg *e);
