// The spool of a simulated sensor: sensor/spool.h in memory, rule for rule, without payloads.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/util.h"

enum entry_kind { ENTRY_BATCH, ENTRY_LOST, ENTRY_UNKNOWN };

// A row, or each row of a range of losses.
struct entry {
    enum entry_kind kind;
    uint32_t content;     // batch, lost: which batch
    uint32_t bytes;       // of the payload
    uint64_t first, last; // rows it stands for
    int64_t lo, hi;       // windows: (lo, hi], ms; unknown with lo 0: since the last delivered
};

struct spool_model {
    uint32_t id;
    uint64_t base; // seq + base = row, as in the real one
    uint64_t next;
    uint64_t acked;
    uint64_t acked_disk; // what a crash leaves
    int64_t dirty_since; // acked is ahead of acked_disk since, 0: it is not
    int64_t live_since;  // 0: ended cleanly
    struct entry *rows;  // of row i at i - 1
    size_t room;
    uint64_t oldest; // rows before it are no batches
    uint32_t batches;
    uint32_t losses; // a range is one
    uint32_t cap;    // batches
    uint32_t loss_cap;
    uint64_t evicted; // not acknowledged
    uint64_t merged;  // ranges made
};

void spool_model_init(struct spool_model *s, uint32_t id, uint32_t cap, uint32_t loss_cap);
void spool_model_release(struct spool_model *s);
int spool_model_copy(const struct spool_model *s, struct spool_model *ret);

// Evicts first where the cap says so.
int spool_model_append(struct spool_model *s, struct entry entry);
// The entry of a number that is there.
const struct entry *spool_model_at(const struct spool_model *s, uint64_t seq);
// Like spool_look.
void spool_model_look(const struct spool_model *s, uint64_t seq, uint64_t *ret_first,
                      uint64_t *ret_last, uint32_t *ret_bytes);
void spool_model_acked(struct spool_model *s, uint64_t through, int64_t now);
void spool_model_rewind(struct spool_model *s, uint64_t through);
// A clean end, or the timer of spool_sync.
void spool_model_sync(struct spool_model *s);
void spool_model_crash(struct spool_model *s, int64_t now);
void spool_model_fork(struct spool_model *s, uint64_t from, uint32_t id);
