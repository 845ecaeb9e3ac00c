// Norms over contiguous rows: see row_kernels.h. Compiled once for each instruction set and dtype, as
// elementwise_kernels.c.
//
// A row's mean is used in two parts: `center`, which is the mean as a `real`, and `low`, what this rounding lost. Where
// x is near the mean, x - center is exact, so that a mean of a million costs no digits. An RMS norm is the same with a
// mean of 0.
#include "norm/row_kernels.h"

#include <math.h>

#include "math/moments.h"

#define NOINLINE static __attribute__((noinline))
#define COLD static __attribute__((cold, noinline))  // seldom called: the compiler keeps it small

enum {
    TOGETHER = 4,                 // rows at a time
    SHORT_ELEMENTS = 64 * LANES,  // of the longest row whose sum of squares is taken in one vector
    SUM_ELEMENTS = 2048,          // the most elements of a row that are summed in `real` for its gradient
};

static size_t row_length(const fastnn_norm *norm) { return norm->channels * norm->inner; }
// The index of the weight of a row's first channel.
static size_t first_channel(const fastnn_norm *norm, size_t row) { return row % norm->groups * norm->channels; }
// Where a row begins, and its element i, counted channel by channel, lies behind that.
static size_t start_of(const fastnn_norm *norm, size_t row) {
    if (!norm->channels_last) return row * row_length(norm);
    return row / norm->groups * norm->groups * row_length(norm) + first_channel(norm, row);
}
static size_t place_of(const fastnn_norm *norm, size_t i) {
    if (!norm->channels_last) return i;
    return i % norm->inner * norm->groups * norm->channels + i / norm->inner;
}
static double mean_of(const fastnn_norm *norm, size_t row) { return norm->mean == NULL ? 0 : norm->mean[row]; }
static double value_or(const real *values, size_t i, double otherwise) {
    return values == NULL ? otherwise : (double)values[i];
}

// ---- statistics ----------------------------------------------------------------------------------------------------

static double block_squares(size_t n, const real *x) {
    V sum[MOMENT_SUMS];
    for (int u = 0; u < MOMENT_SUMS; u++) sum[u] = vzero();
    size_t i = 0;
    for (; i + MOMENT_SUMS * LANES <= n; i += MOMENT_SUMS * LANES) {
        for (int u = 0; u < MOMENT_SUMS; u++) {
            const V v = vload(x + i + u * LANES);
            sum[u] = vmadd(v, v, sum[u]);
        }
    }
    for (size_t part; i < n; i += part) {
        part = n - i < LANES ? n - i : LANES;
        const V v = vload_part(x + i, part);
        sum[0] = vmadd(v, v, sum[0]);
    }
    return (double)vsum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static double mean_square(size_t n, const real *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i += MOMENT_ELEMENTS)
        sum += block_squares(n - i < MOMENT_ELEMENTS ? n - i : MOMENT_ELEMENTS, x + i);
    return sum / (double)n;
}

// Returns the variance of a row and sets norm->mean; or returns the mean square if norm->mean is NULL. It is not finite
// where the sums leave the range of `real`.
NOINLINE double long_row(const fastnn_norm *norm, size_t row) {
    const size_t n = row_length(norm);
    const real *x = (const real *)norm->x + row * n;
    if (norm->mean == NULL) return mean_square(n, x);
    const fastnn_moments moments = run_moments(n, x);
    norm->mean[row] = moments.mean;
    return moments.m2 / (double)n;
}

// The same for several rows of at most SHORT_ELEMENTS, to `variances`. It makes the two passes of block_moments, but
// takes the sum of a row in one vector, and several rows at a time, so that their additions overlap.
ALWAYS_INLINE void short_rows(int rows, const fastnn_norm *norm, size_t row, bool centred, double *variances) {
    const size_t n = row_length(norm), part = n % LANES, whole = n - part;
    const real *x = (const real *)norm->x + row * n;
    const V inside = vload_part(ones, part);
    real near[TOGETHER] = {0};
    V sum[TOGETHER], square[TOGETHER];
    for (int k = 0; k < rows; k++) sum[k] = square[k] = vzero();
    if (centred) {
        for (size_t i = 0; i < whole; i += LANES) UNROLL
        for (int k = 0; k < rows; k++) sum[k] += vload(x + (size_t)k * n + i);
        for (int k = 0; k < rows; k++) {
            if (part > 0) sum[k] += vload_part(x + (size_t)k * n + whole, part);
            near[k] = (real)((double)vsum(sum[k]) / (double)n);
            sum[k] = vzero();
        }
    }
    for (size_t i = 0; i < whole; i += LANES) {
        for (int k = 0; k < rows; k++) {
            const V d = vload(x + (size_t)k * n + i) - vset(near[k]);
            sum[k] += d;
            square[k] = vmadd(d, d, square[k]);
        }
    }
    for (int k = 0; k < rows; k++) {
        if (part > 0) {
            const V d = vload_part(x + (size_t)k * n + whole, part) - vset(near[k]) * inside;
            sum[k] += d;
            square[k] = vmadd(d, d, square[k]);
        }
        const double low = (double)vsum(sum[k]) / (double)n, mean_of_squares = (double)vsum(square[k]) / (double)n;
        if (centred) {
            norm->mean[row + (size_t)k] = (double)near[k] + low;
            variances[k] = mean_of_squares - low * low;
        } else {
            variances[k] = mean_of_squares;
        }
    }
}

