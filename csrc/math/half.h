// float16 and bfloat16 to and from float32, rounded to nearest even, for elementwise_kernels.c. float16 uses the
// processor's conversion where there is one; all else is plain C that the compiler vectorises.
#ifndef FASTNN_HALF_H
#define FASTNN_HALF_H
#if FASTNN_BITS == 32

#include <stdint.h>
#include <string.h>

#include "simd/simd.h"

FORCE_INLINE uint32_t float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
FORCE_INLINE float bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void from_bfloat16(size_t n, float *to, const uint16_t *from) {
    for (size_t i = 0; i < n; i++) to[i] = bits_float((uint32_t)from[i] << 16);
}
static void to_bfloat16(size_t n, uint16_t *to, const float *from) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = float_bits(from[i]);
        const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        const uint32_t nan = bits >> 16 | 0x40;
        to[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
    }
}

// Scaling by a power of two aligns the exponents, and lets the float unit handle the subnormals.
FORCE_INLINE float float16_to_float(uint16_t h) {
    const uint32_t magnitude = h & 0x7fffu, sign = (h & 0x8000u) << 16;
    const uint32_t special = magnitude >= 0x7c00 ? 0x7f800000u : 0;
    return bits_float(float_bits(bits_float(magnitude << 13) * 0x1p112f) | sign | special);
}
FORCE_INLINE uint16_t float_to_float16(float x) {
    const uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t h;
    if (magnitude > 0x7f800000u) {  // NaN
        h = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) {  // 65520 and more round to infinity
        h = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal: adding 1/2 puts the result into the low bits
        h = float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000u;
    } else {
        h = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    }
    return (uint16_t)(h | sign);
}

#if defined(FASTNN_AVX512)
#define HALF_LANES 16
FORCE_INLINE void from_float16_vector(float *to, const uint16_t *from) {
    _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)));
}
FORCE_INLINE void to_float16_vector(uint16_t *to, const float *from) {
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph(_mm512_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(FASTNN_AVX2)
#define HALF_LANES 8
FORCE_INLINE void from_float16_vector(float *to, const uint16_t *from) {
    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)));
}
FORCE_INLINE void to_float16_vector(uint16_t *to, const float *from) {
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(_mm256_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT));
}
#else
#define HALF_LANES 1
FORCE_INLINE void from_float16_vector(float *to, const uint16_t *from) { *to = float16_to_float(*from); }
FORCE_INLINE void to_float16_vector(uint16_t *to, const float *from) { *to = float_to_float16(*from); }
#endif

static void from_float16(size_t n, float *to, const uint16_t *from) {
    size_t i = 0;
    for (; i + HALF_LANES <= n; i += HALF_LANES) from_float16_vector(to + i, from + i);
    for (; i < n; i++) to[i] = float16_to_float(from[i]);
}
static void to_float16(size_t n, uint16_t *to, const float *from) {
    size_t i = 0;
    for (; i + HALF_LANES <= n; i += HALF_LANES) to_float16_vector(to + i, from + i);
    for (; i < n; i++) to[i] = float_to_float16(from[i]);
}

#endif
#endif
