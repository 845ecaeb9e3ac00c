// Which elements of a chain's tile dropout keeps. Draws are numbered in the order (outer, channels, inner). With
// channels last and several positions (elements of `inner`), the consecutive draws of a channel therefore belong to
// elements that are `channels` apart in memory: they are drawn channel by channel and transposed, 8 x 8 bits at a time.
#include <string.h>

#include "chain/tile.h"
#include "random/random_kernels.h"
#include "runtime/workspace.h"

enum {
    MOST_POSITIONS = 32,  // at a time: the bits of a channel are then in one 64-bit word
    MOST_BLOCKS = 2 * CHAIN_TILE_BYTES / 4 + BLOCKS_BEYOND,
};

// Moves bit 8 i + j to bit 8 j + i. Warren, "Hacker's Delight", 2012, 7-3.
static uint64_t transpose(uint64_t x) {
    uint64_t t = (x ^ x >> 7) & 0x00AA00AA00AA00AA;
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & 0x0000CCCC0000CCCC;
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & 0x00000000F0F0F0F0;
    return x ^ t ^ t << 28;
}

// Sets eight bits from bit number `at` on, which were 0.
static void put_byte(uint8_t *bits, size_t at, unsigned byte) {
    const unsigned both = byte << at % 8;
    bits[at / 8] |= (uint8_t)both;
    bits[at / 8 + 1] |= (uint8_t)(both >> 8);
}

// Draws `positions` positions of `channels` channels of one sample; `first` is the number of their first draw. The bits
// of a position are neighbours, from bit `at` on, and the next position's begin `row` bits later.
static void keep_positions(const fastnn_run *run, const fastnn_dropout *dropout, uint64_t first, size_t channels,
                           size_t positions, size_t at, size_t row, uint8_t *bits) {
    uint64_t *const blocks = fastnn_borrow(MOST_BLOCKS * sizeof *blocks);
    uint8_t *const kept = fastnn_borrow(MOST_BLOCKS + 8);
    const size_t inner = run->chain->inner, each = (7 + positions + 7) / 8;  // blocks of a channel, wherever it begins
    for (size_t c = 0; c < channels; c++)
        for (size_t k = 0; k < each; k++) blocks[c * each + k] = (first + c * inner) / 8 + k;
    memset(blocks + channels * each, 0, BLOCKS_BEYOND * sizeof *blocks);
    run->tables->random->keep_blocks(dropout, channels * each, blocks, kept);
    for (size_t c = 0; c < channels; c += 8) {
        const size_t some = channels - c < 8 ? channels - c : 8;
        uint64_t word[8] = {0};
        for (size_t k = 0; k < some; k++) {
            memcpy(&word[k], kept + (c + k) * each, 8);
            word[k] >>= (first + (c + k) * inner) % 8;
        }
        for (size_t p = 0; p < positions; p += 8) {
            uint64_t square = 0;
            for (size_t k = 0; k < some; k++) square |= (word[k] >> p & 0xff) << 8 * k;
            square = transpose(square);
            for (size_t k = 0; k < 8 && p + k < positions; k++)
                put_byte(bits, at + (p + k) * row + c, (unsigned)(square >> 8 * k & 0xff));
        }
    }
    fastnn_give_back(kept);
    fastnn_give_back(blocks);
}

void fastnn_keep_tile(const fastnn_run *run, const fastnn_dropout *dropout, const fastnn_tile *tile, uint8_t *bits) {
    const size_t channels = run->chain->channels, inner = run->chain->inner, count = tile->rows * tile->n;
    if (!run->chain->channels_last || inner == 1) {
        run->tables->random->keep_bits(dropout, dropout->first + tile->offset, count, bits);
        return;
    }
    memset(bits, 0, count / 8 + 2);
    const size_t width = count < channels ? count : channels;  // a tile is a part of a position, or several positions
    for (size_t done = 0, some; done < count; done += some * width) {
        const size_t position = (tile->offset + done) / channels, left = inner - position % inner;
        some = (count - done) / width;
        if (some > left) some = left;
        if (some > MOST_POSITIONS) some = MOST_POSITIONS;
        const uint64_t channel = position / inner * channels + (tile->offset + done) % channels;
        const uint64_t first = dropout->first + channel * inner + position % inner;
        keep_positions(run, dropout, first, width, some, done, width, bits);
    }
}
