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

#include "x86.h"

#define FASTNN_PART_BY_COPY

FORCE_INLINE M vlt(V a, V b) { return OP(cmplt)(a, b); }
FORCE_INLINE M vle(V a, V b) { return OP(cmple)(a, b); }
FORCE_INLINE V vselect(M m, V a, V b) { return OP(or)(OP(and)(m, a), OP(andnot)(m, b)); }
FORCE_INLINE unsigned vmask_bits(M m) { return (unsigned)OP(movemask)(m); }
#if FASTNN_BITS == 32
FORCE_INLINE real vsum(V x) { return sum_of_4(x); }
#else
FORCE_INLINE real vsum(V x) { return sum_of_2(x); }
#endif

// SSE2 has no fused multiply-add; accuracy comes before speed on so old a machine.
#if FASTNN_BITS == 32
// Floats: the product of two floats is exact in double.
FORCE_INLINE __m128d fma_half(__m128 a, __m128 b, __m128 c) {
    return _mm_cvtps_pd(a) * _mm_cvtps_pd(b) + _mm_cvtps_pd(c);
}
FORCE_INLINE V vfma(V a, V b, V c) {
    const __m128d low = fma_half(a, b, c);
    const __m128d high = fma_half(_mm_movehl_ps(a, a), _mm_movehl_ps(b, b), _mm_movehl_ps(c, c));
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
#else
// Doubles: the exact product by halves, Knuth's exact sum, and their errors added at the end.
FORCE_INLINE V upper_half(V x) { return _mm_and_pd(x, _mm_castsi128_pd(_mm_set1_epi64x(-(1ll << 27)))); }
FORCE_INLINE V vfma(V a, V b, V c) {
    const V p = a * b;
    const V ah = upper_half(a), al = a - ah, bh = upper_half(b), bl = b - bh;
    const V p_error = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
    const V s = p + c, t = s - p;
    const V s_error = (p - (s - t)) + (c - t);
    return vselect(vle(vabs(s), vset(REAL_MAX)), s + (s_error + p_error), s);
}
#endif
FORCE_INLINE V vfnma(V a, V b, V c) { return vfma(-a, b, c); }
FORCE_INLINE V vestimate(V x) { return vset(1) / x; }
#if FASTNN_BITS == 32
FORCE_INLINE V vpower_of_2(V m) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(m), 23)); }
#else
FORCE_INLINE V vpower_of_2(V m) { return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(m), 52)); }
#endif
#define FASTNN_SCALE_BY_PRODUCT
#define FASTNN_FMA_IN_PARTS
