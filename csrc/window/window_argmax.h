// The argmax of max pooling: the tap of the window that each result is, in one or four bytes. Part of window_kernels.c.
#ifndef FASTNN_WINDOW_ARGMAX_H
#define FASTNN_WINDOW_ARGMAX_H

#include "simd/simd.h"

// The numbers of taps to and from `argmax`, by way of memory: compilers turn these loops into conversions of vectors.
FORCE_INLINE void store_numbers(void *argmax, size_t index, size_t bytes, V numbers, size_t n) {
    real lane[LANES];
    uint8_t small[LANES];
    vstore(lane, numbers);
    if (bytes == 4) {
        for (size_t i = 0; i < n; i++) ((uint32_t *)argmax)[index + i] = (uint32_t)lane[i];
        return;
    }
    for (size_t i = 0; i < LANES; i++) small[i] = (uint8_t)(int)lane[i];
    memcpy((uint8_t *)argmax + index, small, n);
}
FORCE_INLINE V load_numbers(const void *argmax, size_t index, size_t bytes, size_t n) {
    real lane[LANES] = {0};
    uint8_t small[LANES] = {0};
    if (bytes == 4) {
        for (size_t i = 0; i < n; i++) lane[i] = (real)((const uint32_t *)argmax)[index + i];
        return vload(lane);
    }
    memcpy(small, (const uint8_t *)argmax + index, n);
    for (size_t i = 0; i < LANES; i++) lane[i] = (real)small[i];
    return vload(lane);
}

#endif
