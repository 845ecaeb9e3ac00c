// How a chain's arrays are cut: into tiles, which stay in the inner caches while the whole chain is computed, and into
// pieces of several tiles, which the threads share. The cuts depend on shape and dtype alone and not on the number of
// threads, so that sums are always added up in the same order.
#ifndef FASTNN_CHAIN_CUT_H
#define FASTNN_CHAIN_CUT_H

#include "chain/tile.h"

typedef struct {
    const fastnn_chain *chain;
    size_t tile;                        // elements in a tile, at most
    size_t tiles, piece_tiles, pieces;  // where a pass takes all tiles in the order of memory

    // The length of per-channel arrays. With channels first there is an element for each channel. With channels last
    // and few channels, each is repeated: neighbouring rows are taken together as one row of `width` elements, to fill
    // vectors.
    size_t width;

    // With channels first, batch norm in training takes groups of `group` whole channels. A group of 0 means that
    // channels are few or large, and each is cut into `channel_pieces` pieces of `channel_tiles` tiles.
    size_t group, channel_pieces, channel_tiles;

    // With channels last: rows of `width` elements in the array, and in a piece; and how many tiles' gradients are
    // added up in the computing dtype.
    size_t rows, piece_rows, sum_tiles;
} fastnn_chain_cut;

// Tiles from ... to - 1 of those that channels first ... end - 1 have. With channels last, a range is of all channels,
// and its tiles may begin `head` elements later (fastnn_head); what is then before the first and behind the last is in
// the tiles of fastnn_tiles_of_ends.
typedef struct {
    size_t first, end, from, to, head;
} fastnn_tile_range;

// `size`: bytes of an element. The chain must not be empty.
fastnn_chain_cut fastnn_cut_chain(const fastnn_chain *chain, size_t size);

fastnn_tile_range fastnn_tiles_of_piece(const fastnn_chain_cut *cut, size_t piece);
// With channels first only: all tiles of channels first ... end - 1, and the tiles of a piece of a channel that is cut.
fastnn_tile_range fastnn_tiles_of_channels(const fastnn_chain_cut *cut, size_t first, size_t end);
fastnn_tile_range fastnn_tiles_of_channel_piece(const fastnn_chain_cut *cut, size_t piece);

// With channels last: how many elements are before the first cache line of `out`, if whole rows later all tiles can
// begin with one, so that no store of a vector is in two lines. Else 0.
size_t fastnn_head(const fastnn_chain_cut *cut, const void *out, size_t size);
void fastnn_tiles_of_ends(const fastnn_chain_cut *cut, size_t head, fastnn_tile ends[2]);

// Tile from + i of a range.
fastnn_tile fastnn_tile_at(const fastnn_chain_cut *cut, const fastnn_tile_range *range, size_t i);

#endif
