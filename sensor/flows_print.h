// A flow or flood row as a line of text: csv with a header line, or json with one object a line.
#pragma once

#include <stdio.h>

#include "common/flow.h"

enum flows_format {
    FLOWS_CSV,
    FLOWS_JSON,
};

void flows_print_header(FILE *out, enum flows_format format);
void flows_print_flow(FILE *out, enum flows_format format, const struct flow *flow);
void flows_print_flood(FILE *out, enum flows_format format, const struct flood *flood);
