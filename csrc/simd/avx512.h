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

#include "simd/x86.h"

FORCE_INLINE V vload_part(const real *p, size_t n) { return OP(maskz_loadu)(ALL_LANES(n), p); }
FORCE_INLINE void vstore_part(real *p, size_t n, V x) { OP(mask_storeu)(p, ALL_LANES(n), x); }

FORCE_INLINE real vsum(V x) { return OP(reduce_add)(x); }

FORCE_INLINE V vfnma(V a, V b, V c) { return OP(fnmadd)(a, b, c); }
FORCE_INLINE V vfma(V a, V b, V c) { return OP(fmadd)(a, b, c); }

FORCE_INLINE M vlt(V a, V b) { return MASK_OP(cmp)(a, b, _CMP_LT_OQ); }
FORCE_INLINE M vle(V a, V b) { return MASK_OP(cmp)(a, b, _CMP_LE_OQ); }
FORCE_INLINE V vselect(M m, V a, V b) { return OP(mask_blend)(m, b, a); }
FORCE_INLINE unsigned vmask_bits(M m) { return m; }
FORCE_INLINE M vmask_of_bits(unsigned bits) { return (M)bits; }
FORCE_INLINE V vkeep(M m, V a) { return OP(maskz_mov)(m, a); }

FORCE_INLINE V vscale(V x, V n) { return OP(scalef)(x, n); }
FORCE_INLINE V vexponent(V x) { return OP(getexp)(x); }
FORCE_INLINE real vlargest(V x) { return OP(reduce_max)(x); }
FORCE_INLINE V vestimate(V x) { return OP(rcp14)(x); }
#if FASTNN_BITS == 32
FORCE_INLINE V vpower_of_2(V m) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(m), 23)); }
#else
FORCE_INLINE V vpower_of_2(V m) { return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(m), 52)); }
#endif

#if FASTNN_BITS == 32
#define TABLE_ENTRIES 32
FORCE_INLINE V vlookup(const real *table, V i) {
    return _mm512_permutex2var_ps(vload(table), _mm512_castps_si512(i), vload(table + 16));
}
#endif

#if FASTNN_BITS == 32
FORCE_INLINE V vload_draws(const uint16_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)));
}
FORCE_INLINE V vload_bytes(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
#else
FORCE_INLINE V vload_draws(const uint16_t *p) {
    return _mm512_cvtepi32_pd(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)));
}
FORCE_INLINE V vload_bytes(const uint8_t *p) {
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
#endif

#if FASTNN_BITS == 32
FORCE_INLINE V veven(V a, V b) {
    const __m512i each = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, each, b);
}
FORCE_INLINE V vodd(V a, V b) {
    const __m512i each = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, each, b);
}
FORCE_INLINE V vzip_low(V a, V b) {
    const __m512i each = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(a, each, b);
}
FORCE_INLINE V vzip_high(V a, V b) {
    const __m512i each = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return _mm512_permutex2var_ps(a, each, b);
}
#else
FORCE_INLINE V veven(V a, V b) { return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b); }
FORCE_INLINE V vodd(V a, V b) { return _mm512_permutex2var_pd(a, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b); }
FORCE_INLINE V vzip_low(V a, V b) { return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b); }
FORCE_INLINE V vzip_high(V a, V b) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}
#endif

#if FASTNN_BITS == 32
#define PIXEL_BYTES(n) (12 * (n) + 16)
typedef __m512i PixelOrder;
FORCE_INLINE PixelOrder pixel_order(size_t n) { return _mm512_broadcast_i32x4(order_of_4_bytes(n)); }
FORCE_INLINE V vload_pixels(const uint8_t *p, size_t n, PixelOrder order) {
    __m512i bytes = _mm512_castsi128_si512(load_16_bytes(p));
    bytes = _mm512_inserti32x4(bytes, load_16_bytes(p + 4 * n), 1);
    bytes = _mm512_inserti32x4(bytes, load_16_bytes(p + 8 * n), 2);
    bytes = _mm512_inserti32x4(bytes, load_16_bytes(p + 12 * n), 3);
    return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(bytes, order));
}
#else
#define PIXEL_BYTES(n) (4 * (n) + 16)
typedef __m256i PixelOrder;
FORCE_INLINE PixelOrder pixel_order(size_t n) { return _mm256_broadcastsi128_si256(order_of_4_bytes(n)); }
FORCE_INLINE V vload_pixels(const uint8_t *p, size_t n, PixelOrder order) {
    return _mm512_cvtepi32_pd(
        _mm256_shuffle_epi8(_mm256_loadu2_m128i((const void *)(p + 4 * n), (const void *)p), order));
}
#endif

typedef __m512i U;
#define ULANES 8
FORCE_INLINE U uset(uint64_t x) { return _mm512_set1_epi64((long long)x); }
// The unpack instructions below take the even 64-bit lanes first and then the odd ones; this order undoes that.
FORCE_INLINE U uorder(void) { return _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7); }
FORCE_INLINE U uload(const uint64_t *p) { return _mm512_permutexvar_epi64(uorder(), _mm512_loadu_si512(p)); }
FORCE_INLINE U umul(U a, U b) { return _mm512_mul_epu32(a, b); }
FORCE_INLINE U uhigh(U a) { return _mm512_srli_epi64(a, 32); }
FORCE_INLINE U uxor3(U a, U b, U c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
#define FASTNN_TERNARY_LOGIC
FORCE_INLINE U ujoin(U a, U b) { return _mm512_mask_shuffle_epi32(a, 0xaaaa, b, _MM_PERM_CCAA); }
FORCE_INLINE void ustore_draws(void *p, U low, U high) {
    _mm512_storeu_si512(p, _mm512_unpacklo_epi64(low, high));
    _mm512_storeu_si512((char *)p + 64, _mm512_unpackhi_epi64(low, high));
}
FORCE_INLINE void ustore_below(uint8_t *p, U low, U high, uint16_t limit) {
    const U limits = _mm512_set1_epi16((short)limit);
    const uint32_t first = _mm512_cmple_epu16_mask(_mm512_unpacklo_epi64(low, high), limits);
    const uint32_t second = _mm512_cmple_epu16_mask(_mm512_unpackhi_epi64(low, high), limits);
    memcpy(p, &first, 4);
    memcpy(p + 4, &second, 4);
}
