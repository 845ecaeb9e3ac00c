// Pooling of one image over regions of any place and size: the maximum or the mean of each, and the gradients. Part of
// window_kernels.c.
#ifndef FASTNN_WINDOW_REGIONS_H
#define FASTNN_WINDOW_REGIONS_H

#include <math.h>

#include "simd/simd.h"
#include "window/window_kernels.h"

// sum += x, elementwise.
FORCE_INLINE void add_run(real *sum, const real *x, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vstore(sum + i, vload(sum + i) + vload(x + i));
    for (; i < n; i++) sum[i] += x[i];
}

static double elements_of(const fastnn_regions *r, size_t row, size_t column) {
    return (double)(r->end[0][row] - r->begin[0][row]) * (double)(r->end[1][column] - r->begin[1][column]);
}

static double sum_run(const real *x, size_t n) {
    V sum[4] = {vzero(), vzero(), vzero(), vzero()};
    double rest = 0;
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (size_t v = 0; v < 4; v++) sum[v] = sum[v] + vload(x + i + v * LANES);
    for (; i + LANES <= n; i += LANES) sum[0] = sum[0] + vload(x + i);
    for (; i < n; i++) rest += (double)x[i];
    return (double)vsum((sum[0] + sum[1]) + (sum[2] + sum[3])) + rest;
}

// The rows of a region are added up to one row of sums first. A region of whole rows is a single run of memory.
static void mean_of_regions(const fastnn_regions *r, const real *x, real *y, real *sums) {
    const size_t width = r->size[1];
    for (size_t i = 0; i < r->places[0]; i++) {
        if (r->places[1] == 1 && r->begin[1][0] == 0 && (size_t)r->end[1][0] == width) {
            const size_t first = (size_t)r->begin[0][i], end = (size_t)r->end[0][i];
            *y++ = (real)(sum_run(x + first * width, (end - first) * width) / elements_of(r, i, 0));
            continue;
        }
        memset(sums, 0, width * sizeof *sums);
        for (int64_t row = r->begin[0][i]; row < r->end[0][i]; row++) add_run(sums, x + (size_t)row * width, width);
        for (size_t j = 0; j < r->places[1]; j++) {
            double sum = 0;
            for (int64_t column = r->begin[1][j]; column < r->end[1][j]; column++) sum += (double)sums[column];
            *y++ = (real)(sum / elements_of(r, i, j));
        }
    }
}

static void spread_means(const fastnn_regions *r, const real *dy, real *dx, real *row_of_dx) {
    const size_t width = r->size[1];
    memset(dx, 0, r->size[0] * width * sizeof *dx);
    for (size_t i = 0; i < r->places[0]; i++) {
        memset(row_of_dx, 0, width * sizeof *row_of_dx);
        for (size_t j = 0; j < r->places[1]; j++) {
            const real g = (real)((double)*dy++ / elements_of(r, i, j));
            for (int64_t column = r->begin[1][j]; column < r->end[1][j]; column++) row_of_dx[column] += g;
        }
        for (int64_t row = r->begin[0][i]; row < r->end[0][i]; row++)
            add_run(dx + (size_t)row * width, row_of_dx, width);
    }
}

// The number of a region's largest element, counted row by row: of equal ones the first, and of NaNs the last.
FORCE_INLINE size_t argmax_of_region(const fastnn_regions *r, const real *x, size_t row, size_t column, real *largest) {
    size_t argmax = 0, number = 0;
    *largest = -(real)INFINITY;
    for (int64_t i = r->begin[0][row]; i < r->end[0][row]; i++)
        for (int64_t j = r->begin[1][column]; j < r->end[1][column]; j++, number++) {
            const real value = x[(size_t)i * r->size[1] + (size_t)j];
            if (value > *largest || value != value) *largest = value, argmax = number;
        }
    return argmax;
}

static void max_of_regions(const fastnn_regions *r, const real *x, real *y, void *argmax) {
    for (size_t i = 0, index = 0; i < r->places[0]; i++)
        for (size_t j = 0; j < r->places[1]; j++, index++) {
            const size_t number = argmax_of_region(r, x, i, j, &y[index]);
            if (r->argmax_bytes == 1)
                ((uint8_t *)argmax)[index] = (uint8_t)number;
            else
                ((uint32_t *)argmax)[index] = (uint32_t)number;
        }
}

static void return_largest(const fastnn_regions *r, const real *dy, const void *argmax, real *dx) {
    memset(dx, 0, r->size[0] * r->size[1] * sizeof *dx);
    for (size_t i = 0, index = 0; i < r->places[0]; i++)
        for (size_t j = 0; j < r->places[1]; j++, index++) {
            const size_t width = (size_t)(r->end[1][j] - r->begin[1][j]);
            const size_t number =
                r->argmax_bytes == 1 ? ((const uint8_t *)argmax)[index] : ((const uint32_t *)argmax)[index];
            const size_t row = (size_t)r->begin[0][i] + number / width;
            // Always so, unless someone has written to `argmax` since forward.
            if (row < (size_t)r->end[0][i]) dx[row * r->size[1] + (size_t)r->begin[1][j] + number % width] += dy[index];
        }
}

static void pool_regions(const fastnn_regions *r, const void *x, void *y, void *argmax, void *scratch) {
    if (r->mode == FASTNN_MAX_POOL)
        max_of_regions(r, x, y, argmax);
    else
        mean_of_regions(r, x, y, scratch);
}

static void unpool_regions(const fastnn_regions *r, const void *dy, void *dx, const void *argmax, void *scratch) {
    if (r->mode == FASTNN_MAX_POOL)
        return_largest(r, dy, argmax, dx);
    else
        spread_means(r, dy, dx, scratch);
}

#endif
