// Layer and RMS norm of short rows, LANES of them at a time, a row to a lane. Part of row_kernels.c.
#ifndef FASTNN_ROW_SHORT_H
#define FASTNN_ROW_SHORT_H

#include "norm/row_kernels.h"
#include "simd/short_rows.h"

enum { SHORT_ROW = 32 };  // elements of the longest: the squares of rows of 64 cost more than they save

static bool is_short(const fastnn_norm *norm) {
    return norm->inner == 1 && norm->groups == 1 && norm->channels <= SHORT_ROW;
}

// ---- statistics ----------------------------------------------------------------------------------------------------

// Of at most LANES rows. It makes the two passes of block_moments.
static void lanes_statistics(const fastnn_norm *norm, size_t row, size_t rows, double *variances) {
    const size_t n = norm->channels;
    const V count = vset((real)n);
    real tile[SHORT_ROW * LANES], near[LANES], rest[LANES], squares[LANES];
    load_as_columns(rows, n, (const real *)norm->x + row * n, tile, LANES);
    V sum = vzero(), square = vzero(), center = vzero();
    if (norm->mean != NULL) {
        for (size_t c = 0; c < n; c++) sum += vload(tile + c * LANES);
        center = sum / count;
        sum = vzero();
    }
    for (size_t c = 0; c < n; c++) {
        const V d = vload(tile + c * LANES) - center;
        sum += d;
        square = vmadd(d, d, square);
    }
    vstore(near, center), vstore(rest, sum), vstore(squares, square);
    for (size_t r = 0; r < rows; r++) {
        const double low = norm->mean == NULL ? 0 : (double)rest[r] / (double)n;
        if (norm->mean != NULL) norm->mean[row + r] = (double)near[r] + low;
        variances[r] = (double)squares[r] / (double)n - low * low;
    }
}

static void short_statistics(const fastnn_norm *norm, size_t row, size_t rows, double *variances) {
    for (size_t r = 0; r < rows; r += LANES)
        lanes_statistics(norm, row + r, rows - r < LANES ? rows - r : LANES, variances + r);
}

// ---- forward -------------------------------------------------------------------------------------------------------

static void set_lane(real *tile, size_t n, size_t lane, const real *row) {
    for (size_t c = 0; c < n; c++) tile[c * LANES + lane] = row == NULL ? 0 : row[c];
}

// Of at most LANES rows; a row of huge deviations gets numbers of 0.
typedef struct {
    real center[LANES], rstd[LANES], shift[LANES];
} lane_scales;
static lane_scales scales_of_lanes(const fastnn_norm *norm, size_t row, size_t rows) {
    lane_scales s = {{0}, {0}, {0}};
    for (size_t r = 0; r < rows; r++) {
        const double mean = mean_of(norm, row + r), rstd = norm->rstd[row + r];
        if (is_huge(norm, row + r)) continue;
        s.center[r] = (real)mean;
        s.rstd[r] = (real)rstd;
        s.shift[r] = (real)(((double)s.center[r] - mean) * rstd);
    }
    return s;
}
static row_scale load_scales(const lane_scales *s) {
    return (row_scale){vload(s->center), vload(s->rstd), vload(s->shift)};
}

static void lanes_apply(const fastnn_norm *norm, size_t row, size_t rows, real *y) {
    const size_t n = norm->channels;
    const real *x = (const real *)norm->x + row * n, *weight = norm->weight, *bias = norm->bias;
    const lane_scales numbers = scales_of_lanes(norm, row, rows);
    const row_scale scale = load_scales(&numbers);
    real tile[SHORT_ROW * LANES], huge[SHORT_ROW];
    load_as_columns(rows, n, x, tile, LANES);
    for (size_t c = 0; c < n; c++) {
        V v = normalised(vload(tile + c * LANES), scale);
        if (weight != NULL && bias != NULL)
            v = vmadd(v, vset(weight[c]), vset(bias[c]));
        else if (weight != NULL)
            v = v * vset(weight[c]);
        else if (bias != NULL)
            v = v + vset(bias[c]);
        vstore(tile + c * LANES, v);
    }
    for (size_t r = 0; r < rows; r++) {
        if (!is_huge(norm, row + r)) continue;
        apply_huge(norm, row + r, 0, n, x + r * n, huge);
        set_lane(tile, n, r, huge);
    }
    store_as_rows(rows, n, tile, LANES, y);
}

static void short_apply(const fastnn_norm *norm, size_t row, size_t rows, real *y) {
    for (size_t r = 0; r < rows; r += LANES)
        lanes_apply(norm, row + r, rows - r < LANES ? rows - r : LANES, y + r * norm->channels);
}

