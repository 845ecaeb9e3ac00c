// Pooling on the phase planes of one channel: the largest or the mean of each window, and the way back. Part of
// window_kernels.c.
#ifndef FASTNN_WINDOW_POOL_H
#define FASTNN_WINDOW_POOL_H

#include <math.h>

#include "simd/simd.h"
#include "window/window_kernels.h"
#include "window/window_where.h"

// What the windows of a call share. `rows` and `columns` have a number for each of them, and the latter more for the
// unused lanes of the last vector.
typedef struct {
    const fastnn_block *block;
    const size_t *offsets;
    size_t taps;
    const real *rows, *columns;
    size_t where_bytes;
} windows;

// What is done with windows of a row from (row, column) on, up to LANES of them. `planes` is at their place, y and
// `where` at the first of all.
typedef void some_windows(const windows *w, size_t row, size_t column, size_t n, real *planes, real *y, void *where);

FORCE_INLINE void each_window(some_windows *work, const windows *w, real *planes, real *y, void *where) {
    const fastnn_block *block = w->block;
    for (size_t i = 0; i < block->places[0]; i++, planes += block->extent[1]) {
        const size_t row = block->first[0] + i, columns = block->places[1];
        size_t j = 0;
        for (; j + LANES <= columns; j += LANES) work(w, row, j, LANES, planes + j, y, where);
        if (j < columns) work(w, row, j, columns - j, planes + j, y, where);
    }
}

FORCE_INLINE size_t index_of(const windows *w, size_t row, size_t column) { return row * w->block->places[1] + column; }

// Larger, or NaN: a NaN stays, and the last one counts. Of equal ones the first does. If none is larger than -infinity,
// it is the first tap that is not in the padding.
FORCE_INLINE void max_of_some(const windows *w, size_t row, size_t column, size_t n, real *planes, real *y,
                              void *where) {
    V best = vset(-(real)INFINITY), number = vzero(), tap = vset(w->rows[row]) + vload(w->columns + column);
    for (size_t t = 0; t < w->taps; t++, number = number + vone()) {
        const V x = vload(planes + w->offsets[t]);
        const M is_number = vle(x, x), larger = vlt(best, x);
        best = vselect(is_number, vselect(larger, x, best), x);
        tap = vselect(is_number, vselect(larger, number, tap), number);
    }
    vstore_some(y + index_of(w, row, column), n, best);
    store_numbers(where, index_of(w, row, column), w->where_bytes, tap, n);
}

// An unused lane adds 0.
FORCE_INLINE void unmax_some(const windows *w, size_t row, size_t column, size_t n, real *planes, real *dy,
                             void *where) {
    const V g = vload_some(dy + index_of(w, row, column), n);
    const V tap = load_numbers(where, index_of(w, row, column), w->where_bytes, n);
    V number = vzero();
    for (size_t t = 0; t < w->taps; t++, number = number + vone()) {
        real *to = planes + w->offsets[t];
        vstore(to, vload(to) + vkeep(vle(vabs(tap - number), vzero()), g));
    }
}

FORCE_INLINE V divisor_of(const windows *w, size_t row, size_t column) {
    return vset(w->rows[row]) * vload(w->columns + column);
}

FORCE_INLINE void mean_of_some(const windows *w, size_t row, size_t column, size_t n, real *planes, real *y,
                               void *where) {
    (void)where;
    V sum = vzero();
    for (size_t t = 0; t < w->taps; t++) sum = sum + vload(planes + w->offsets[t]);
    vstore_some(y + index_of(w, row, column), n, sum / divisor_of(w, row, column));
}

FORCE_INLINE void unmean_some(const windows *w, size_t row, size_t column, size_t n, real *planes, real *dy,
                              void *where) {
    (void)where;
    const V g = vload_some(dy + index_of(w, row, column), n) / divisor_of(w, row, column);
    for (size_t t = 0; t < w->taps; t++) {
        real *to = planes + w->offsets[t];
        vstore(to, vload(to) + g);
    }
}

static windows windows_of(const fastnn_pool *pool, const fastnn_block *block, const fastnn_pool_tables *tables) {
    const size_t taps = block->axis[0].taps * block->axis[1].taps;
    return (windows){block, tables->offsets, taps, tables->numbers[0], tables->numbers[1], pool->where_bytes};
}

static void pool(const fastnn_pool *call, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                 void *y, void *where) {
    const windows w = windows_of(call, block, tables);
    if (call->kind == FASTNN_MAX_POOL)
        each_window(max_of_some, &w, planes, y, where);
    else
        each_window(mean_of_some, &w, planes, y, where);
}

static void unpool(const fastnn_pool *call, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                   const void *dy, const void *where) {
    const windows w = windows_of(call, block, tables);
    if (call->kind == FASTNN_MAX_POOL)
        each_window(unmax_some, &w, planes, (real *)dy, (void *)where);
    else
        each_window(unmean_some, &w, planes, (real *)dy, (void *)where);
}

#endif
