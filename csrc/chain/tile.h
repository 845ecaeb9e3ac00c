// A chain's work on one tile. It does not know how arrays are cut into tiles, nor the threads that share them.
#ifndef FASTNN_CHAIN_TILE_H
#define FASTNN_CHAIN_TILE_H

#include "chain/channel_kernels.h"
#include "chain/per_channel_kernels.h"

// rows x n contiguous elements, which begin `offset` elements into the arrays. The first row or column takes the
// per-channel numbers with the index `channel` (channel_kernels.h).
typedef struct {
    size_t offset, rows, n, channel;
} fastnn_tile;

// What the work on a tile needs to know of the call.
typedef struct {
    const fastnn_chain *chain;
    const fastnn_tables *tables;
    fastnn_scaling scaling;
} fastnn_run;

// Draws which elements of a tile dropout keeps: element i if bit i % 8 of bits[i / 8] is 1. `bits` has room for
// CHAIN_TILE_BYTES / 32 + 64 bytes.
void fastnn_keep_tile(const fastnn_run *run, const fastnn_dropout *dropout, const fastnn_tile *tile, uint8_t *bits);

// Computes the chain's result for a tile of x and writes it to `to`, which may be that tile of x.
void fastnn_tile_forward(const fastnn_run *run, const fastnn_tile *tile, const char *x, void *to);
// Computes the gradient with respect to the first stage's input, for a tile. Returns where it is: at `to`, which may be
// that tile of dy, or in dy itself if no stage changes the gradient.
const void *fastnn_tile_backward(const fastnn_run *run, const fastnn_tile *tile, const char *dy, const char *x,
                                 void *to);
#endif