ALWAYS_INLINE void all_short_rows(const fastnn_norm *norm, size_t row, size_t rows, bool centred, double *variances) {
    size_t r = 0;
    for (; r + TOGETHER <= rows; r += TOGETHER) short_rows(TOGETHER, norm, row + r, centred, variances + r);
    for (; r < rows; r++) short_rows(1, norm, row + r, centred, variances + r);
}

// The statistics of a row whose variance is not finite.
COLD void careful_row(const fastnn_norm *norm, size_t row) {
    const bool last = norm->channels_last;
    const fastnn_statistics found = careful_statistics(last ? norm->inner : 1, norm->groups * norm->channels,
                                                       last ? norm->channels : row_length(norm),
                                                       (const real *)norm->x + start_of(norm, row), norm->mean != NULL);
    if (norm->mean != NULL) norm->mean[row] = found.mean;
    if (norm->variance != NULL) norm->variance[row] = found.variance;
    norm->rstd[row] = rstd_of_statistics(found, norm->eps);
}

// ---- rows of huge deviations ---------------------------------------------------------------------------------------

// Where they are so large that x - mean or, in backward, rstd^2 may leave the range of `real`, all is computed in
// double, of x times a power of two: xhat is the same for it.
#define LEAST_RSTD __builtin_ldexp(1, FASTNN_BITS == 32 ? -50 : -480)
static bool is_huge(const fastnn_norm *norm, size_t row) { return norm->rstd[row] < LEAST_RSTD; }

// xhat = (x unit - mean) rstd
typedef struct {
    double unit, mean, rstd;
} huge_row;

static huge_row huge_row_of(const fastnn_norm *norm, size_t row) {
    int exponent;
    const double rstd = frexp(norm->rstd[row], &exponent), unit = ldexp(1, exponent);
    return (huge_row){unit, mean_of(norm, row) * unit, rstd};
}

COLD void apply_huge(const fastnn_norm *norm, size_t row, size_t first, size_t count, const real *x, real *y) {
    const huge_row scaled = huge_row_of(norm, row);
    for (size_t i = 0; i < count; i++) {
        const size_t channel = first_channel(norm, row) + (first + i) / norm->inner, at = place_of(norm, i);
        const double xhat = ((double)x[at] * scaled.unit - scaled.mean) * scaled.rstd;
        y[at] = (real)(xhat * value_or(norm->weight, channel, 1) + value_or(norm->bias, channel, 0));
    }
}

// The gradient is that of x unit, which comes to that of x by its own factor `unit`.
COLD fastnn_row_gradient sums_of_huge(const fastnn_norm *norm, size_t row, const fastnn_norm_sums *sums) {
    const huge_row scaled = huge_row_of(norm, row);
    const size_t n = row_length(norm), start = start_of(norm, row);
    const real *dy = (const real *)norm->dy + start, *x = (const real *)norm->x + start;
    double sum = 0, sum_low = 0, sum_xhat = 0, sum_xhat_low = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t channel = first_channel(norm, row) + i / norm->inner, at = place_of(norm, i);
        const double d = (double)dy[at], g = d * value_or(norm->weight, channel, 1);
        const double xhat = ((double)x[at] * scaled.unit - scaled.mean) * scaled.rstd;
        add_exactly(&sum, &sum_low, g);
        add_exactly(&sum_xhat, &sum_xhat_low, g * xhat);
        if (sums->dweight != NULL) sums->dweight[channel] += d * xhat;
        if (sums->dbias != NULL) sums->dbias[channel] += d;
    }
    const double own = norm->given ? 0 : scaled.rstd / (double)n;
    return (fastnn_row_gradient){scaled.mean, scaled.rstd, own * scaled.rstd * (sum_xhat + sum_xhat_low),
                                 norm->mean == NULL ? 0 : own * (sum + sum_low)};
}

