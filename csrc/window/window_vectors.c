// How the windows of a block are laid out as vectors: see window_vectors.h.
#include "window/window_vectors.h"

enum { COPY_WORK = 8 };  // what copying a result costs, in products

fastnn_vectors fastnn_lay_out(const fastnn_block *block, size_t lanes, size_t work) {
    const size_t row_vectors = divided_up(block->places[1], lanes), rows = block->samples * block->places[0];
    const size_t last_row = (block->samples - 1) * block->extent[0] + block->places[0] - 1;
    const size_t flat_vectors = divided_up(last_row * block->extent[1] + block->places[1], lanes);
    if (flat_vectors * (work + COPY_WORK) < rows * row_vectors * work)
        return (fastnn_vectors){true, flat_vectors, block->extent[1], block->extent[0] * block->extent[1]};
    return (fastnn_vectors){false, rows * row_vectors, row_vectors * lanes, block->places[0] * row_vectors * lanes};
}

void fastnn_find_places(const fastnn_block *block, const fastnn_vectors *vectors, size_t lanes, size_t to_row,
                        size_t to_sample, fastnn_place *places) {
    if (vectors->flat) {
        for (size_t v = 0; v < vectors->count; v++) places[v] = (fastnn_place){v * lanes, v * lanes, lanes};
        return;
    }
    for (size_t sample = 0; sample < block->samples; sample++)
        for (size_t row = 0; row < block->places[0]; row++)
            for (size_t column = 0; column < block->places[1]; column += lanes)
                *places++ = (fastnn_place){
                    .at = (sample * block->extent[0] + row) * block->extent[1] + column,
                    .to = sample * to_sample + row * to_row + column,
                    .count = smaller(lanes, block->places[1] - column),
                };
}

size_t fastnn_most_places(const fastnn_cut *cut, size_t lanes) {
    return cut->samples * cut->places[0] * divided_up(cut->places[1], lanes);
}
