// Philox4x32-10, many blocks at a time: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011. Part of random_kernels.c; it knows words and counters, and not what a draw is used for.
//
// A word is the low half of a 64-bit lane. The high half may hold anything, since umul multiplies the low halves alone.
// So the low word of a product is the product's lane as it is, and the high word takes one shift.
#ifndef FASTNN_PHILOX_H
#define FASTNN_PHILOX_H

#include "simd/simd.h"

enum {
    PHILOX_ROUNDS = 10,
    PHILOX_VECTORS = REGISTERS / 8,  // computed side by side, so that one need not wait for another's latency
    PHILOX_BLOCKS = PHILOX_VECTORS * ULANES,
};

// What all blocks of one stream share: the keys of the rounds, and the counter's upper words.
typedef struct {
    U key[PHILOX_ROUNDS][2], offset[2];
} philox_stream;

FORCE_INLINE philox_stream philox_open(uint64_t seed, uint64_t offset) {
    philox_stream stream = {.offset = {uset((uint32_t)offset), uset(offset >> 32)}};
    uint32_t low = (uint32_t)seed, high = (uint32_t)(seed >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++, low += 0x9E3779B9u, high += 0xBB67AE85u)
        stream.key[round][0] = uset(low), stream.key[round][1] = uset(high);
    return stream;
}

// The results of these blocks: words 0 and 1 of each block in its lane of `low`, words 2 and 3 in its lane of `high`.
FORCE_INLINE void philox_blocks(const philox_stream *stream, const U block[PHILOX_VECTORS], U low[PHILOX_VECTORS],
                                U high[PHILOX_VECTORS]) {
    const U multiplier[] = {uset(0xD2511F53u), uset(0xCD9E8D57u)};
    U word[PHILOX_VECTORS][4];
#pragma GCC unroll 4
    for (int v = 0; v < PHILOX_VECTORS; v++) {
        word[v][0] = block[v];
        word[v][1] = uhigh(block[v]);
        word[v][2] = stream->offset[0];
        word[v][3] = stream->offset[1];
    }
#pragma GCC unroll 10
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
#pragma GCC unroll 4
        for (int v = 0; v < PHILOX_VECTORS; v++) {
            const U a = umul(word[v][0], multiplier[0]), b = umul(word[v][2], multiplier[1]);
            word[v][0] = uxor3(uhigh(b), word[v][1], stream->key[round][0]);
            word[v][1] = b;
            word[v][2] = uxor3(uhigh(a), word[v][3], stream->key[round][1]);
            word[v][3] = a;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < PHILOX_VECTORS; v++) {
        low[v] = ujoin(word[v][0], word[v][1]);
        high[v] = ujoin(word[v][2], word[v][3]);
    }
}

// The same for PHILOX_BLOCKS blocks from `first` on, in the order of lanes that uorder() gives.
FORCE_INLINE void philox_following(const philox_stream *stream, uint64_t first, U low[PHILOX_VECTORS],
                                   U high[PHILOX_VECTORS]) {
    U block[PHILOX_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < PHILOX_VECTORS; v++) block[v] = uorder() + uset(first + (uint64_t)(v * ULANES));
    philox_blocks(stream, block, low, high);
}

#endif