COLD void apply_backward_huge(const fastnn_norm *norm, const fastnn_row_gradient *gradient, size_t row, size_t first,
                              size_t count, const real *dy, const real *x, real *dx) {
    const double unit = huge_row_of(norm, row).unit;
    for (size_t i = 0; i < count; i++) {
        const size_t channel = first_channel(norm, row) + (first + i) / norm->inner, at = place_of(norm, i);
        const double g = (double)dy[at] * value_or(norm->weight, channel, 1);
        const double from_statistics = ((double)x[at] * unit - gradient->center) * gradient->slope + gradient->shift;
        dx[at] = (real)((g * gradient->scale - from_statistics) * unit);
    }
}

// ---- forward -------------------------------------------------------------------------------------------------------

// How many elements ahead the kernels prefetch while they write results: the next chunk, whose sums would otherwise
// wait for memory.
static size_t ahead_of(const fastnn_norm *norm, size_t rows) {
    enum { LEAST_AHEAD = 4096 };
    const size_t chunk = rows * row_length(norm);
    return chunk > LEAST_AHEAD ? chunk : LEAST_AHEAD;
}

// xhat = (x - center) rstd + shift, where shift = -low rstd.
typedef struct {
    V center, rstd, shift;
} row_scale;

ALWAYS_INLINE row_scale scale_of(double mean, double rstd) {
    const real center = (real)mean;
    return (row_scale){vset(center), vset((real)rstd), vset((real)(((double)center - mean) * rstd))};
}
ALWAYS_INLINE V normalised(V x, row_scale row) { return vmadd(x - row.center, row.rstd, row.shift); }

// y = xhat weight + bias, with a weight and a bias for each element; NULL: 1 and 0.
ALWAYS_INLINE void apply_step(size_t i, size_t count, size_t ahead, const real *x, row_scale row, const real *weight,
                              const real *bias, real *y) {
    __builtin_prefetch(x + i + ahead);
    V v = normalised(vload_some(x + i, count), row);
    if (weight != NULL && bias != NULL)
        v = vmadd(v, vload_some(weight + i, count), vload_some(bias + i, count));
    else if (weight != NULL)
        v = v * vload_some(weight + i, count);
    else if (bias != NULL)
        v = v + vload_some(bias + i, count);
    vstore_some(y + i, count, v);
}
ALWAYS_INLINE void apply_vectors(size_t n, size_t ahead, const real *x, row_scale row, const real *weight,
                                 const real *bias, real *y) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) apply_step(i, LANES, ahead, x, row, weight, bias, y);
    if (i < n) apply_step(i, n - i, ahead, x, row, weight, bias, y);
}

// y = (x - center) slope + shift
ALWAYS_INLINE void apply_run(size_t n, size_t ahead, const real *x, real center, real slope, real shift, real *y) {
    const V c = vset(center), a = vset(slope), b = vset(shift);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __builtin_prefetch(x + i + ahead);
        vstore(y + i, vmadd(vload(x + i) - c, a, b));
    }
    if (i < n) vstore_part(y + i, n - i, vmadd(vload_part(x + i, n - i) - c, a, b));
}

// Writes y from element `first` of the row on, for channels of several elements, which share a weight and a bias.
NOINLINE void apply_channels(const fastnn_norm *norm, size_t row, size_t first, size_t count, size_t ahead,
                             const real *x, real *y) {
    const double mean = mean_of(norm, row), rstd = norm->rstd[row], low = mean - (double)(real)mean;
    size_t channel = first_channel(norm, row) + first / norm->inner, left = norm->inner - first % norm->inner;
    for (size_t i = 0, n; i < count; i += n, left = norm->inner, channel++) {
        n = count - i < left ? count - i : left;
        const double slope = rstd * value_or(norm->weight, channel, 1);
        const double shift = value_or(norm->bias, channel, 0) - low * slope;
        apply_run(n, ahead, x + i, (real)mean, (real)slope, (real)shift, y + i);
    }
}

// ---- backward ------------------------------------------------------------------------------------------------------