// ---- backward ------------------------------------------------------------------------------------------------------

// Adds the columns' sums over the rows to `products` (of dy xhat) and `totals` (of dy), a lane each.
static void lanes_sums(const fastnn_norm *norm, size_t row, size_t rows, fastnn_row_gradient *gradients,
                       const fastnn_norm_sums *sums, real *products, real *totals) {
    const size_t n = norm->channels;
    const real *weight = norm->weight;
    const lane_scales numbers = scales_of_lanes(norm, row, rows);
    const row_scale scale = load_scales(&numbers);
    real dy[SHORT_ROW * LANES], x[SHORT_ROW * LANES], each[LANES], each_xhat[LANES];
    load_as_columns(rows, n, (const real *)norm->dy + row * n, dy, LANES);
    load_as_columns(rows, n, (const real *)norm->x + row * n, x, LANES);
    for (size_t r = 0; r < rows; r++)
        if (is_huge(norm, row + r)) set_lane(dy, n, r, NULL), set_lane(x, n, r, NULL);
    V sum = vzero(), sum_xhat = vzero();
    for (size_t c = 0; c < n; c++) {
        const V d = vload(dy + c * LANES), xhat = normalised(vload(x + c * LANES), scale);
        const V g = d * (weight == NULL ? vone() : vset(weight[c]));
        sum += g;
        sum_xhat = vmadd(g, xhat, sum_xhat);
        vstore(products + c * LANES, vmadd(d, xhat, vload(products + c * LANES)));
        vstore(totals + c * LANES, vload(totals + c * LANES) + d);
    }
    vstore(each, sum), vstore(each_xhat, sum_xhat);
    for (size_t r = 0; r < rows; r++)
        gradients[r] = is_huge(norm, row + r) ? sums_of_huge(norm, row + r, sums)
                                              : gradient_of(norm, row + r, (double)each[r], (double)each_xhat[r]);
}

static void short_sums(const fastnn_norm *norm, size_t row, size_t rows, fastnn_row_gradient *gradients,
                       const fastnn_norm_sums *sums) {
    real products[SHORT_ROW * LANES] = {0}, totals[SHORT_ROW * LANES] = {0};
    for (size_t r = 0; r < rows; r += LANES)
        lanes_sums(norm, row + r, rows - r < LANES ? rows - r : LANES, gradients + r, sums, products, totals);
    for (size_t c = 0; c < norm->channels; c++) {
        if (sums->dweight != NULL) ((real *)sums->recent_dweight)[c] += vsum(vload(products + c * LANES));
        if (sums->dbias != NULL) ((real *)sums->recent_dbias)[c] += vsum(vload(totals + c * LANES));
    }
}

static void lanes_apply_backward(const fastnn_norm *norm, const fastnn_row_gradient *gradients, size_t row, size_t rows,
                                 real *dx) {
    const size_t n = norm->channels;
    const real *dy = (const real *)norm->dy + row * n, *x = (const real *)norm->x + row * n, *weight = norm->weight;
    real tile[SHORT_ROW * LANES], of_x[SHORT_ROW * LANES], huge[SHORT_ROW];
    real center[LANES] = {0}, scale[LANES] = {0}, slope[LANES] = {0}, shift[LANES] = {0};
    for (size_t r = 0; r < rows; r++) {
        center[r] = (real)gradients[r].center, scale[r] = (real)gradients[r].scale;
        slope[r] = (real)gradients[r].slope, shift[r] = (real)gradients[r].shift;
    }
    load_as_columns(rows, n, dy, tile, LANES);
    load_as_columns(rows, n, x, of_x, LANES);
    for (size_t c = 0; c < n; c++) {
        const V g = vload(tile + c * LANES) * (weight == NULL ? vone() : vset(weight[c]));
        const V from_statistics = vmadd(vload(of_x + c * LANES) - vload(center), vload(slope), vload(shift));
        vstore(tile + c * LANES, vmadd(g, vload(scale), -from_statistics));
    }
    for (size_t r = 0; r < rows; r++) {
        if (!is_huge(norm, row + r)) continue;
        apply_backward_huge(norm, gradients + r, row + r, 0, n, dy + r * n, x + r * n, huge);
        set_lane(tile, n, r, huge);
    }
    store_as_rows(rows, n, tile, LANES, dx);
}

static void short_apply_backward(const fastnn_norm *norm, const fastnn_row_gradient *gradients, size_t row, size_t rows,
                                 real *dx) {
    for (size_t r = 0; r < rows; r += LANES)
        lanes_apply_backward(norm, gradients + r, row + r, rows - r < LANES ? rows - r : LANES,
                             dx + r * norm->channels);
}

#endif
