// Kernels of the norms over contiguous rows: layer norm, RMS norm, group norm, instance norm. How the rows are cut into
// chunks and pieces is the driver's matter (rows.c).
#ifndef FASTNN_ROW_KERNELS_H
#define FASTNN_ROW_KERNELS_H

#include "runtime/tables.h"

// The gradient of a row: dx = scale weight dy - (slope (x - center) + shift), with `center` the mean as a `real`.
typedef struct {
    double center, scale, slope, shift;
} fastnn_row_gradient;

// Sums over the rows of a piece, one for each channel; NULL: not wanted. Where a channel is one element wide, the last
// rows are summed in `real`, and these `recent` sums are not yet in the others.
typedef struct {
    double *dweight, *dbias;
    void *recent_dweight, *recent_dbias;
} fastnn_norm_sums;

enum { RECENT_ROWS = 64 };  // the most rows that may be summed in `real`

// A part of a sample whose channels are last in memory: some groups, at all positions. So that vectors are full,
// several positions may be taken as one line, but only of a whole sample, where they follow one another.
typedef struct {
    size_t sample, group, groups, together;
} fastnn_columns;

// The numbers of the scratch memory for columns, `width` of them in a line.
enum { COLUMN_ARRAYS = 8, COLUMN_SLACK = 16 };
static inline size_t fastnn_column_scratch(size_t width) { return COLUMN_ARRAYS * (width + COLUMN_SLACK); }

typedef struct fastnn_row_table {
    // Sets norm->mean, norm->rstd and norm->variance of `rows` rows, as far as they are not NULL.
    void (*statistics)(const fastnn_norm *norm, size_t row, size_t rows);
    // Writes y of elements first ... first + count - 1 of each of these rows, one row behind the other.
    void (*apply)(const fastnn_norm *norm, size_t row, size_t rows, size_t first, size_t count, void *y);
    // Finds the gradients of `rows` rows, and adds the rows' parts of dweight and dbias to the sums.
    void (*sums)(const fastnn_norm *norm, size_t row, size_t rows, fastnn_row_gradient *gradients,
                 const fastnn_norm_sums *sums);
    // Writes dx in the way that `apply` writes y.
    void (*apply_backward)(const fastnn_norm *norm, const fastnn_row_gradient *gradients, size_t row, size_t rows,
                           size_t first, size_t count, void *dx);
    // The same for a part of a sample whose channels are last: all of forward, and all of backward.
    void (*columns)(const fastnn_norm *norm, const fastnn_columns *part, double *scratch);
    void (*columns_backward)(const fastnn_norm *norm, const fastnn_columns *part, const fastnn_norm_sums *sums,
                             double *scratch);
    // Adds `recent` to `sums` and clears it.
    void (*flush)(size_t n, void *recent, double *sums);
    // Rounds n sums to elements of the dtype.
    void (*round)(size_t n, const double *sums, void *to);
} fastnn_row_table;

#endif
