// How a chain's arrays are cut: see cut.h.
#include "chain/cut.h"

#include "runtime/sizes.h"
#include "runtime/tiles.h"

enum {
    SLAB_BYTES = 2 << 20,      // the largest channel that is not cut: it stays in the outer cache
    GROUP_BYTES = 256 << 10,   // the channels of a group: they stay in L2
    FEW_CHANNELS = 4,          // with fewer, channels are cut
    CHANNEL_PIECE_TILES = 16,  // in a piece of a channel that is cut
    WIDE = 64,                 // channels last: rows are taken together until they are as wide
    LEAST_ROWS = 128,          // channels last: in a piece, which begins with a guess at the mean from fewer
    SUM_ROWS = 128,            // channels last: in a sum of the computing dtype
};

// ---- channels first ------------------------------------------------------------------------------------------------

// The tiles of channels first ... end - 1: a tile is a part of one channel's `inner` elements, or several channels of
// one sample. They are counted sample by sample.
static size_t channels_first_tiles(const fastnn_chain_cut *cut, size_t first, size_t end) {
    const fastnn_chain *chain = cut->chain;
    if (chain->inner >= cut->tile) return chain->outer * (end - first) * divided_up(chain->inner, cut->tile);
    return chain->outer * divided_up(end - first, cut->tile / chain->inner);
}

static fastnn_tile channels_first_tile(const fastnn_chain_cut *cut, size_t first, size_t end, size_t index) {
    const fastnn_chain *chain = cut->chain;
    const size_t inner = chain->inner, channels = end - first;
    if (inner >= cut->tile) {
        const size_t parts = divided_up(inner, cut->tile), whole = index / parts, start = index % parts * cut->tile;
        const size_t channel = first + whole % channels;
        const size_t offset = (whole / channels * chain->channels + channel) * inner + start;
        return (fastnn_tile){offset, 1, smaller(cut->tile, inner - start), channel};
    }
    const size_t rows = cut->tile / inner, each = divided_up(channels, rows), channel = first + index % each * rows;
    const size_t offset = (index / each * chain->channels + channel) * inner;
    return (fastnn_tile){offset, smaller(rows, end - channel), inner, channel};
}

static void cut_channels_first(fastnn_chain_cut *cut, size_t count, size_t size) {
    const fastnn_chain *chain = cut->chain;
    const size_t slab = chain->outer * chain->inner * size;
    cut->width = chain->channels;
    cut->tiles = channels_first_tiles(cut, 0, chain->channels);
    cut->piece_tiles = divided_up(fastnn_piece_elements(count), divided_up(count, cut->tiles));
    if (slab <= SLAB_BYTES && chain->channels >= FEW_CHANNELS) {
        cut->group = larger(1, smaller(cut->tile / chain->inner, GROUP_BYTES / slab));
    } else {
        const size_t tiles = channels_first_tiles(cut, 0, 1);
        cut->channel_tiles = larger(CHANNEL_PIECE_TILES, CHANNEL_PIECE_TILES * cut->tile / chain->inner);
        cut->channel_pieces = divided_up(tiles, cut->channel_tiles);
    }
}

// ---- channels last -------------------------------------------------------------------------------------------------

// The tiles of `rows` rows: a tile is a part of one row, or several rows.
static size_t channels_last_tiles(const fastnn_chain_cut *cut, size_t rows) {
    return cut->width > cut->tile ? rows * divided_up(cut->width, cut->tile) : divided_up(rows, cut->tile / cut->width);
}

static fastnn_tile channels_last_tile(const fastnn_chain_cut *cut, size_t index) {
    const size_t width = cut->width;
    if (width > cut->tile) {
        const size_t parts = divided_up(width, cut->tile), start = index % parts * cut->tile;
        return (fastnn_tile){index / parts * width + start, 1, smaller(cut->tile, width - start), start};
    }
    const size_t rows = cut->tile / width, row = index * rows;
    return (fastnn_tile){row * width, smaller(rows, cut->rows - row), width, 0};
}

