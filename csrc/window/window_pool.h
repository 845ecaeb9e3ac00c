// Pooling on the phase planes of one channel: the maximum or the mean of each window, and the gradients. Part of
// window_kernels.c.
#ifndef FASTNN_WINDOW_POOL_H
#define FASTNN_WINDOW_POOL_H

#include <math.h>

#include "runtime/sizes.h"
#include "simd/simd.h"
#include "window/window_argmax.h"
#include "window/window_kernels.h"

// What the windows of a call share. `rows` and `columns` are the numbers of find_numbers.
typedef struct {
    const fastnn_block *block;
    const size_t *offsets;
    size_t taps;
    const real *rows, *columns;
    size_t argmax_bytes;
} windows;

// What is done with up to LANES windows of a row, from window (row, column) on. `planes` points to the place of the
// first of them, y and `argmax` to the results of the whole image.
typedef void some_windows(const windows *w, size_t row, size_t column, size_t n, real *planes, real *y, void *argmax);

FORCE_INLINE void each_window(some_windows *work, const windows *w, real *planes, real *y, void *argmax) {
    const fastnn_block *block = w->block;
    for (size_t i = 0; i < block->places[0]; i++, planes += block->extent[1]) {
        const size_t row = block->first[0] + i, columns = block->places[1];
        size_t j = 0;
        for (; j + LANES <= columns; j += LANES) work(w, row, j, LANES, planes + j, y, argmax);
        if (j < columns) work(w, row, j, columns - j, planes + j, y, argmax);
    }
}

FORCE_INLINE size_t index_of(const windows *w, size_t row, size_t column) { return row * w->block->places[1] + column; }

// A NaN wins over all numbers, and of several NaNs the last one wins; of equal numbers the first one does. If no
// element is larger than -infinity, the first tap that is not in the padding wins.
FORCE_INLINE void max_of_some(const windows *w, size_t row, size_t column, size_t n, real *planes, real *y,
                              void *argmax) {
    V best = vset(-(real)INFINITY), number = vzero(), tap = vset(w->rows[row]) + vload(w->columns + column);
    for (size_t t = 0; t < w->taps; t++, number = number + vone()) {
        const V x = vload(planes + w->offsets[t]);
        const M is_number = vle(x, x), larger = vlt(best, x);
        best = vselect(is_number, vselect(larger, x, best), x);
        tap = vselect(is_number, vselect(larger, number, tap), number);
    }
    vstore_some(y + index_of(w, row, column), n, best);
    store_numbers(argmax, index_of(w, row, column), w->argmax_bytes, tap, n);
}

// The unused lanes of the last vector add 0.
FORCE_INLINE void unmax_some(const windows *w, size_t row, size_t column, size_t n, real *planes, real *dy,
                             void *argmax) {
    const V g = vload_some(dy + index_of(w, row, column), n);
    const V tap = load_numbers(argmax, index_of(w, row, column), w->argmax_bytes, n);
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
                               void *argmax) {
    (void)argmax;
    V sum = vzero();
    for (size_t t = 0; t < w->taps; t++) sum = sum + vload(planes + w->offsets[t]);
    vstore_some(y + index_of(w, row, column), n, sum / divisor_of(w, row, column));
}

FORCE_INLINE void unmean_some(const windows *w, size_t row, size_t column, size_t n, real *planes, real *dy,
                              void *argmax) {
    (void)argmax;
    const V g = vload_some(dy + index_of(w, row, column), n) / divisor_of(w, row, column);
    for (size_t t = 0; t < w->taps; t++) {
        real *to = planes + w->offsets[t];
        vstore(to, vload(to) + g);
    }
}

// How many of a window's taps are in the padding before the image.
static size_t taps_before(const fastnn_axis *axis, size_t place) {
    const ptrdiff_t first = axis->start + (ptrdiff_t)(place * axis->stride);
    return first < 0 ? divided_up((size_t)-first, (size_t)axis->step) : 0;
}

static void find_numbers(const fastnn_pool *pool, void *const numbers[2]) {
    for (int d = 0; d < 2; d++) {
        const fastnn_axis *axis = &pool->axis[d];
        const size_t unit = d == 0 ? pool->axis[1].taps : 1;  // taps from a row of the window to the next
        real *number = numbers[d];
        for (size_t i = 0; i < axis->places + FASTNN_BLOCK_SLACK; i++) {
            if (pool->mode == FASTNN_MAX_POOL)
                number[i] = (real)(taps_before(axis, i) * unit);
            else
                number[i] = i < axis->places ? (real)pool->divisor[d][i] : 1;
        }
    }
}

static windows windows_of(const fastnn_pool *pool, const fastnn_block *block, const fastnn_pool_tables *tables) {
    const size_t taps = block->axis[0].taps * block->axis[1].taps;
    return (windows){block, tables->offsets, taps, tables->numbers[0], tables->numbers[1], pool->argmax_bytes};
}

static void pool(const fastnn_pool *call, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                 void *y, void *argmax) {
    const windows w = windows_of(call, block, tables);
    if (call->mode == FASTNN_MAX_POOL)
        each_window(max_of_some, &w, planes, y, argmax);
    else
        each_window(mean_of_some, &w, planes, y, argmax);
}

static void unpool(const fastnn_pool *call, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                   const void *dy, const void *argmax) {
    const windows w = windows_of(call, block, tables);
    if (call->mode == FASTNN_MAX_POOL)
        each_window(unmax_some, &w, planes, (real *)dy, (void *)argmax);
    else
        each_window(unmean_some, &w, planes, (real *)dy, (void *)argmax);
}

#endif
