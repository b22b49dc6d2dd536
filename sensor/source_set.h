// How many distinct source addresses there were: exact up to SOURCES_EXACT, an estimate beyond.
//
// Holds a 64-bit keyed hash of each address: two of 100,000 addresses share one with a probability
// of 3e-10.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/util.h"
#include "sensor/packet.h"

#define SOURCES_EXACT 100000

struct source_set;

int source_set_new(struct source_set **ret);
void source_set_free(struct source_set *s);
DEFINE_CLEANUP(struct source_set *, source_set_free);

// Adding takes two steps, so that the memory of many addresses can be fetched at once: the hash of
// an address (of the key, version and source only), which also announces it, then the addition.
uint64_t source_set_hash(const struct source_set *s, const struct flow_key *key);
void source_set_add(struct source_set *s, uint64_t hash);
uint64_t source_set_count(const struct source_set *s, bool *ret_estimated);
