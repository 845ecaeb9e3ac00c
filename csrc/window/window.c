// Cuts windows over images into blocks: see window.h.
#include "window/window.h"

enum { LEAST_COLUMNS = 48, LEAST_ROWS = 4 };

size_t fastnn_common_divisor(size_t a, size_t b) { return b == 0 ? a : fastnn_common_divisor(b, a % b); }

fastnn_block fastnn_make_block(const fastnn_axis axis[2], size_t samples, const size_t places[2]) {
    fastnn_block block = {.axis = {axis[0], axis[1]}, .samples = samples, .places = {places[0], places[1]}};
    size_t planes = 1;
    for (int d = 0; d < 2; d++) {
        const size_t step = fastnn_step_of(&axis[d]),
                     period = axis[d].stride / fastnn_common_divisor(axis[d].stride, step);
        block.phases[d] = larger(smaller(period, axis[d].taps), 1);
        block.extent[d] = places[d] + (axis[d].taps == 0 ? 0 : (axis[d].taps - 1) * step / axis[d].stride);
        planes *= block.phases[d];
    }
    block.plane = samples * block.extent[0] * block.extent[1];
    block.channel = divided_up(planes * block.plane + FASTNN_BLOCK_SLACK, FASTNN_BLOCK_SLACK) * FASTNN_BLOCK_SLACK;
    return block;
}

void fastnn_find_offsets(const fastnn_block *block, size_t *offsets) {
    for (size_t row = 0; row < block->axis[0].taps; row++)
        for (size_t column = 0; column < block->axis[1].taps; column++)
            *offsets++ = fastnn_tap_offset(block, row, column);
}

static void count_blocks(fastnn_cut *cut, const fastnn_axis axis[2], size_t samples) {
    cut->blocks[0] = divided_up(samples, cut->samples);
    for (int d = 0; d < 2; d++) cut->blocks[1 + d] = divided_up(axis[d].places, cut->places[d]);
    // The blocks get about the same size.
    cut->samples = divided_up(samples, cut->blocks[0]);
    for (int d = 0; d < 2; d++) cut->places[d] = divided_up(axis[d].places, cut->blocks[1 + d]);
}

fastnn_cut fastnn_cut_windows(const fastnn_axis axis[2], size_t samples, size_t channels, size_t outputs,
                              size_t elements, size_t windows) {
    fastnn_cut cut = {.samples = samples, .places = {axis[0].places, axis[1].places}};
    for (;;) {
        const fastnn_block block = fastnn_make_block(axis, cut.samples, cut.places);
        const size_t results = cut.samples * block.extent[0] * block.extent[1];
        const bool fits = channels * block.channel + outputs * results <= elements;
        if (fits && cut.samples * cut.places[0] * cut.places[1] <= windows) break;
        if (cut.samples > 1)
            cut.samples = cut.samples / 2;
        else if (cut.places[0] > 1)
            cut.places[0] = divided_up(cut.places[0], 2);
        else if (cut.places[1] > LEAST_COLUMNS)
            cut.places[1] = larger(divided_up(cut.places[1], 2 * LEAST_COLUMNS), 1) * LEAST_COLUMNS;
        else
            break;
    }
    count_blocks(&cut, axis, samples);
    return cut;
}

void fastnn_cut_finer(fastnn_cut *cut, const fastnn_axis axis[2], size_t samples, size_t blocks) {
    while (fastnn_blocks(cut) < blocks) {
        if (cut->samples > 1)
            cut->samples = divided_up(cut->samples, 2);
        else if (cut->places[0] > LEAST_ROWS)
            cut->places[0] = divided_up(cut->places[0], 2);
        else
            break;
        count_blocks(cut, axis, samples);
    }
}

fastnn_block fastnn_block_of(const fastnn_cut *cut, const fastnn_axis axis[2], size_t samples, size_t index,
                             size_t *first_sample) {
    size_t first[2];
    for (int d = 1; d >= 0; d--) {
        first[d] = index % cut->blocks[1 + d] * cut->places[d];
        index /= cut->blocks[1 + d];
    }
    *first_sample = index * cut->samples;
    const size_t places[2] = {smaller(cut->places[0], axis[0].places - first[0]),
                              smaller(cut->places[1], axis[1].places - first[1])};
    fastnn_block block = fastnn_make_block(axis, smaller(cut->samples, samples - *first_sample), places);
    block.first[0] = first[0], block.first[1] = first[1];
    return block;
}
