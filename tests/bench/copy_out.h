// Binary COPY, written field by field. Nulls and values as PostgreSQL's binary formats have them.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

void copy_begin(FILE *out);
void copy_row(FILE *out, uint32_t fields);
void copy_null(FILE *out);
void copy_bool(FILE *out, bool v);
void copy_int2(FILE *out, int32_t v);
void copy_int4(FILE *out, int32_t v);
void copy_int8(FILE *out, int64_t v);
void copy_text(FILE *out, const char *v);
// source as in flow_rows.h
void copy_inet(FILE *out, uint64_t source);
// Bit i (from 0, the leftmost) of the value is bit i of words, the lowest first.
void copy_varbit(FILE *out, const uint64_t *words, uint32_t bits);
// 0, or -EIO where something was not written.
int copy_end(FILE *out);
