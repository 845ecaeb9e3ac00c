// Mean and sum of squared deviations of contiguous runs, accurate however large the mean is beside the deviations. For
// the *_kernels.c files.
#ifndef FASTNN_MOMENTS_H
#define FASTNN_MOMENTS_H

#include <float.h>
#include <stdbool.h>

#include "math/merge_moments.h"
#include "simd/simd.h"

// From the sums of `count` differences from `near`, and of their squares.
FORCE_INLINE fastnn_moments moments_of(double count, double near, double sum, double square) {
    const double m2 = square - sum * (sum / count);
    fastnn_moments moments = {count, near, 0, m2 < 0 ? 0 : m2};
    add_exactly(&moments.mean, &moments.mean_low, sum / count);
    return moments;
}

// Of rows x n elements, with `stride` elements from one row to the next, whose sums or squares leave the range of
// `real`, so that what the functions below return is not finite: in double, and of x times a power of two. An RMS
// norm's (not `centred`) have a mean of 0. NaN gives NaN, and so does an infinity, but for a mean square, which is
// infinite.
__attribute__((cold, noinline, unused)) static fastnn_statistics careful_statistics(size_t rows, size_t stride,
                                                                                    size_t n, const real *x,
                                                                                    bool centred) {
    const double nan = (double)__builtin_nanf("");
    double largest = 0, near = 0, near_low = 0, sum = 0, sum_low = 0, square = 0, square_low = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double size = __builtin_fabs((double)x[r * stride + i]);
            if (size != size) return (fastnn_statistics){nan, nan, nan, nan};
            if (size > largest) largest = size;
        }
    if (largest > DBL_MAX) return (fastnn_statistics){nan, 0, centred ? nan : largest, centred ? nan : largest};
    const double count = (double)(rows * n), unit = __builtin_ldexp(1, 1 - __builtin_ilogb(largest));
    for (size_t r = 0; r < rows && centred; r++)
        for (size_t i = 0; i < n; i++) add_exactly(&near, &near_low, (double)x[r * stride + i] * unit);
    near = (near + near_low) / count;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double d = (double)x[r * stride + i] * unit - near;
            if (centred) add_exactly(&sum, &sum_low, d);
            add_exactly(&square, &square_low, d * d);
        }
    const fastnn_moments scaled = moments_of(count, near, sum + sum_low, square + square_low);
    const double variance = scaled.m2 / count, mean = scaled.mean / unit;
    return (fastnn_statistics){mean > largest    ? largest
                               : mean < -largest ? -largest
                                                 : mean,
                               scaled.mean_low / unit, variance / unit / unit, __builtin_sqrt(variance) / unit};
}

static const real ones[LANES] = {[0 ... LANES - 1] = 1};  // vload_part(ones, n): 1 in the first n lanes, else 0

// Of rows x n elements, with `stride` elements from one row to the next. Two passes: the first finds a value near the
// mean, the second sums the differences from it, which loses nothing even where the mean is far larger than they are.
// For at most MOMENT_ELEMENTS elements, which stay in L1, since the sums are of `real`; where they leave its range, m2
// is not finite. The block at `next`, of the same shape, is prefetched meanwhile.
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
    const double rest = (double)vsum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    const double m2 = (double)vsum((square[0] + square[1]) + (square[2] + square[3]));
    return moments_of(count, near, rest, m2);
}

// Of one contiguous run of any length.
static inline fastnn_moments run_moments(size_t n, const real *x) {
    fastnn_moments all = {0, 0, 0, 0};
    for (size_t i = 0; i < n; i += MOMENT_ELEMENTS) {
        const size_t some = n - i < MOMENT_ELEMENTS ? n - i : MOMENT_ELEMENTS;
        all = merge_moments(all, block_moments(1, 0, some, x + i, x + i + (n - i > some ? some : 0)));
    }
    return all;
}
#endif
