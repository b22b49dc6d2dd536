// A spool of its own in a directory of its own, and batches whose content their number tells.
#pragma once

#include "sensor/spool.h"

#define T0 1675836000000

extern char directory[64];
extern char path[128];
void remove_all(void);
int set_up(void **state);
int tear_down(void **state);
struct spool_config config(bool live, bool keep_all, int64_t cap);
struct spool *open_spool(const struct spool_config *c, int64_t now, int want);
// Byte k of batch i.
uint8_t byte_of(uint64_t i, size_t k);
// Batch number i: `size` bytes that depend on i, one window record of i frames.
int append_sized(struct spool *s, uint64_t i, size_t size);
void append(struct spool *s, uint64_t i);
// Number seq is batch i, whole.
void assert_batch(struct spool *s, uint64_t seq, uint64_t i);
// The loss message that covers seq.
struct loss_item *read_losses(struct spool *s, uint64_t seq, struct spool_entry *found, size_t *n);
