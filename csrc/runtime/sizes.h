// Arithmetic of sizes, for all code that cuts work into pieces and memory into parts.
#ifndef FASTNN_SIZES_H
#define FASTNN_SIZES_H

#include <stddef.h>

enum { LINE = 64 };  // bytes of a cache line, and of the widest vector

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t larger(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t divided_up(size_t a, size_t by) { return (a + by - 1) / by; }
static inline size_t rounded_up(size_t a, size_t unit) { return divided_up(a, unit) * unit; }
static inline size_t in_lines(size_t bytes) { return rounded_up(bytes, LINE); }

#endif
