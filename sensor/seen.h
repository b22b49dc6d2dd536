// Which keys of flows came before: what tells a scan that goes on from a flood of made-up sources.
//
// Bloom filters over the flow table's keyed hash, in fixed memory: no key that was added is missed,
// one in some thousand that was not is taken for one that was. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/util.h"

// A key stays known until this many others were added after it, and at most twice as many.
#define SEEN_GENERATION 32768u
// Of a window's folded keys, the first ones are remembered.
#define SEEN_FOLDED_MAX 400000u

struct seen;

// 1.5 MiB, touched on use: 0.25 to 0.5 by seen_add, 1 by seen_again.
int seen_new(struct seen **ret);
void seen_free(struct seen *s);

void seen_add(struct seen *s, uint32_t hash);
bool seen_has(const struct seen *s, uint32_t hash);
// Did this key come to seen_again before, since seen_window? Remembers it if not.
bool seen_again(struct seen *s, uint32_t hash);
void seen_window(struct seen *s);
