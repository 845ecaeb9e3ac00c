// What the drivers of convolution share: convolution.c (forward), convolution_input.c and convolution_weight.c (the
// gradients of the input and of the weight).
#ifndef FASTNN_CONVOLUTION_H
#define FASTNN_CONVOLUTION_H

#include "runtime/scratch.h"
#include "window/window_vectors.h"

enum {
    CONVOLUTION_WINDOWS = 2048,        // of a block, at most
    CONVOLUTION_PIECE_WORK = 1 << 18,  // products of a piece, at least
};

// How many pieces pay, of `work` products, and no more than `most`.
static inline size_t fastnn_paying_pieces(size_t work, size_t most) {
    return larger(smaller(work / CONVOLUTION_PIECE_WORK, most), 1);
}

// Windows of one element, side by side without padding, do not tell rows from columns: the axes become those of an
// image of a single row.
void fastnn_join_axes(fastnn_axis axis[2]);

// Sums over windows of images, which go to other images: a convolution, or one phase of the input's gradient, which
// writes every `to_column`-th element of rows that are `to_row` elements apart. The names are those of the forward
// pass: `channels` are read, and `outputs` written.
typedef struct {
    const fastnn_window_table *table;
    size_t size;  // bytes of an element
    size_t samples, groups, channels, outputs;
    fastnn_axis axis[2];
    const char *from, *bias;
    size_t from_row, from_channel, from_sample;
    char *to;
    size_t to_column, to_row, to_output, to_sample;
    fastnn_weights weights;  // of one group
    size_t group_weights;    // elements from a group's weights to the next group's

    // These are for fastnn_convolve_images alone.
    fastnn_cut cut;
    size_t panels, panel_elements;  // of a group; of a panel
    char *packed, *packed_bias;
    size_t places_bytes, planes_bytes;  // in a slot: offsets and places; phase planes. Staged results come after them.
    fastnn_scratch scratch;
} fastnn_image_job;

// A job over whole images: `from` and `to` are their rows and columns. The axes, the arrays and the weights are the
// caller's to add.
fastnn_image_job fastnn_make_image_job(const fastnn_convolution *call, size_t channels, size_t outputs,
                                       const size_t from[2], const size_t to[2]);
fastnn_outcome fastnn_convolve_images(fastnn_image_job *job);

#endif
