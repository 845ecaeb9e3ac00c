// Philox4x32-10 and the numbers made of it. Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011. Plain loops over many blocks, which the compiler vectorises; part of kernels.c and philox.c.
#ifndef FASTNN_PHILOX_H
#define FASTNN_PHILOX_H

#include "fastnn.h"

enum { PHILOX_BLOCKS = 16 };  // done together

// counter holds PHILOX_BLOCKS counters, word by word, and then their words.
static inline void philox_blocks(uint32_t counter[4][PHILOX_BLOCKS], uint32_t key_low, uint32_t key_high) {
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < PHILOX_BLOCKS; i++) {
            const uint64_t a = (uint64_t)0xD2511F53u * counter[0][i], b = (uint64_t)0xCD9E8D57u * counter[2][i];
            counter[0][i] = (uint32_t)(b >> 32) ^ counter[1][i] ^ key_low;
            counter[1][i] = (uint32_t)b;
            counter[2][i] = (uint32_t)(a >> 32) ^ counter[3][i] ^ key_high;
            counter[3][i] = (uint32_t)a;
        }
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
}

#endif
