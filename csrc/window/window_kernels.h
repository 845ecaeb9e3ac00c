// Windows that slide over images: what convolution and pooling read and write.
#ifndef FASTNN_WINDOW_KERNELS_H
#define FASTNN_WINDOW_KERNELS_H

#include "runtime/tables.h"

// Part of some images, padded and laid out in *phase planes*, so that each tap of neighbouring windows is a contiguous
// run at a constant distance from where the windows are, whatever stride and dilation. With stride s a row of an image
// is cut into s phases, every s-th element each; a plane has the elements of one phase of the rows and one of the
// columns, for all samples. Memory is [channel][row phase][column phase][sample][row][column].
typedef struct {
    fastnn_axis axis[2];                               // rows, columns
    size_t samples;                                    // how many images
    size_t first[2], places[2];                        // which windows
    size_t row_stride, channel_stride, sample_stride;  // of the images, in elements
    size_t phases[2];                                  // only those that a tap falls on
    size_t extent[2];                                  // rows and columns of a plane, in each sample
    size_t plane, channel;                             // elements of a plane, and from a channel to the next
} fastnn_block;

// A vector of neighbouring windows: where they are in a plane, and where their results go.
typedef struct {
    size_t at, to, count;
} fastnn_place;

// Weights of `outputs` x `channels` x rows x columns, in elements.
typedef struct {
    const void *data;
    size_t outputs, channels, taps[2];
    ptrdiff_t output, channel, tap[2];  // strides
} fastnn_weights;

// Rows to be copied, and how far in elements they and their samples are apart; `to` has columns apart too.
typedef struct {
    size_t samples, rows, columns, from_row, from_sample, to_column, to_row, to_sample;
} fastnn_delivery;

// What pooling looks up: where taps are, and a number for each row and each column of windows: max: the sum is the
// first tap outside the padding; mean: the product is the divisor. Those of columns are followed by FASTNN_BLOCK_SLACK
// times 1.
typedef struct {
    const size_t *offsets;
    const void *numbers[2];
} fastnn_pool_tables;

enum { FASTNN_BLOCK_SLACK = 16 };  // elements: a vector that begins in a plane may end behind it

typedef struct fastnn_window_table {
    size_t lanes, panel;  // elements of a vector; outputs that are computed together

    // Images to planes, with `fill` in the padding.
    void (*prepare)(const fastnn_block *block, const void *images, size_t channels, double fill, void *to);
    // One channel of a single sample's planes back to the image's rows first_row ... end_row - 1; what no tap falls on
    // is 0.
    void (*restore)(const fastnn_block *block, const void *from, size_t first_row, size_t end_row, void *image);

    // A panel of up to `panel` outputs: [channel][tap][output], with 0 for the outputs up to the next power of two.
    void (*pack)(const fastnn_weights *weights, void *to);
    // The results of one panel's `outputs` outputs, `pitch` elements apart. offsets: those of the taps; bias: `panel`
    // numbers, or NULL.
    void (*convolve)(const fastnn_block *block, const void *from, size_t channels, size_t outputs, const void *packed,
                     const void *bias, const size_t *offsets, const fastnn_place *places, size_t vectors, void *to,
                     size_t pitch);
    // Results to where they belong: `columns` of each row of each sample.
    void (*deliver)(const fastnn_delivery *delivery, const void *from, void *to);
    // sums[o * pitch + r] += the sum over all places of dy[o * dy_pitch + to] from[runs[r] + at], in whole vectors.
    void (*gradient)(const void *from, const size_t *runs, size_t count, const void *dy, size_t dy_pitch,
                     size_t outputs, const fastnn_place *places, size_t vectors, double *sums, size_t pitch);

    // y of the windows of a block, or their gradients added to the planes: one channel of one sample.
    void (*pool)(const fastnn_pool *pool, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                 void *y, void *where);
    void (*unpool)(const fastnn_pool *pool, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                   const void *dy, const void *where);
    // Maxima of windows of 2 x 2 side by side, `where` in bytes: rows of `columns` windows of an image whose rows are
    // `pitch` elements apart, and their gradients.
    void (*max_of_pairs)(const void *x, size_t pitch, size_t rows, size_t columns, void *y, void *where);
    void (*pairs_of_max)(const void *dy, const void *where, size_t rows, size_t columns, size_t pitch, void *dx);
    // One plane. scratch: a row of it.
    void (*pool_regions)(const fastnn_regions *regions, const void *x, void *y, void *where, void *scratch);
    void (*unpool_regions)(const fastnn_regions *regions, const void *dy, void *dx, const void *where, void *scratch);
} fastnn_window_table;

static inline size_t fastnn_step_of(const fastnn_axis *axis) {
    return (size_t)(axis->step < 0 ? -axis->step : axis->step);
}
// Taps are numbered from the one at the lowest index on: from the last one, if their step is negative.
static inline size_t fastnn_upward(const fastnn_axis *axis, size_t tap) {
    return axis->step < 0 ? axis->taps - 1 - tap : tap;
}
// The index of the lowest tap of window 0.
static inline ptrdiff_t fastnn_lowest(const fastnn_axis *axis) {
    return axis->start + (axis->step < 0 && axis->taps > 0 ? (ptrdiff_t)(axis->taps - 1) * axis->step : 0);
}
// Where a phase's first element is, beside the lowest tap.
static inline size_t fastnn_phase(const fastnn_axis *axis, size_t slot) {
    return slot * fastnn_step_of(axis) % axis->stride;
}
// How far a tap is from its window's place in the planes of a channel.
static inline size_t fastnn_tap_offset(const fastnn_block *block, size_t row, size_t column) {
    const fastnn_axis *y = &block->axis[0], *x = &block->axis[1];
    const size_t up = fastnn_upward(y, row), right = fastnn_upward(x, column);
    const size_t plane = up % block->phases[0] * block->phases[1] + right % block->phases[1];
    return plane * block->plane + up * fastnn_step_of(y) / y->stride * block->extent[1] +
           right * fastnn_step_of(x) / x->stride;
}

#endif