// The gradient of a row from its sums of g = dy weight and of g xhat, with xhat = (x - mean) rstd. Statistics that were
// given do not depend on x.
static fastnn_row_gradient gradient_of(const fastnn_norm *norm, size_t row, double sum, double sum_xhat) {
    const double n = (double)row_length(norm), mean = mean_of(norm, row), rstd = norm->rstd[row];
    const double center = (double)(real)mean, low = mean - center;
    const double own = norm->given ? 0 : rstd / n, slope = own * rstd * sum_xhat;
    return (fastnn_row_gradient){center, rstd, slope, (norm->mean == NULL ? 0 : own * sum) - slope * low};
}

// Takes `count` columns of several rows: adds to each row's sums of g and g xhat, and to the columns' sums over the
// rows of dy xhat (dweight) and of dy (dbias).
ALWAYS_INLINE void sums_step(int rows, size_t stride, size_t i, size_t count, const real *dy, const real *x,
                             const real *weight, const row_scale *scale, V *sum, V *sum_xhat, real *dweight,
                             real *dbias) {
    const V w = weight == NULL ? vone() : vload_some(weight + i, count);
    V products = dweight == NULL ? vzero() : vload_some(dweight + i, count);
    V total = dbias == NULL ? vzero() : vload_some(dbias + i, count);
    for (int k = 0; k < rows; k++) {
        const size_t at = (size_t)k * stride + i;
        const V d = vload_some(dy + at, count), xhat = normalised(vload_some(x + at, count), scale[k]), g = d * w;
        sum[k] += g;
        sum_xhat[k] = vmadd(g, xhat, sum_xhat[k]);
        products = vmadd(d, xhat, products);
        total += d;
    }
    if (dweight != NULL) vstore_some(dweight + i, count, products);
    if (dbias != NULL) vstore_some(dbias + i, count, total);
}

// One loop for all layers, whether they have weights or not: a step asks for each of the three, which takes less time
// than its loads.
ALWAYS_INLINE void sums_of_some(int rows, const fastnn_norm *norm, size_t row, fastnn_row_gradient *gradients,
                                const fastnn_norm_sums *sums) {
    const size_t n = row_length(norm), channel = first_channel(norm, row);
    const real *dy = (const real *)norm->dy + row * n, *x = (const real *)norm->x + row * n;
    const real *weight = norm->weight == NULL ? NULL : (const real *)norm->weight + channel;
    real *dweight = sums->dweight == NULL ? NULL : (real *)sums->recent_dweight + channel;
    real *dbias = sums->dbias == NULL ? NULL : (real *)sums->recent_dbias + channel;
    row_scale scale[TOGETHER];
    double sum[TOGETHER] = {0}, sum_xhat[TOGETHER] = {0};
    for (int k = 0; k < rows; k++) scale[k] = scale_of(mean_of(norm, row + (size_t)k), norm->rstd[row + (size_t)k]);
    for (size_t i = 0; i < n;) {
        const size_t end = n - i < SUM_ELEMENTS ? n : i + SUM_ELEMENTS;
        V s[TOGETHER], p[TOGETHER];
        for (int k = 0; k < rows; k++) s[k] = p[k] = vzero();
        for (; i + LANES <= end; i += LANES) sums_step(rows, n, i, LANES, dy, x, weight, scale, s, p, dweight, dbias);
        if (i < end) sums_step(rows, n, i, end - i, dy, x, weight, scale, s, p, dweight, dbias);
        i = end;
        for (int k = 0; k < rows; k++) sum[k] += (double)vsum(s[k]), sum_xhat[k] += (double)vsum(p[k]);
    }
    for (int k = 0; k < rows; k++) gradients[k] = gradient_of(norm, row + (size_t)k, sum[k], sum_xhat[k]);
}

// Of one channel of a row: the sums of dy and of dy (x - center).
static void run_sums(size_t n, const real *dy, const real *x, real center, double *sum, double *product) {
    const V c = vset(center);
    *sum = *product = 0;
    for (size_t i = 0; i < n;) {
        const size_t end = n - i < SUM_ELEMENTS ? n : i + SUM_ELEMENTS;
        V s[MOMENT_SUMS], p[MOMENT_SUMS];
        for (int u = 0; u < MOMENT_SUMS; u++) s[u] = p[u] = vzero();
        for (; i + MOMENT_SUMS * LANES <= end; i += MOMENT_SUMS * LANES) {
            for (int u = 0; u < MOMENT_SUMS; u++) {
                const V d = vload(dy + i + u * LANES);
                s[u] += d;
                p[u] = vmadd(d, vload(x + i + u * LANES) - c, p[u]);
            }
        }
        for (size_t part; i < end; i += part) {
            part = end - i < LANES ? end - i : LANES;
            const V d = vload_part(dy + i, part);
            s[0] += d;
            p[0] = vmadd(d, vload_part(x + i, part) - c, p[0]);
        }
        *sum += (double)vsum((s[0] + s[1]) + (s[2] + s[3]));
        *product += (double)vsum((p[0] + p[1]) + (p[2] + p[3]));
    }
}

