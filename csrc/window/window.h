// Cutting windows over images into blocks; for the drivers of convolution and pooling.
#ifndef FASTNN_WINDOW_H
#define FASTNN_WINDOW_H

#include "runtime/sizes.h"
#include "window/window_kernels.h"

size_t fastnn_common_divisor(size_t a, size_t b);

// The layout of planes for so many samples and windows; the images' strides are the caller's.
fastnn_block fastnn_make_block(const fastnn_axis axis[2], size_t samples, const size_t places[2]);
void fastnn_find_offsets(const fastnn_block *block, size_t *offsets);
static inline size_t fastnn_taps(const fastnn_axis axis[2]) { return axis[0].taps * axis[1].taps; }

// How many samples and windows a block has, and how many blocks there are: samples, rows, columns.
typedef struct {
    size_t samples, places[2], blocks[3];
} fastnn_cut;

// The largest blocks, as whole rows where possible, that have no more than `positions` windows and
// channels * planes + outputs * windows <= elements; but never less than a vector of windows.
fastnn_cut fastnn_cut_windows(const fastnn_axis axis[2], size_t samples, size_t channels, size_t outputs,
                              size_t elements, size_t positions);
// Smaller ones, so that there are at least `blocks`, if there are samples and rows enough.
void fastnn_cut_finer(fastnn_cut *cut, const fastnn_axis axis[2], size_t samples, size_t blocks);
static inline size_t fastnn_blocks(const fastnn_cut *cut) { return cut->blocks[0] * cut->blocks[1] * cut->blocks[2]; }

// Block `index`, and its first sample.
fastnn_block fastnn_block_of(const fastnn_cut *cut, const fastnn_axis axis[2], size_t samples, size_t index,
                             size_t *first_sample);

#endif
