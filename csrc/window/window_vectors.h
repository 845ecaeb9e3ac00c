// How the windows of a block are laid out as vectors; for the drivers of convolution.
#ifndef FASTNN_WINDOW_VECTORS_H
#define FASTNN_WINDOW_VECTORS_H

#include "window/window.h"

// The vectors of a block's windows. In rows, each row of windows begins a vector. Flat, vectors also cover the margins
// between the rows of a phase plane, and the results of these elements are thrown away: less is lost so if rows are
// short, but the others must be copied once more.
typedef struct {
    bool flat;
    size_t count;
    size_t row, sample;  // elements from a row's results to the next row's, and from sample to sample, if side by side
} fastnn_vectors;

// work: the products that a result takes.
fastnn_vectors fastnn_lay_out(const fastnn_block *block, size_t lanes, size_t work);
// Fills `places`, one for each vector. The results' rows and samples are `to_row` and `to_sample` elements apart, which
// flat vectors do not look at.
void fastnn_find_places(const fastnn_block *block, const fastnn_vectors *vectors, size_t lanes, size_t to_row,
                        size_t to_sample, fastnn_place *places);
// The most places that a block of a cut has.
size_t fastnn_most_places(const fastnn_cut *cut, size_t lanes);

#endif