// The sums of a row, from those of its channels.
typedef struct {
    double sum, sum_xhat;
} row_sums;

// Adds a channel's sums of dy and of dy (x - center) to its row's, and to dweight and dbias.
static void add_channel(const fastnn_norm *norm, size_t row, size_t channel, double sum, double product, row_sums *all,
                        const fastnn_norm_sums *sums) {
    const double mean = mean_of(norm, row), low = mean - (double)(real)mean;
    const double sum_xhat = norm->rstd[row] * (product - low * sum), weight = value_or(norm->weight, channel, 1);
    all->sum += weight * sum;
    all->sum_xhat += weight * sum_xhat;
    if (sums->dweight != NULL) sums->dweight[channel] += sum_xhat;
    if (sums->dbias != NULL) sums->dbias[channel] += sum;
}

NOINLINE fastnn_row_gradient sums_of_channels(const fastnn_norm *norm, size_t row, const fastnn_norm_sums *sums) {
    const size_t start = row * row_length(norm), channel = first_channel(norm, row);
    const real *dy = (const real *)norm->dy + start, *x = (const real *)norm->x + start;
    row_sums all = {0, 0};
    for (size_t c = channel; c < channel + norm->channels; c++, dy += norm->inner, x += norm->inner) {
        double sum, product;
        run_sums(norm->inner, dy, x, (real)mean_of(norm, row), &sum, &product);
        add_channel(norm, row, c, sum, product, &all, sums);
    }
    return gradient_of(norm, row, all.sum, all.sum_xhat);
}

ALWAYS_INLINE void backward_step(size_t i, size_t count, size_t ahead, const real *dy, const real *x,
                                 const real *weight, V center, V scale, V slope, V shift, real *dx) {
    __builtin_prefetch(dy + i + ahead);
    __builtin_prefetch(x + i + ahead);
    V g = vload_some(dy + i, count);
    if (weight != NULL) g = g * vload_some(weight + i, count);
    const V from_statistics = vmadd(vload_some(x + i, count) - center, slope, shift);
    vstore_some(dx + i, count, vmadd(g, scale, -from_statistics));
}
ALWAYS_INLINE void backward_vectors(size_t n, size_t ahead, const real *dy, const real *x, const real *weight,
                                    real scale, const fastnn_row_gradient *row, real *dx) {
    const V center = vset((real)row->center), slope = vset((real)row->slope), shift = vset((real)row->shift);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        backward_step(i, LANES, ahead, dy, x, weight, center, vset(scale), slope, shift, dx);
    if (i < n) backward_step(i, n - i, ahead, dy, x, weight, center, vset(scale), slope, shift, dx);
}

static void flush(size_t n, void *memory, double *sums) {
    real *recent = memory;
    for (size_t i = 0; i < n; i++) sums[i] += (double)recent[i], recent[i] = 0;
}

static void round_sums(size_t n, const double *sums, void *memory) {
    real *to = memory;
    for (size_t i = 0; i < n; i++) to[i] = (real)sums[i];
}

#include "norm/row_columns.h"
#include "norm/row_short.h"

// ---- the table -----------------------------------------------------------------------------------------------------

static void statistics(const fastnn_norm *norm, size_t row, size_t rows) {
    double *variances = norm->rstd + row;
    if (is_short(norm))
        short_statistics(norm, row, rows, variances);
    else if (row_length(norm) > SHORT_ELEMENTS)
        for (size_t r = 0; r < rows; r++) variances[r] = long_row(norm, row + r);
    else if (norm->mean == NULL)
        all_short_rows(norm, row, rows, false, variances);
    else
        all_short_rows(norm, row, rows, true, variances);
    if (norm->variance != NULL) memcpy(norm->variance + row, variances, rows * sizeof *variances);
    bool finite = true;
    for (size_t r = 0; r < rows; r++) finite &= variances[r] - variances[r] == 0;
    for (size_t r = row; r < row + rows && !finite; r++)
        if (isfinite(norm->rstd[r]))
            norm->rstd[r] = 1 / sqrt(norm->rstd[r] + norm->eps);
        else
            careful_row(norm, r);
    for (size_t r = 0; r < rows && finite; r++) variances[r] = 1 / sqrt(variances[r] + norm->eps);
}

