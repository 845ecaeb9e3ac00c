// Dropout masks and uniform numbers from Philox.
#ifndef FASTNN_RANDOM_KERNELS_H
#define FASTNN_RANDOM_KERNELS_H

#include "kernels.h"

typedef struct fastnn_random_table {
    // Bit i % 8 of bits[i / 8]: is element first + i kept? `bits` has room for count / 8 + 64 bytes.
    void (*keep_bits)(const fastnn_dropout *dropout, uint64_t first, size_t count, uint8_t *bits);
    // y = x scale where the bit is set, else 0; y may be x
    void (*mask)(size_t n, void *y, const void *x, const uint8_t *bits, double scale);
} fastnn_random_table;

#endif
