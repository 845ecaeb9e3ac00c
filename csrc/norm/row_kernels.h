// Norms over contiguous rows: layer norm, RMS norm, group norm, instance norm.
#ifndef FASTNN_ROW_KERNELS_H
#define FASTNN_ROW_KERNELS_H

#include "runtime/tables.h"

// What a row's gradient is made of: dx = scale weight dy - (slope (x - center) + shift), the mean's leading digits
// being `center`.
typedef struct {
    double center, scale, slope, shift;
} fastnn_row_gradient;

// Sums over the rows of a piece, one for each channel; where a channel is one element wide, those of the last rows
// are `real`. NULL: not wanted.
typedef struct {
    double *dweight, *dbias;
    void *recent_dweight, *recent_dbias;
} fastnn_norm_sums;

enum { RECENT_ROWS = 64 };  // so many rows may be summed in `real`

typedef struct fastnn_row_table {
    // norm->mean, norm->rstd and norm->variance of `rows` rows
    void (*statistics)(const fastnn_norm *norm, size_t row, size_t rows);
    // y of elements first ... first + count - 1 of each of these rows, one row behind the other
    void (*apply)(const fastnn_norm *norm, size_t row, size_t rows, size_t first, size_t count, void *y);
    // The gradients of `rows` rows; what they add to dweight and dbias is added to the sums.
    void (*sums)(const fastnn_norm *norm, size_t row, size_t rows, fastnn_row_gradient *gradients,
                 const fastnn_norm_sums *sums);
    // dx, as `apply` writes y
    void (*apply_backward)(const fastnn_norm *norm, const fastnn_row_gradient *gradients, size_t row, size_t rows,
                           size_t first, size_t count, void *dx);
    // Adds `recent` to `sums` and clears it.
    void (*flush)(size_t n, void *recent, double *sums);
} fastnn_row_table;

#endif
