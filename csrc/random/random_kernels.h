// The table of random_kernels.c: dropout masks and uniform numbers from Philox.
#ifndef FASTNN_RANDOM_KERNELS_H
#define FASTNN_RANDOM_KERNELS_H

#include "runtime/tables.h"

// Blocks are computed many at a time: so many beyond the last one, and so many draws, may be read or written too.
enum { BLOCKS_BEYOND = 32, DRAWS_BEYOND = 8 * BLOCKS_BEYOND };

typedef struct fastnn_random_table {
    // The eight draws of each block; room for 8 blocks + DRAWS_BEYOND draws.
    void (*draw_blocks)(uint64_t seed, uint64_t offset, uint64_t first, size_t blocks, uint16_t *draws);
    // Element first + i: lower + (upper - lower) (draw + 1/2) / 2^16
    void (*uniform)(const fastnn_uniform_state *state, uint64_t first, size_t count, void *to);
    // Bit i % 8 of bits[i / 8] becomes 1 if element first + i is kept. `bits` has room for count / 8 + 64 bytes.
    void (*keep_bits)(const fastnn_dropout *dropout, uint64_t first, size_t count, uint8_t *bits);
    // The same for the eight elements of each of these blocks, a byte for a block. Both arrays have room for
    // BLOCKS_BEYOND more.
    void (*keep_blocks)(const fastnn_dropout *dropout, size_t count, const uint64_t *blocks, uint8_t *bits);
    // y = x scale where the bit is set, else 0; y may be x
    void (*mask)(size_t n, void *y, const void *x, const uint8_t *bits, double scale);
    // y = x scale + shift where the bit is set, else `dropped`; y may be x
    void (*mask_line)(size_t n, void *y, const void *x, const uint8_t *bits, double scale, double shift,
                      double dropped);
} fastnn_random_table;

#endif
