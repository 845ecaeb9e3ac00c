// The vector primitives on AVX-512 (F, BW, DQ, VL). simd.h says what each one means.
#include <immintrin.h>

#define REGISTERS 32

#if FASTNN_BITS == 32
typedef __m512 V;
typedef __mmask16 M;
#define LANES 16
#define OP(name) _mm512_##name##_ps
#define MASK_OP(name) _mm512_##name##_ps_mask
#define ALL_LANES(n) ((__mmask16)((1u << (n)) - 1))
#else
typedef __m512d V;
typedef __mmask8 M;
#define LANES 8
#define OP(name) _mm512_##name##_pd
#define MASK_OP(name) _mm512_##name##_pd_mask
#define ALL_LANES(n) ((__mmask8)((1u << (n)) - 1))
#endif

#include "x86.h"

FORCE_INLINE V vload_part(const real *p, size_t n) { return OP(maskz_loadu)(ALL_LANES(n), p); }
FORCE_INLINE void vstore_part(real *p, size_t n, V x) { OP(mask_storeu)(p, ALL_LANES(n), x); }

FORCE_INLINE real vsum(V x) { return OP(reduce_add)(x); }

FORCE_INLINE V vfnma(V a, V b, V c) { return OP(fnmadd)(a, b, c); }
FORCE_INLINE V vfma(V a, V b, V c) { return OP(fmadd)(a, b, c); }

FORCE_INLINE M vlt(V a, V b) { return MASK_OP(cmp)(a, b, _CMP_LT_OQ); }
FORCE_INLINE M vle(V a, V b) { return MASK_OP(cmp)(a, b, _CMP_LE_OQ); }
FORCE_INLINE V vselect(M m, V a, V b) { return OP(mask_blend)(m, b, a); }
FORCE_INLINE unsigned vmask_bits(M m) { return m; }

FORCE_INLINE V vscale(V x, V n) { return OP(scalef)(x, n); }
FORCE_INLINE V vestimate(V x) { return OP(rcp14)(x); }
#if FASTNN_BITS == 32
FORCE_INLINE V vpower_of_2(V m) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(m), 23)); }
#else
FORCE_INLINE V vpower_of_2(V m) { return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(m), 52)); }
#endif
