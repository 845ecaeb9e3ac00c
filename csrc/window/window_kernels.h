// What convolution and pooling read and write: images as phase planes, and the kernels on them.
#ifndef FASTNN_WINDOW_KERNELS_H
#define FASTNN_WINDOW_KERNELS_H

#include "runtime/tables.h"

// Part of some images, padded and laid out in *phase planes*, so that each tap of neighbouring windows is a contiguous
// run at a constant distance from where the windows are, whatever the stride and the dilation. With stride s a row of
// an image is cut into s phases, as in polyphase filters: phase p has the elements p, p + s, p + 2 s, ... A phase plane
// has the elements of one phase of the rows and one phase of the columns, for all samples. Memory is [channel][row
// phase][column phase][sample][row][column]. In this folder "plane" always means a phase plane.
typedef struct {
    fastnn_axis axis[2];                               // rows, columns
    size_t samples;                                    // how many images
    size_t first[2], places[2];                        // which windows
    size_t row_stride, channel_stride, sample_stride;  // of the images, in elements
    size_t phases[2];                                  // how many of them have a tap; the others are left out
    size_t extent[2];                                  // rows and columns of a plane, in each sample
    size_t plane, channel;                             // elements of a plane, and from a channel to the next
} fastnn_block;

// A vector of `count` neighbouring windows: the offset of the first one in a plane, and that of its result.
typedef struct {
    size_t at, to, count;
} fastnn_place;

// Weights of `outputs` x `channels` x taps[0] x taps[1]; strides count elements.
typedef struct {
    const void *data;
    size_t outputs, channels, taps[2];
    ptrdiff_t output, channel, tap[2];  // strides
} fastnn_weights;

// Rows of results to be copied; the strides of both memories in elements. Those that are read have adjacent columns.
typedef struct {
    size_t samples, rows, columns, from_row, from_sample, to_column, to_row, to_sample;
} fastnn_delivery;

enum { FASTNN_BLOCK_SLACK = 16 };  // elements: a vector that begins in a plane may end behind it

// What the kernels of pooling look up: the offsets of the taps, and a number for each row and each column of windows
// (find_numbers).
typedef struct {
    const size_t *offsets;
    const void *numbers[2];
} fastnn_pool_tables;

typedef struct fastnn_window_table {
    size_t bytes, lanes, panel;  // bytes of an element; elements of a vector; outputs that are computed together

    // Images to planes, with `fill` in the padding.
    void (*prepare)(const fastnn_block *block, const void *images, size_t channels, double fill, void *to);
    // The planes of one channel of a single sample back to rows first_row ... end_row - 1 of the image. Elements that
    // are in no window become 0.
    void (*restore)(const fastnn_block *block, const void *from, size_t first_row, size_t end_row, void *image);

    // The weights of up to `panel` outputs as [channel][tap][output], with zeros up to the next power of two.
    void (*pack)(const fastnn_weights *weights, void *to);
    // The results of one panel's `outputs` outputs, `pitch` elements apart. offsets: of the taps; bias: `panel`
    // numbers, or NULL.
    void (*convolve)(const fastnn_block *block, const void *from, size_t channels, size_t outputs, const void *packed,
                     const void *bias, const size_t *offsets, const fastnn_place *places, size_t vectors, void *to,
                     size_t pitch);
    // Copies results to the image that they belong to.
    void (*deliver)(const fastnn_delivery *delivery, const void *from, void *to);
    // sums[o * pitch + r] += the sum over all places of dy[o * dy_pitch + to] from[runs[r] + at], in whole vectors:
    // `count` of the places does not matter.
    void (*gradient)(const void *from, const size_t *runs, size_t count, const void *dy, size_t dy_pitch,
                     size_t outputs, const fastnn_place *places, size_t vectors, double *sums, size_t pitch);
    // Rounds sums to the dtype.
    void (*round_sums)(size_t n, const double *sums, void *to);

    // A number for each row and each column of windows, and FASTNN_BLOCK_SLACK more of each. For the maximum, the sum
    // of a row's and a column's number is the first tap that is not in the padding; for the mean, the product is the
    // divisor.
    void (*find_numbers)(const fastnn_pool *pool, void *const numbers[2]);
    // y of the windows of a block, and backward their gradients added to the planes: one channel of one sample.
    void (*pool)(const fastnn_pool *pool, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                 void *y, void *argmax);
    void (*unpool)(const fastnn_pool *pool, const fastnn_block *block, const fastnn_pool_tables *tables, void *planes,
                   const void *dy, const void *argmax);
    // The maxima of windows of 2 x 2 side by side, with an `argmax` of bytes, and their gradients: `rows` rows of
    // `columns` windows each, of an image whose rows are `pitch` elements apart.
    void (*max_of_pairs)(const void *x, size_t pitch, size_t rows, size_t columns, void *y, void *argmax);
    void (*pairs_of_max)(const void *dy, const void *argmax, size_t rows, size_t columns, size_t pitch, void *dx);
    // One image. scratch: as many elements as a row of it has.
    void (*pool_regions)(const fastnn_regions *regions, const void *x, void *y, void *argmax, void *scratch);
    void (*unpool_regions)(const fastnn_regions *regions, const void *dy, void *dx, const void *argmax, void *scratch);
} fastnn_window_table;

static inline size_t fastnn_step_of(const fastnn_axis *axis) {
    return (size_t)(axis->step < 0 ? -axis->step : axis->step);
}
// A tap's number when taps are counted upwards from the one at the lowest index, which is the last one if their step is
// negative.
static inline size_t fastnn_upward(const fastnn_axis *axis, size_t tap) {
    return axis->step < 0 ? axis->taps - 1 - tap : tap;
}
// The index of the lowest tap of window 0.
static inline ptrdiff_t fastnn_lowest(const fastnn_axis *axis) {
    return axis->start + (axis->step < 0 && axis->taps > 0 ? (ptrdiff_t)(axis->taps - 1) * axis->step : 0);
}
// How far the first element of a phase is from the lowest tap of window 0. `slot`: the number of the phase in a block.
static inline size_t fastnn_phase(const fastnn_axis *axis, size_t slot) {
    return slot * fastnn_step_of(axis) % axis->stride;
}
// The offset of a tap from its window's place in the planes of a channel.
static inline size_t fastnn_tap_offset(const fastnn_block *block, size_t row, size_t column) {
    const fastnn_axis *y = &block->axis[0], *x = &block->axis[1];
    const size_t up = fastnn_upward(y, row), right = fastnn_upward(x, column);
    const size_t plane = up % block->phases[0] * block->phases[1] + right % block->phases[1];
    return plane * block->plane + up * fastnn_step_of(y) / y->stride * block->extent[1] +
           right * fastnn_step_of(x) / x->stride;
}

#endif
