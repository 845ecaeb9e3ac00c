// The moments of arrays, whose digits do not suffer from a mean that is far larger than the deviations. Part of the
// *_kernels.c files.
#ifndef FASTNN_MOMENTS_H
#define FASTNN_MOMENTS_H

#include <float.h>

#include "math/merge_moments.h"
#include "simd/simd.h"

// From the sums of `count` differences from `near`, and of their squares.
FORCE_INLINE fastnn_moments moments_of(double count, double near, double sum, double square) {
    const double m2 = square - sum * (sum / count);
    fastnn_moments moments = {count, near, 0, m2 < 0 ? 0 : m2};
    add_to_mean(&moments.mean, &moments.mean_low, sum / count);
    return moments;
}

// In double, for values whose sums or squares leave the range of float.
__attribute__((noinline)) static fastnn_moments careful_moments(size_t rows, size_t stride, size_t n, const real *x) {
    const double count = (double)(rows * n);
    double near = (double)x[0], sum = 0, square = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) sum += ((double)x[r * stride + i] - near) / count;
    near += sum;
    sum = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double d = (double)x[r * stride + i] - near;
            sum += d;
            square += d * d;
        }
    return moments_of(count, near, sum, square);
}

// Its first n elements, loaded as a partial vector, are 1 in the used lanes and 0 in the others.
static const real ones[LANES] = {[0 ... LANES - 1] = 1};

// The moments of rows x n elements, with `stride` elements from one row to the next. The first pass finds a number near
// the mean. The second sums the differences from it, which are small and exact even where the mean is large. The sums
// are of `real`, so there may be at most MOMENT_ELEMENTS elements, which also stay in L1 for the second pass. That pass
// prefetches as many rows at `next`.
enum { MOMENT_ELEMENTS = 4096, MOMENT_SUMS = 4 };
static fastnn_moments block_moments(size_t rows, size_t stride, size_t n, const real *x, const real *next) {
    const size_t part = n % LANES, whole = n - part, together = whole - whole % (MOMENT_SUMS * LANES);
    const V inside = vload_part(ones, part);
    const double count = (double)(rows * n);
    V sum[MOMENT_SUMS], square[MOMENT_SUMS];
    for (int u = 0; u < MOMENT_SUMS; u++) sum[u] = vzero();
    for (size_t r = 0; r < rows; r++) {
        const real *row = x + r * stride;
        for (size_t i = 0; i < together; i += MOMENT_SUMS * LANES)
            for (int u = 0; u < MOMENT_SUMS; u++) sum[u] += vload(row + i + u * LANES);
        for (size_t i = together; i < whole; i += LANES) sum[0] += vload(row + i);
        sum[1] += vload_part(row + whole, part);
    }
    const double near = (double)(vsum((sum[0] + sum[1]) + (sum[2] + sum[3])) / (real)count);
    const V center = vset((real)near);
    for (int u = 0; u < MOMENT_SUMS; u++) sum[u] = square[u] = vzero();
    for (size_t r = 0; r < rows; r++) {
        const real *row = x + r * stride;
        for (size_t i = 0; i < together; i += MOMENT_SUMS * LANES) {
            for (size_t u = 0; u < MOMENT_SUMS * LANES * sizeof(real); u += 64)
                __builtin_prefetch((const char *)(next + r * stride + i) + u);
            for (int u = 0; u < MOMENT_SUMS; u++) {
                const V d = vload(row + i + u * LANES) - center;
                sum[u] += d;
                square[u] = vmadd(d, d, square[u]);
            }
        }
        for (size_t i = together; i < whole; i += LANES) {
            const V d = vload(row + i) - center;
            sum[0] += d;
            square[0] = vmadd(d, d, square[0]);
        }
        const V d = vload_part(row + whole, part) - center * inside;
        sum[1] += d;
        square[1] = vmadd(d, d, square[1]);
    }
    const double differences = (double)vsum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    const double squares = (double)vsum((square[0] + square[1]) + (square[2] + square[3]));
    if (!(squares <= DBL_MAX)) return careful_moments(rows, stride, n, x);
    return moments_of(count, near, differences, squares);
}

// The moments of n contiguous elements.
static inline fastnn_moments run_moments(size_t n, const real *x) {
    fastnn_moments all = {0, 0, 0, 0};
    for (size_t i = 0; i < n; i += MOMENT_ELEMENTS) {
        const size_t some = n - i < MOMENT_ELEMENTS ? n - i : MOMENT_ELEMENTS;
        all = merge_moments(all, block_moments(1, 0, some, x + i, x + i + (n - i > some ? some : 0)));
    }
    return all;
}
#endif
