// Kernels of arrays with channels: the moments of channels, y = (x - center) scale + shift and its gradient. The
// numbers of each channel that they take come from per_channel_kernels.h. How arrays are cut into tiles is the drivers'
// matter.
//
// A tile is rows x n contiguous elements. With channels first, each row belongs to one channel, and row r takes element
// r of the per-channel arrays. With channels last, each row has an element of every channel, and column i takes element
// i of the per-channel arrays.
#ifndef FASTNN_CHANNEL_KERNELS_H
#define FASTNN_CHANNEL_KERNELS_H

#include "math/merge_moments.h"
#include "runtime/tables.h"

enum {
    CHANNELS_FIRST,  // memory is (outer, channels, inner)
    CHANNELS_LAST,   // memory is (outer, inner, channels)
    LAYOUTS,
};

// The largest tile. Together with the few other arrays of a chain it fills the inner caches. With channels last most
// tiles of this size have several rows, which share one load of the per-channel numbers.
enum { CHAIN_TILE_BYTES = 32 << 10 };

// An activation of z = (x - center) scale + shift, or the activation's gradient from dy. `out` may be x or dy.
typedef void fastnn_scaled_kernel(size_t rows, size_t n, void *out, const void *dy, const void *x, const void *center,
                                  const void *scale, const void *shift, const double *parameters);

typedef struct fastnn_channel_table {
    // Adds rows x n elements of one channel to `moments`; a row begins `stride` elements after the one before.
    void (*channel_moments)(size_t rows, size_t stride, size_t n, const void *x, fastnn_moments *moments);
    // The statistics of a channel where its moments are not finite (moments.h).
    fastnn_statistics (*careful_statistics)(size_t rows, size_t stride, size_t n, const void *x);
    // Sets the moments of n columns of `rows` rows. `moments` points to three arrays: mean, mean_low and m2 of
    // fastnn_moments.
    void (*column_moments)(size_t rows, size_t stride, size_t n, const void *x, double *const *moments);
    // Adds the moments `b`, of count_b rows, to the moments `a`, of count_a rows; `a` is not read where that is 0.
    void (*merge_columns)(size_t n, double count_a, double *const *a, double count_b, double *const *b);

    // y = (x - center) scale + shift; y may be x.
    void (*scale[LAYOUTS])(size_t rows, size_t n, void *y, const void *x, const void *center, const void *scale,
                           const void *shift);
    // Adds a tile's sum of g to sums[0][c] and its sum of g xhat to sums[1][c], for each of its channels c. With
    // channels first the sums are of double. With channels last they are of the tile's dtype, since every row loads and
    // stores them: for few rows, until they are added to sums of double.
    void (*sums[LAYOUTS])(size_t rows, size_t n, const void *g, const void *x, const void *center, const void *rstd,
                          void *const *sums);
    // dx = a g + b xhat + c; dx may be g.
    void (*gradient[LAYOUTS])(size_t rows, size_t n, void *dx, const void *g, const void *x, const void *center,
                              const void *rstd, const void *a, const void *b, const void *c);
    // For each activation, forward and backward. NULL for costly activations: beside them another pass over the first
    // cache does not matter.
    fastnn_scaled_kernel *scaled[ACTIVATION_COUNT][2][LAYOUTS];
    void (*add)(size_t n, void *y, const void *x, const void *addend);  // y = x + addend
} fastnn_channel_table;

#endif
