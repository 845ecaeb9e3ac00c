// Which tap of its window a result is, in bytes or words. Part of window_kernels.c.
#ifndef FASTNN_WINDOW_WHERE_H
#define FASTNN_WINDOW_WHERE_H

#include "simd/simd.h"

// Whole numbers to and from `where`, by way of memory: compilers make vector conversions of these loops.
FORCE_INLINE void store_numbers(void *where, size_t index, size_t bytes, V numbers, size_t n) {
    real lane[LANES];
    uint8_t small[LANES];
    vstore(lane, numbers);
    if (bytes == 4) {
        for (size_t i = 0; i < n; i++) ((uint32_t *)where)[index + i] = (uint32_t)lane[i];
        return;
    }
    for (size_t i = 0; i < LANES; i++) small[i] = (uint8_t)(int)lane[i];
    memcpy((uint8_t *)where + index, small, n);
}
FORCE_INLINE V load_numbers(const void *where, size_t index, size_t bytes, size_t n) {
    real lane[LANES] = {0};
    uint8_t small[LANES] = {0};
    if (bytes == 4) {
        for (size_t i = 0; i < n; i++) lane[i] = (real)((const uint32_t *)where)[index + i];
        return vload(lane);
    }
    memcpy(small, (const uint8_t *)where + index, n);
    for (size_t i = 0; i < LANES; i++) lane[i] = (real)small[i];
    return vload(lane);
}

#endif
