// Dropout masks and uniform numbers from Philox. Compiled once for each instruction set and dtype, as kernels.c.
#include "random_kernels.h"

#include "philox.h"
#include "simd/simd.h"

static void keep_bits(const fastnn_dropout *dropout, uint64_t first, size_t count, uint8_t *bits) {
    memset(bits, 0, (count + 7) / 8);
    for (size_t i = 0; i < count; i++) {
        const uint64_t block = (first + i) / 8;
        uint32_t words[4][PHILOX_BLOCKS] = {{0}};
        words[0][0] = (uint32_t)block, words[1][0] = (uint32_t)(block >> 32);
        words[2][0] = (uint32_t)dropout->offset, words[3][0] = (uint32_t)(dropout->offset >> 32);
        philox_blocks(words, (uint32_t)dropout->seed, (uint32_t)(dropout->seed >> 32));
        const unsigned draw = words[(first + i) % 8 / 2][0] >> (first + i) % 2 * 16 & 0xffff;
        bits[i / 8] |= (uint8_t)((draw < dropout->threshold) << i % 8);
    }
}
static void mask(size_t n, void *y, const void *x, const uint8_t *bits, double scale) {
    for (size_t i = 0; i < n; i++) ((real *)y)[i] = bits[i / 8] >> i % 8 & 1 ? ((const real *)x)[i] * (real)scale : 0;
}

const fastnn_random_table FASTNN_TABLE(random) = {.keep_bits = keep_bits, .mask = mask};
