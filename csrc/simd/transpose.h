// The transpose of a square of LANES vectors, for every instruction set: written with the compilers' builtin that
// shuffles two vectors in a constant order, for which they choose the instructions.
#ifndef FASTNN_TRANSPOSE_H
#define FASTNN_TRANSPOSE_H

#include "simd/simd.h"

#if LANES == 16
#define EACH_LANE(f, w) EACH_LANE_8(f, 0, w), EACH_LANE_8(f, 8, w)
#elif LANES == 8
#define EACH_LANE(f, w) EACH_LANE_8(f, 0, w)
#elif LANES == 4
#define EACH_LANE(f, w) f(0, w), f(1, w), f(2, w), f(3, w)
#else
#define EACH_LANE(f, w) f(0, w), f(1, w)
#endif
#define EACH_LANE_8(f, i, w) \
    f(i, w), f(i + 1, w), f(i + 2, w), f(i + 3, w), f(i + 4, w), f(i + 5, w), f(i + 6, w), f(i + 7, w)

#ifdef __clang__
#define SHUFFLE(a, b, f, w) __builtin_shufflevector(a, b, EACH_LANE(f, w))
#else
#if FASTNN_BITS == 32
typedef int32_t Order __attribute__((vector_size(sizeof(V))));
#else
typedef int64_t Order __attribute__((vector_size(sizeof(V))));
#endif
#define SHUFFLE(a, b, f, w) __builtin_shuffle(a, b, (Order){EACH_LANE(f, w)})
#endif

// Of the square of rows i and i + w, and lanes j and j + w, the two elements off the diagonal change places.
#define UPPER_ROW(j, w) ((j) & (w) ? LANES + (j) - (w) : (j))
#define LOWER_ROW(j, w) ((j) & (w) ? LANES + (j) : (j) + (w))
#define EXCHANGE(w)                                            \
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) { \
        if (i & (w)) continue;                                 \
        const V a = x[i], b = x[i + (w)];                      \
        x[i] = SHUFFLE(a, b, UPPER_ROW, w);                    \
        x[i + (w)] = SHUFFLE(a, b, LOWER_ROW, w);              \
    }

// Lane j of x[i] and lane i of x[j] change places.
FORCE_INLINE void vtranspose(V x[LANES]) {
#if LANES >= 16
    EXCHANGE(8)
#endif
#if LANES >= 8
    EXCHANGE(4)
#endif
#if LANES >= 4
    EXCHANGE(2)
#endif
    EXCHANGE(1)
}

#endif
