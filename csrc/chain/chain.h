// A chain's work on one tile, for the drivers.
#ifndef FASTNN_CHAIN_H
#define FASTNN_CHAIN_H

#include "chain/channel_kernels.h"
#include "runtime/tiles.h"

// rows x n contiguous elements from `offset` on, of channels from `channel` on (channel_kernels.h).
typedef struct {
    size_t offset, rows, n, channel;
} fastnn_tile;

// y = (x - center) scale + shift: arrays of the computing dtype, by channel.
typedef struct {
    char *center, *scale, *shift;
} fastnn_scaling;

// What a tile needs to know of the call that it is part of.
typedef struct {
    const fastnn_chain *chain;
    const fastnn_tables *tables;
    fastnn_scaling scaling;
} fastnn_run;

// Which elements of a tile dropout keeps: bit i % 8 of bits[i / 8]. `bits` has room for CHAIN_TILE_BYTES / 32 + 64
// bytes.
void fastnn_keep_tile(const fastnn_run *run, const fastnn_dropout *dropout, const fastnn_tile *tile, uint8_t *bits);

// Of x's tile, to `to`, which may be that tile itself.
void fastnn_tile_forward(const fastnn_run *run, const fastnn_tile *tile, const char *x, void *to);
// The gradient behind the first stage, to `to` or, if no stage changes it, left in dy. Returns where. `to` may be dy's
// tile.
const void *fastnn_tile_backward(const fastnn_run *run, const fastnn_tile *tile, const char *dy, const char *x,
                                 void *to);
#endif
