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

#include "x86.h"

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

#if FASTNN_BITS == 32
FORCE_INLINE V vestimate(V x) { return _mm256_rcp_ps(x); }
#else
FORCE_INLINE V vestimate(V x) { return vset(1) / x; }
#endif

#if FASTNN_BITS == 32
FORCE_INLINE V vpower_of_2(V m) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(m), 23)); }
#else
FORCE_INLINE V vpower_of_2(V m) { return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(m), 52)); }
#endif
#define FASTNN_SCALE_BY_PRODUCT
