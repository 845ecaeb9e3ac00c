// The vector primitives on SSE2, the baseline of x86-64. simd.h says what each one means.
#include <emmintrin.h>

#define REGISTERS 16

#if FASTNN_BITS == 32
typedef __m128 V;
#define LANES 4
#define OP(name) _mm_##name##_ps
#else
typedef __m128d V;
#define LANES 2
#define OP(name) _mm_##name##_pd
#endif
typedef V M;

#include "simd/x86.h"

#define FASTNN_PART_BY_COPY

ALWAYS_INLINE M vlt(V a, V b) { return OP(cmplt)(a, b); }
ALWAYS_INLINE M vle(V a, V b) { return OP(cmple)(a, b); }
ALWAYS_INLINE V vselect(M m, V a, V b) { return OP(or)(OP(and)(m, a), OP(andnot)(m, b)); }
ALWAYS_INLINE unsigned vmask_bits(M m) { return (unsigned)OP(movemask)(m); }
ALWAYS_INLINE V vkeep(M m, V a) { return OP(and)(m, a); }
#if FASTNN_BITS == 32
ALWAYS_INLINE real vsum(V x) { return sum_of_4(x); }
#else
ALWAYS_INLINE real vsum(V x) { return sum_of_2(x); }
#endif

// SSE2 has no fused multiply-add; accuracy comes before speed on so old a machine. It is not inlined: its dozen
// operations (of doubles: two dozen), in every place where a formula calls it, made up a third of the library.
#if FASTNN_BITS == 32
// Floats: the product of two floats is exact in double.
ALWAYS_INLINE __m128d fma_half(__m128 a, __m128 b, __m128 c) {
    return _mm_cvtps_pd(a) * _mm_cvtps_pd(b) + _mm_cvtps_pd(c);
}
__attribute__((noinline, unused)) static V vfma(V a, V b, V c) {
    const __m128d low = fma_half(a, b, c);
    const __m128d high = fma_half(_mm_movehl_ps(a, a), _mm_movehl_ps(b, b), _mm_movehl_ps(c, c));
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
#else
// Doubles: the exact product by halves, Knuth's exact sum, and their errors added at the end.
ALWAYS_INLINE V upper_half(V x) { return _mm_and_pd(x, _mm_castsi128_pd(_mm_set1_epi64x(-(1ll << 27)))); }
__attribute__((noinline, unused)) static V vfma(V a, V b, V c) {
    const V p = a * b;
    const V ah = upper_half(a), al = a - ah, bh = upper_half(b), bl = b - bh;
    const V p_error = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
    const V s = p + c, t = s - p;
    const V s_error = (p - (s - t)) + (c - t);
    return vselect(vle(vabs(s), vset(REAL_MAX)), s + (s_error + p_error), s);
}
#endif
ALWAYS_INLINE V vfnma(V a, V b, V c) { return vfma(-a, b, c); }
ALWAYS_INLINE V vestimate(V x) { return vset(1) / x; }
#if FASTNN_BITS == 32
ALWAYS_INLINE V vpower_of_2(V m) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(m), 23)); }
ALWAYS_INLINE V vexponent_bits(V x) {
    const __m128i exponent = _mm_srli_epi32(_mm_castps_si128(x), 23);
    return OP(or)(_mm_castsi128_ps(exponent), vset(1ull << 23));
}
#else
ALWAYS_INLINE V vpower_of_2(V m) { return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(m), 52)); }
ALWAYS_INLINE V vexponent_bits(V x) {
    const __m128i exponent = _mm_srli_epi64(_mm_castpd_si128(x), 52);
    return OP(or)(_mm_castsi128_pd(exponent), vset(1ull << 52));
}
#endif
#define FASTNN_SCALE_BY_PRODUCT
#define FASTNN_FMA_IN_PARTS

#if FASTNN_BITS == 32
ALWAYS_INLINE M vmask_of_bits(unsigned bits) {
    const __m128i each = _mm_setr_epi32(1, 2, 4, 8);
    return _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_set1_epi32((int)bits) & each, each));
}
ALWAYS_INLINE V vload_draws(const uint16_t *p) {
    return _mm_cvtepi32_ps(_mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i *)p), _mm_setzero_si128()));
}
ALWAYS_INLINE V vload_bytes(const uint8_t *p) { return _mm_setr_ps(p[0], p[1], p[2], p[3]); }
#else
ALWAYS_INLINE M vmask_of_bits(unsigned bits) {
    const __m128i each = _mm_setr_epi32(1, 1, 2, 2);
    return _mm_castsi128_pd(_mm_cmpeq_epi32(_mm_set1_epi32((int)bits) & each, each));
}
ALWAYS_INLINE V vload_draws(const uint16_t *p) { return _mm_setr_pd(p[0], p[1]); }
ALWAYS_INLINE V vload_bytes(const uint8_t *p) { return _mm_setr_pd(p[0], p[1]); }
#endif

#if FASTNN_BITS == 32
ALWAYS_INLINE V veven(V a, V b) { return _mm_shuffle_ps(a, b, 0x88); }
ALWAYS_INLINE V vodd(V a, V b) { return _mm_shuffle_ps(a, b, 0xdd); }
#else
ALWAYS_INLINE V veven(V a, V b) { return _mm_unpacklo_pd(a, b); }
ALWAYS_INLINE V vodd(V a, V b) { return _mm_unpackhi_pd(a, b); }
#endif
ALWAYS_INLINE V vzip_low(V a, V b) { return OP(unpacklo)(a, b); }
ALWAYS_INLINE V vzip_high(V a, V b) { return OP(unpackhi)(a, b); }

#define FASTNN_PIXELS_ONE_BY_ONE

typedef __m128i U;
#define ULANES 2
ALWAYS_INLINE U uset(uint64_t x) { return _mm_set1_epi64x((long long)x); }
ALWAYS_INLINE U uorder(void) { return _mm_set_epi64x(1, 0); }
ALWAYS_INLINE U uload(const uint64_t *p) { return _mm_loadu_si128((const U *)p); }
ALWAYS_INLINE U umul(U a, U b) { return _mm_mul_epu32(a, b); }
ALWAYS_INLINE U uhigh(U a) { return _mm_srli_epi64(a, 32); }
ALWAYS_INLINE U ujoin(U a, U b) { return (a & uset(0xffffffffu)) | _mm_slli_epi64(b, 32); }
ALWAYS_INLINE void ustore_draws(void *p, U low, U high) {
    _mm_storeu_si128(p, _mm_unpacklo_epi64(low, high));
    _mm_storeu_si128((U *)p + 1, _mm_unpackhi_epi64(low, high));
}
// Saturated subtraction of the limit gives 0 where draw <= limit. Packing to bytes keeps zeros apart from the rest.
ALWAYS_INLINE void ustore_below(uint8_t *p, U low, U high, uint16_t limit) {
    const U limits = _mm_set1_epi16((short)limit);
    const U first = _mm_subs_epu16(_mm_unpacklo_epi64(low, high), limits);
    const U second = _mm_subs_epu16(_mm_unpackhi_epi64(low, high), limits);
    const int bits = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_packs_epi16(first, second), _mm_setzero_si128()));
    memcpy(p, &bits, 2);
}
