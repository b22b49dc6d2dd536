// The wire format: headers, batches, losses, heartbeats and replies, to and from bytes.
//
// The only code that knows protobuf and the columns (docs/protocol.md). Encoders and decoders hold
// scratch memory of fixed size that is reused from call to call; one belongs to one thread.
// Decoding trusts nothing: every length, count, sum and range is checked before memory is taken for
// it, and a decoded batch holds what common/flow.h promises.
//
// Return values: 0; WIRE_REFUSED (decoders) with *e saying why, in words that fit a log line;
// -errno
// (-ENOMEM; encoders also -EINVAL: the caller's batch breaks its own rules, -E2BIG: it does not
// fit).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/flow.h"
#include "common/util.h"

#define WIRE_REFUSED        1
#define WIRE_HEADER_MAX     512u // bytes of an encoded header
#define WIRE_REPLY_MAX      512u // bytes of an encoded reply payload
#define WIRE_SPOOL_ID_SIZE  16
#define WIRE_SHA256_SIZE    32
#define WIRE_LOSS_ITEMS_MAX 1024u
#define WIRE_RECORDS_MAX    BATCH_WINDOWS_MAX // window records of one loss message, all items together
#define WIRE_TEXT_MAX       200u              // bytes of any text inside a message

enum wire_kind {
    WIRE_BATCH = 1,
    WIRE_LOSS = 2,
    WIRE_HEARTBEAT = 3,
    WIRE_PING = 4,
    WIRE_ACK = 16,
    WIRE_NACK = 17,
    WIRE_PONG = 18,
};

enum wire_codec { WIRE_CODEC_PLAIN = 0, WIRE_CODEC_ZSTD_COLUMNS = 1 };

struct wire_header {
    enum wire_kind kind;
    uint8_t spool_id[WIRE_SPOOL_ID_SIZE];
    uint64_t seq;
    uint64_t run_id;
    struct counters counters;
    int64_t first_window_ms; // start of the first window
    int64_t last_window_ms;  // end of the last window
    uint64_t frames;
    uint32_t codec;
    bool has_sha256; // false exactly when the payload is empty
    uint8_t sha256[WIRE_SHA256_SIZE];
    int64_t sent_ms;
};

int wire_header_encode(const struct wire_header *h, uint8_t buf[WIRE_HEADER_MAX], size_t *ret_size);
int wire_header_decode(const uint8_t *p, size_t size, struct wire_header *ret, struct errmsg *e);

void wire_sha256(const uint8_t *p, size_t size, uint8_t ret_digest[WIRE_SHA256_SIZE]);

// Encodes batches. Scratch grows to the largest batch seen, at most about 2 MiB.
struct wire_encoder;
int wire_encoder_new(struct wire_encoder **ret);
void wire_encoder_free(struct wire_encoder *enc);
DEFINE_CLEANUP(struct wire_encoder *, wire_encoder_free)
// *ret_payload stays inside the encoder and is valid until its next call.
int wire_batch_encode(struct wire_encoder *enc, const struct batch *b, const uint8_t **ret_payload,
                      size_t *ret_size);
// Header fields that follow from a batch: first and last window, frames.
void wire_batch_describe(const struct batch *b, struct wire_header *h);

struct wire_decoder;
int wire_decoder_new(struct wire_decoder **ret);
void wire_decoder_free(struct wire_decoder *dec);
DEFINE_CLEANUP(struct wire_decoder *, wire_decoder_free)
// The arrays of *ret stay inside the decoder and are valid until its next call. What holds of *ret:
// counts within the BATCH_*_MAX limits; window_ms in its range and a divisor of 900,000; records
// ascending, aligned to the window, not overlapping; each flow and flood lies inside a record's
// window; per record, row_packets and flood_packets equal the sums over its rows and frames adds
// up; marks, has and versions within their enums.
int wire_batch_decode(struct wire_decoder *dec, const uint8_t *p, size_t size, struct batch *ret,
                      struct errmsg *e);

// A declared loss: the numbers seq_first..seq_last never come.
struct loss_item {
    uint64_t seq_first;
    uint64_t seq_last;
    bool unknown;
    int64_t first_ms; // 0 with unknown: since the last window delivered
    int64_t last_ms;
    uint32_t n_records;
    const struct window_record *records; // NULL with unknown
    uint8_t sha256[WIRE_SHA256_SIZE];    // of the batch that it was; zeros: not told
    char reason[WIRE_TEXT_MAX + 1];
};

// *ret_payload is malloc'ed, the caller frees it.
int wire_loss_encode(const struct loss_item *items, size_t n, uint8_t **ret_payload,
                     size_t *ret_size);
// *ret_items is one malloc'ed block (records included), the caller frees it. Items are contiguous
// and ascending, ranges not empty.
int wire_loss_decode(const uint8_t *p, size_t size, struct loss_item **ret_items, size_t *ret_n,
                     struct errmsg *e);
// Window records alone (the spool keeps them of batches it has evicted); same ownership.
int wire_records_encode(const struct window_record *records, size_t n, uint8_t **ret,
                        size_t *ret_size);
int wire_records_decode(const uint8_t *p, size_t size, struct window_record **ret, size_t *ret_n,
                        struct errmsg *e);

struct wire_heartbeat {
    char version[WIRE_TEXT_MAX + 1];
    uint64_t uptime_s;
    uint64_t rss_kib;
    uint64_t cpu_ms;
    uint64_t spool_batches;
    uint64_t spool_bytes;
    uint64_t spool_cap_bytes;
    uint64_t spool_age_s;
    int64_t clock_offset_ms;
    uint64_t round_trip_ms;
    uint64_t spool_dropped;
    bool spool_failing;
    uint64_t queue_batches;
    char problem[WIRE_TEXT_MAX + 1];
};

int wire_heartbeat_encode(const struct wire_heartbeat *h, uint8_t buf[WIRE_HEADER_MAX],
                          size_t *ret_size);
int wire_heartbeat_decode(const uint8_t *p, size_t size, struct wire_heartbeat *ret,
                          struct errmsg *e);

enum wire_nack { WIRE_NACK_GAP = 1, WIRE_NACK_FORK = 2 };

// Payload of ack, nack and pong. Unused fields are 0.
struct wire_reply {
    uint64_t committed_through; // ack
    uint64_t expected_seq;      // nack
    enum wire_nack reason;      // nack
    uint64_t credit;            // bytes
    bool db_ok;
    int64_t clock_ms;
    int64_t echo_ms; // pong
    char detail[WIRE_TEXT_MAX + 1];
};

int wire_reply_encode(const struct wire_reply *r, uint8_t buf[WIRE_REPLY_MAX], size_t *ret_size);
int wire_reply_decode(const uint8_t *p, size_t size, struct wire_reply *ret, struct errmsg *e);
