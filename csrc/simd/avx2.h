// The vector primitives on AVX2 with FMA and F16C. simd.h says what each one means.
#include <immintrin.h>

#define REGISTERS 16

#if FASTNN_BITS == 32
typedef __m256 V;
#define LANES 8
#define OP(name) _mm256_##name##_ps
#else
typedef __m256d V;
#define LANES 4
#define OP(name) _mm256_##name##_pd
#endif
typedef V M;

#include "simd/x86.h"

#define FASTNN_PART_BY_COPY

#if FASTNN_BITS == 32
FORCE_INLINE real vsum(V x) { return sum_of_4(_mm256_castps256_ps128(x) + _mm256_extractf128_ps(x, 1)); }
#else
FORCE_INLINE real vsum(V x) { return sum_of_2(_mm256_castpd256_pd128(x) + _mm256_extractf128_pd(x, 1)); }
#endif

FORCE_INLINE V vfnma(V a, V b, V c) { return OP(fnmadd)(a, b, c); }
FORCE_INLINE V vfma(V a, V b, V c) { return OP(fmadd)(a, b, c); }

FORCE_INLINE M vlt(V a, V b) { return OP(cmp)(a, b, _CMP_LT_OQ); }
FORCE_INLINE M vle(V a, V b) { return OP(cmp)(a, b, _CMP_LE_OQ); }
FORCE_INLINE V vselect(M m, V a, V b) { return OP(blendv)(b, a, m); }
FORCE_INLINE unsigned vmask_bits(M m) { return (unsigned)OP(movemask)(m); }
FORCE_INLINE V vkeep(M m, V a) { return OP(and)(m, a); }

#if FASTNN_BITS == 32
FORCE_INLINE V vestimate(V x) { return _mm256_rcp_ps(x); }
#else
FORCE_INLINE V vestimate(V x) { return vset(1) / x; }
#endif

#if FASTNN_BITS == 32
FORCE_INLINE V vpower_of_2(V m) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(m), 23)); }
FORCE_INLINE V vexponent_bits(V x) {
    const __m256i exponent = _mm256_srli_epi32(_mm256_castps_si256(x), 23);
    return OP(or)(_mm256_castsi256_ps(exponent), vset(1ull << 23));
}
#else
FORCE_INLINE V vpower_of_2(V m) { return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(m), 52)); }
FORCE_INLINE V vexponent_bits(V x) {
    const __m256i exponent = _mm256_srli_epi64(_mm256_castpd_si256(x), 52);
    return OP(or)(_mm256_castsi256_pd(exponent), vset(1ull << 52));
}
#endif
#define FASTNN_SCALE_BY_PRODUCT

#if FASTNN_BITS == 32
FORCE_INLINE M vmask_of_bits(unsigned bits) {
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_set1_epi32((int)bits) & each, each));
}
FORCE_INLINE V vload_draws(const uint16_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)));
}
FORCE_INLINE V vload_bytes(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
#else
FORCE_INLINE M vmask_of_bits(unsigned bits) {
    const __m256i each = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_set1_epi64x(bits) & each, each));
}
FORCE_INLINE V vload_draws(const uint16_t *p) {
    return _mm256_cvtepi32_pd(_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
FORCE_INLINE V vload_bytes(const uint8_t *p) { return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_loadu_si32(p))); }
#endif

#if FASTNN_BITS == 32
FORCE_INLINE V veven(V a, V b) {
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}
FORCE_INLINE V vodd(V a, V b) {
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}
FORCE_INLINE V vzip_low(V a, V b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
FORCE_INLINE V vzip_high(V a, V b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
#else
FORCE_INLINE V veven(V a, V b) { return _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), 0xd8); }
FORCE_INLINE V vodd(V a, V b) { return _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), 0xd8); }
FORCE_INLINE V vzip_low(V a, V b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20);
}
FORCE_INLINE V vzip_high(V a, V b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31);
}
#endif

#if FASTNN_BITS == 32
#define PIXEL_BYTES(n) (4 * (n) + 16)
typedef __m256i PixelOrder;
FORCE_INLINE PixelOrder pixel_order(size_t n) { return _mm256_broadcastsi128_si256(order_of_4_bytes(n)); }
FORCE_INLINE V vload_pixels(const uint8_t *p, size_t n, PixelOrder order) {
    return _mm256_cvtepi32_ps(
        _mm256_shuffle_epi8(_mm256_loadu2_m128i((const void *)(p + 4 * n), (const void *)p), order));
}
#else
#define PIXEL_BYTES(n) 16
typedef __m128i PixelOrder;
FORCE_INLINE PixelOrder pixel_order(size_t n) { return order_of_4_bytes(n); }
FORCE_INLINE V vload_pixels(const uint8_t *p, size_t n, PixelOrder order) {
    (void)n;
    return _mm256_cvtepi32_pd(_mm_shuffle_epi8(load_16_bytes(p), order));
}
#endif

typedef __m256i U;
#define ULANES 4
FORCE_INLINE U uset(uint64_t x) { return _mm256_set1_epi64x((long long)x); }
FORCE_INLINE U uorder(void) { return _mm256_setr_epi64x(0, 1, 2, 3); }
FORCE_INLINE U uload(const uint64_t *p) { return _mm256_loadu_si256((const U *)p); }
FORCE_INLINE U umul(U a, U b) { return _mm256_mul_epu32(a, b); }
FORCE_INLINE U uhigh(U a) { return _mm256_srli_epi64(a, 32); }
FORCE_INLINE U ujoin(U a, U b) { return _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa); }
FORCE_INLINE void ustore_draws(void *p, U low, U high) {
    const U even = _mm256_unpacklo_epi64(low, high), odd = _mm256_unpackhi_epi64(low, high);
    _mm256_storeu_si256(p, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((U *)p + 1, _mm256_permute2x128_si256(even, odd, 0x31));
}
// Saturated subtraction of the limit gives 0 where draw <= limit. Packing to bytes keeps zeros apart from the rest, and
// puts the blocks in order.
FORCE_INLINE void ustore_below(uint8_t *p, U low, U high, uint16_t limit) {
    const U limits = _mm256_set1_epi16((short)limit);
    const U even = _mm256_subs_epu16(_mm256_unpacklo_epi64(low, high), limits);
    const U odd = _mm256_subs_epu16(_mm256_unpackhi_epi64(low, high), limits);
    const U below = _mm256_cmpeq_epi8(_mm256_packs_epi16(even, odd), _mm256_setzero_si256());
    const int bits = _mm256_movemask_epi8(below);
    memcpy(p, &bits, 4);
}
