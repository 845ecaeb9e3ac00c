// One vector type V of `real` (float or double, as FASTNN_BITS says) and the same primitives on it for every
// instruction set. V takes + - * / and unary minus in GCC and Clang; the rest is here. This header knows no formula.
//
// clang-format off
//   LANES  REGISTERS                         elements in a vector, vector registers
//   vset(x)  vload(p)  vstore(p, x)           broadcast, unaligned load and store
//   vload_part(p, n)  vstore_part(p, n, x)    the first n <= LANES lanes; the other lanes load as 0
//   vahead(p)                                 how many elements are before the first aligned vector of memory at p
//   vstream(p, x)                             store to p aligned to a vector, past the caches where there is a way
//   vfma(a, b, c)  vfnma(a, b, c)             a b + c, c - a b, rounded once
//   vmadd(a, b, c)                            a b + c, rounded once or twice, as is quicker
//   vmax(a, b)  vmin(a, b)                    b where either is NaN
//   vabs(x)  vnabs(x)  vsqrt(x)               |x|, -|x|, square root
//   vcopysign(size, sign)
//   vlargest(x)                               the largest lane, if none is NaN
//   vsum(x)                                   the sum of the lanes, pairwise
//   vlt(a, b)  vle(a, b)                      a mask M: false where either is NaN
//   vselect(m, a, b)                          m ? a : b, lane by lane
//   vmask_bits(m)                             lane i of the mask as bit i
//   vscale(x, n)                              x 2^n for integral n and any result, rounded once into the subnormals
//   vpower_of_2(m)                            2^k, a normal number, where k + EXPONENT_BIAS was added to ROUNDER for m
//   vexponent(x)                              floor(log2(x)) of normal x > 0
//   vestimate(x)                              1 / x to 11 bits or more; x normal, not huge
//   vmask_of_bits(bits)                       bit i as lane i of a mask; the bits beyond LANES are ignored
//   vkeep(m, a)                               m ? a : 0
//   vload_draws(p)  vload_bytes(p)            LANES uint16_t or uint8_t as numbers
//   vload_pixels(p, n, order)                 LANES uint8_t, each n <= 4 behind the one before, as numbers; `order` is
//                                             pixel_order(n), and PIXEL_BYTES(n) bytes of p are read
//   veven(a, b)  vodd(a, b)                   a's lanes 0, 2, ... and then b's; lanes 1, 3, ...
//   vzip_low(a, b)  vzip_high(a, b)           the first and the second half of a[0], b[0], a[1], b[1], ...
//   vlookup(table, i)                         table[n modulo TABLE_ENTRIES], where n was added to ROUNDER for i; only
//                                             where TABLE_ENTRIES is defined
//
// and for random numbers (philox.h) a vector type U of ULANES 64-bit lanes, which takes + ^ too:
//   uset(x)  uorder()                         broadcast; which block of ULANES blocks is in each lane
//   uload(p)                                  the numbers of ULANES blocks, in that order
//   umul(a, b)                                products of the lanes' low halves
//   uhigh(a)                                  the lanes' high halves, as low halves; the new high halves are anything
//   uxor3(a, b, c)                            a ^ b ^ c
//   ujoin(a, b)                               the low halves of b above those of a
//   ustore_draws(p, low, high)                16 bytes of each block, block by block: low's lane, then high's
//   ustore_below(p, low, high, limit)         a bit for each of the blocks' 16-bit draws, in that order: draw <= limit
// clang-format on
#ifndef FASTNN_SIMD_H
#define FASTNN_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// FORCE_INLINE makes a function part of each loop that calls it, where instruction sets are in use for their speed.
// SSE2 is for machines from before 2013, and counts only in the size of the wheel: there the compiler, told to make
// code small, may call such a function, or have one loop that calls formulas by pointer. ALWAYS_INLINE is for what
// would be several times slower so, or needs its vectors in registers.
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#ifdef FASTNN_SSE2
#define FORCE_INLINE static inline
#else
#define FORCE_INLINE ALWAYS_INLINE
#endif

