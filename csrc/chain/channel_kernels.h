// Kernels of arrays with channels: moments, y = (x - center) scale + shift, and the gradient of that.
//
// A tile is rows x n contiguous elements. In planes every row has one channel: what belongs to a channel is indexed by
// the row. In columns every row has all channels: it is indexed by the column.
#ifndef FASTNN_CHANNEL_KERNELS_H
#define FASTNN_CHANNEL_KERNELS_H

#include "math/merge_moments.h"
#include "runtime/tables.h"

enum {
    PLANES,
    COLUMNS,
    LAYOUTS,
    // Of a tile: with the few arrays of a chain it fills the inner caches, and has rows enough of most columns for what
    // belongs to a column to be loaded once for several.
    CHAIN_TILE_BYTES = 32 << 10,
};

// An activation of z = (x - center) scale + shift, or its gradient: of dy. out may be x or dy.
typedef void fastnn_scaled_kernel(size_t rows, size_t n, void *out, const void *dy, const void *x, const void *center,
                                  const void *scale, const void *shift, const double *parameters);

typedef struct fastnn_channel_table {
    // Of rows x n elements, `stride` elements from row to row, all of one channel: added to `moments`.
    void (*plane_moments)(size_t rows, size_t stride, size_t n, const void *x, fastnn_moments *moments);
    // Of n columns, added to `moments`: arrays of means, rests and m2 (fastnn_moments), of `count` rows so far.
    void (*column_moments)(size_t rows, size_t stride, size_t n, const void *x, double count, double *const *moments);
    // Those of count_b rows are added to those of count_a.
    void (*merge_columns)(size_t n, double count_a, double *const *a, double count_b, double *const *b);
    // y = (x - center) scale + shift; y may be x
    void (*scale[LAYOUTS])(size_t rows, size_t n, void *y, const void *x, const void *center, const void *scale,
                           const void *shift);
    // sums[0][c] += sum of g, sums[1][c] += sum of g ((x - center) rstd)
    void (*sums[LAYOUTS])(size_t rows, size_t n, const void *g, const void *x, const void *center, const void *rstd,
                          double *const *sums);
    // dx = a g + b ((x - center) rstd) + c; dx may be g
    void (*gradient[LAYOUTS])(size_t rows, size_t n, void *dx, const void *g, const void *x, const void *center,
                              const void *rstd, const void *a, const void *b, const void *c);
    // Forward and backward; NULL where an activation takes so long that passes over L1 do not matter beside it.
    fastnn_scaled_kernel *scaled[ACTIVATION_COUNT][2][LAYOUTS];
    void (*add)(size_t n, void *y, const void *x, const void *addend);  // y = x + addend
} fastnn_channel_table;

#endif