static void cut_channels_last(fastnn_chain_cut *cut, size_t count) {
    const fastnn_chain *chain = cut->chain;
    cut->rows = chain->outer * chain->inner;
    for (cut->width = chain->channels; cut->width < WIDE && cut->rows % 2 == 0; cut->width *= 2) cut->rows /= 2;
    const size_t together = cut->width > cut->tile ? 1 : cut->tile / cut->width;  // rows in a tile
    cut->piece_rows = divided_up(larger(LEAST_ROWS, fastnn_piece_elements(count) / cut->width), together) * together;
    cut->tiles = channels_last_tiles(cut, cut->rows);
    cut->piece_tiles = channels_last_tiles(cut, cut->piece_rows);
    cut->sum_tiles = channels_last_tiles(cut, SUM_ROWS);
}

static bool draws_by_position(const fastnn_chain *chain) {
    for (int k = 0; k < chain->stages; k++)
        if (chain->stage[k].action == FASTNN_DROP && chain->inner > 1)
            return true;  // keep_tile.c takes whole positions
    return false;
}

size_t fastnn_head(const fastnn_chain_cut *cut, const void *out, size_t size) {
    if (!cut->chain->channels_last || cut->width > cut->tile || cut->width * size % LINE != 0) return 0;
    if ((uintptr_t)out % size != 0 || draws_by_position(cut->chain)) return 0;
    return (size_t)(-(uintptr_t)out) % LINE / size;
}

void fastnn_tiles_of_ends(const fastnn_chain_cut *cut, size_t head, fastnn_tile ends[2]) {
    ends[0] = (fastnn_tile){0, 1, head, 0};
    ends[1] = (fastnn_tile){(cut->rows - 1) * cut->width + head, 1, cut->width - head, head};
}

// A row that begins `head` elements later ends in the next row, which the last does not have.
static fastnn_tile channels_last_tile_of(const fastnn_chain_cut *cut, const fastnn_tile_range *range, size_t i) {
    fastnn_tile tile = channels_last_tile(cut, range->from + i);
    if (range->head > 0 && tile.offset + tile.rows * tile.n == cut->rows * cut->width) tile.rows--;
    tile.offset += range->head;
    tile.channel += range->head;
    return tile;
}

// ---- both ----------------------------------------------------------------------------------------------------------

fastnn_chain_cut fastnn_cut_chain(const fastnn_chain *chain, size_t size) {
    const size_t count = chain->outer * chain->channels * chain->inner;
    fastnn_chain_cut cut = {.chain = chain, .tile = CHAIN_TILE_BYTES / size};
    if (chain->channels_last)
        cut_channels_last(&cut, count);
    else
        cut_channels_first(&cut, count, size);
    cut.pieces = divided_up(cut.tiles, cut.piece_tiles);
    return cut;
}

fastnn_tile_range fastnn_tiles_of_piece(const fastnn_chain_cut *cut, size_t piece) {
    const size_t from = piece * cut->piece_tiles;
    return (fastnn_tile_range){0, cut->chain->channels, from, smaller(from + cut->piece_tiles, cut->tiles), 0};
}

fastnn_tile_range fastnn_tiles_of_channels(const fastnn_chain_cut *cut, size_t first, size_t end) {
    return (fastnn_tile_range){first, end, 0, channels_first_tiles(cut, first, end), 0};
}

fastnn_tile_range fastnn_tiles_of_channel_piece(const fastnn_chain_cut *cut, size_t piece) {
    const size_t channel = piece / cut->channel_pieces, from = piece % cut->channel_pieces * cut->channel_tiles;
    const size_t tiles = channels_first_tiles(cut, channel, channel + 1);
    return (fastnn_tile_range){channel, channel + 1, from, smaller(from + cut->channel_tiles, tiles), 0};
}

fastnn_tile fastnn_tile_at(const fastnn_chain_cut *cut, const fastnn_tile_range *range, size_t i) {
    if (cut->chain->channels_last) return channels_last_tile_of(cut, range, i);
    return channels_first_tile(cut, range->first, range->end, range->from + i);
}