// Before a loop of constant length over an array of vectors: only if it is unrolled completely do these stay in
// registers, and Clang must be told so to unroll it early enough.
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if FASTNN_BITS == 32
typedef float real;
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define REAL_MAX 3.40282347e+38f
#define REAL_MIN 1.17549435e-38f
#else
typedef double real;
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define REAL_MAX 1.7976931348623157e+308
#define REAL_MIN 2.2250738585072014e-308
#endif

// Adding this to a number and subtracting it again rounds to an integer, which is in the low bits of the sum.
#define ROUNDER ((real)(3ull << (MANTISSA_BITS - 1)))

#if defined(FASTNN_AVX512)
#include "simd/avx512.h"
#elif defined(FASTNN_AVX2)
#include "simd/avx2.h"
#elif defined(FASTNN_SSE2)
#include "simd/sse2.h"
#elif defined(FASTNN_NEON)
#include "simd/neon.h"
#endif

FORCE_INLINE V vzero(void) { return vset(0); }
FORCE_INLINE V vone(void) { return vset(1); }

#ifndef FASTNN_AVX512
FORCE_INLINE real vlargest(V x) {
    real lane[LANES];
    vstore(lane, x);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lane[i] = lane[i + width] > lane[i] ? lane[i + width] : lane[i];
    return lane[0];
}
// The biased exponent goes into the low bits of 2^MANTISSA_BITS.
FORCE_INLINE V vexponent(V x) { return vexponent_bits(x) - vset((real)(1ull << MANTISSA_BITS) + EXPONENT_BIAS); }
#endif

#ifdef FASTNN_FMA_IN_PARTS
FORCE_INLINE V vmadd(V a, V b, V c) { return a * b + c; }
#else
FORCE_INLINE V vmadd(V a, V b, V c) { return vfma(a, b, c); }
#endif

#ifndef FASTNN_TERNARY_LOGIC
FORCE_INLINE U uxor3(U a, U b, U c) { return a ^ b ^ c; }
#endif

#ifdef FASTNN_PART_BY_COPY
// Not inlined: they call memcpy anyway, and are at the end of every loop.
#define PART static __attribute__((noinline, unused))
PART V vload_part(const real *p, size_t n) {
    real lanes[LANES] = {0};
    memcpy(lanes, p, n * sizeof(real));
    return vload(lanes);
}
PART void vstore_part(real *p, size_t n, V x) {
    real lanes[LANES];
    vstore(lanes, x);
    memcpy(p, lanes, n * sizeof(real));
}
#endif

#ifdef FASTNN_PIXELS_ONE_BY_ONE
#define PIXEL_BYTES(n) ((LANES - 1) * (n) + 1)
typedef char PixelOrder;
FORCE_INLINE PixelOrder pixel_order(size_t n) { return (PixelOrder)n; }
FORCE_INLINE V vload_pixels(const uint8_t *p, size_t n, PixelOrder order) {
    (void)order;
    uint8_t lanes[LANES];
    for (size_t i = 0; i < LANES; i++) lanes[i] = p[i * n];
    return vload_bytes(lanes);
}
#endif

#ifdef FASTNN_SCALE_BY_PRODUCT
FORCE_INLINE V vscale(V x, V n) {
    const V inner = vmin(vmax(n, vset(MANTISSA_BITS + 3 - EXPONENT_BIAS)), vset(EXPONENT_BIAS));
    const V start = vset(ROUNDER + EXPONENT_BIAS);
    return x * vpower_of_2(inner + start) * vpower_of_2(n - inner + start);
}
#endif

// From there on no store of a whole vector crosses a cache line. 0 where p is not aligned to its elements: no vector
// is.
FORCE_INLINE size_t vahead(const real *p) {
    const size_t beyond = (uintptr_t)p % sizeof(V);
    return beyond % sizeof(real) == 0 ? (sizeof(V) - beyond) % sizeof(V) / sizeof(real) : 0;
}
enum { LEAST_ALIGNED = 512 };  // elements: going to an aligned vector first costs more than it saves in a shorter loop

// The first n lanes, for loops that are inlined twice: once with n the constant LANES, and once for what is left.
ALWAYS_INLINE V vload_some(const real *p, size_t n) { return n == LANES ? vload(p) : vload_part(p, n); }
ALWAYS_INLINE void vstore_some(real *p, size_t n, V x) {
    if (n == LANES)
        vstore(p, x);
    else
        vstore_part(p, n, x);
}

#endif