static void apply(const fastnn_norm *norm, size_t row, size_t rows, size_t first, size_t count, void *memory) {
    const size_t n = row_length(norm), ahead = ahead_of(norm, rows);
    real *y = memory;
    if (is_short(norm)) {
        short_apply(norm, row, rows, y);
        return;
    }
    for (size_t r = row; r < row + rows; r++, y += count) {
        const real *x = (const real *)norm->x + r * n + first;
        if (is_huge(norm, r)) {
            apply_huge(norm, r, first, count, x, y);
            continue;
        }
        if (norm->inner > 1) {
            apply_channels(norm, r, first, count, ahead, x, y);
            continue;
        }
        const real *weight = norm->weight, *bias = norm->bias;
        const size_t channel = first_channel(norm, r) + first;
        const row_scale scale = scale_of(mean_of(norm, r), norm->rstd[r]);
        if (weight != NULL && bias != NULL)
            apply_vectors(count, ahead, x, scale, weight + channel, bias + channel, y);
        else if (weight != NULL)
            apply_vectors(count, ahead, x, scale, weight + channel, NULL, y);
        else if (bias != NULL)
            apply_vectors(count, ahead, x, scale, NULL, bias + channel, y);
        else
            apply_vectors(count, ahead, x, scale, NULL, NULL, y);
    }
}

static void sums(const fastnn_norm *norm, size_t row, size_t rows, fastnn_row_gradient *gradients,
                 const fastnn_norm_sums *sums) {
    if (is_short(norm)) {
        short_sums(norm, row, rows, gradients, sums);
        return;
    }
    size_t some;
    for (size_t r = 0; r < rows; r += some) {
        const size_t most = norm->inner == 1 && norm->groups == 1 && r + TOGETHER <= rows ? TOGETHER : 1;
        bool huge = false;
        for (size_t k = r; k < r + most; k++) huge = huge || is_huge(norm, row + k);
        some = huge ? 1 : most;
        if (is_huge(norm, row + r))
            gradients[r] = sums_of_huge(norm, row + r, sums);
        else if (norm->inner > 1)
            gradients[r] = sums_of_channels(norm, row + r, sums);
        else if (some == TOGETHER)
            sums_of_some(TOGETHER, norm, row + r, gradients + r, sums);
        else
            sums_of_some(1, norm, row + r, gradients + r, sums);
    }
}

static void apply_backward(const fastnn_norm *norm, const fastnn_row_gradient *gradients, size_t row, size_t rows,
                           size_t first, size_t count, void *memory) {
    const size_t ahead = ahead_of(norm, rows);
    real *dx = memory;
    if (is_short(norm)) {
        short_apply_backward(norm, gradients, row, rows, dx);
        return;
    }
    for (size_t r = row; r < row + rows; r++, gradients++, dx += count) {
        const size_t start = r * row_length(norm) + first;
        const real *dy = (const real *)norm->dy + start, *x = (const real *)norm->x + start, *weight = norm->weight;
        size_t channel = first_channel(norm, r) + first / norm->inner;
        if (is_huge(norm, r)) {
            apply_backward_huge(norm, gradients, r, first, count, dy, x, dx);
            continue;
        }
        if (norm->inner == 1 && weight != NULL) {
            backward_vectors(count, ahead, dy, x, weight + channel, (real)gradients->scale, gradients, dx);
            continue;
        }
        // One channel at a time, which has one weight; without weights the whole row at once.
        size_t left = weight == NULL ? count : norm->inner - first % norm->inner;
        for (size_t i = 0, n; i < count; i += n, left = norm->inner, channel++) {
            n = count - i < left ? count - i : left;
            const real scale = (real)(gradients->scale * value_or(weight, channel, 1));
            backward_vectors(n, ahead, dy + i, x + i, NULL, scale, gradients, dx + i);
        }
    }
}

const fastnn_row_table FASTNN_TABLE(row) = {
    .statistics = statistics,
    .apply = apply,
    .sums = sums,
    .apply_backward = apply_backward,
    .columns = columns,
    .columns_backward = columns_backward,
    .flush = flush,
    .round = round_sums,
};
