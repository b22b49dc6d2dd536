// How far a long import is, on a terminal alone: one line of stderr, rewritten a few times a
// second.
#pragma once

#include "common/util.h"

struct progress {
    bool on;          // from progress_begin
    bool shown;       // a line stands there
    int64_t next_ms;  // not before
    const char *what; // "reading", "loading"
};

// quiet, or stderr that is no terminal: nothing is ever shown.
void progress_begin(struct progress *p, bool quiet);
// what: a static text. total 0: not known.
void progress_show(struct progress *p, const char *what, uint64_t done, uint64_t total);
// Removes the line; harmless where none stands.
void progress_clear(struct progress *p);
