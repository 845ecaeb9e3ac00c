// Cuts windows over images into blocks; for the drivers of convolution and pooling.
#ifndef FASTNN_WINDOW_H
#define FASTNN_WINDOW_H

#include "runtime/sizes.h"
#include "window/window_kernels.h"

size_t fastnn_common_divisor(size_t a, size_t b);

// The layout of the planes of a block of so many samples and windows, from window 0 on. The strides of the images are
// the caller's to add.
fastnn_block fastnn_make_block(const fastnn_axis axis[2], size_t samples, const size_t places[2]);
void fastnn_find_offsets(const fastnn_block *block, size_t *offsets);
static inline size_t fastnn_taps(const fastnn_axis axis[2]) { return axis[0].taps * axis[1].taps; }

// How many samples and windows a block has, and how many blocks there are along samples, rows and columns.
typedef struct {
    size_t samples, places[2], blocks[3];
} fastnn_cut;

// The largest blocks, of whole rows where possible, that have no more than `windows` windows, and no more than
// `elements` elements in the planes of `channels` channels and as many results of `outputs` outputs. They never become
// smaller than a few vectors of windows.
fastnn_cut fastnn_cut_windows(const fastnn_axis axis[2], size_t samples, size_t channels, size_t outputs,
                              size_t elements, size_t windows);
// Makes blocks smaller until there are at least `blocks` of them, if there are enough samples and rows.
void fastnn_cut_finer(fastnn_cut *cut, const fastnn_axis axis[2], size_t samples, size_t blocks);
static inline size_t fastnn_blocks(const fastnn_cut *cut) { return cut->blocks[0] * cut->blocks[1] * cut->blocks[2]; }

// Block number `index`, and its first sample.
fastnn_block fastnn_block_of(const fastnn_cut *cut, const fastnn_axis axis[2], size_t samples, size_t index,
                             size_t *first_sample);

#endif
