// The AVX-512 intrinsics that the kernels use, in plain C and AVX2: with them the AVX-512 kernels run, and can be
// tested, on a machine without AVX-512. CMake includes this file before each of these kernels if FASTNN_EMULATE_AVX512
// is on. Results are those of the real instructions, bit by bit, but for vrcp14 (see there); nothing can be said of
// their speed.
//
// An intrinsic that is missing is an error of the compiler (implicit declaration): write it here, as Intel's Intrinsics
// Guide describes it.
#ifndef FASTNN_EMULATED_AVX512_H
#define FASTNN_EMULATED_AVX512_H

#include <stdint.h>
#include <string.h>

// The compiler's <immintrin.h> without its AVX-512 part, so that those names are free. Each part asks for the guard of
// the whole; with it, a later #include <immintrin.h> adds nothing.
#include <nmmintrin.h>
#ifdef __clang__
#define __IMMINTRIN_H
#else
#define _IMMINTRIN_H_INCLUDED
#endif
#include <avxintrin.h>
// These use the types of the part above.
#include <avx2intrin.h>
#include <f16cintrin.h>
#include <fmaintrin.h>

#define EMULATED static __attribute__((unused))

typedef float __m512 __attribute__((vector_size(64), may_alias));
typedef double __m512d __attribute__((vector_size(64), may_alias));
typedef long long __m512i __attribute__((vector_size(64), may_alias));
typedef uint64_t Lanes64 __attribute__((vector_size(64), may_alias));
typedef uint32_t Lanes32 __attribute__((vector_size(64), may_alias));
typedef uint16_t Lanes16 __attribute__((vector_size(64), may_alias));
typedef uint8_t __mmask8;
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;

EMULATED __m512i _mm512_castps_si512(__m512 a) { return (__m512i)a; }
EMULATED __m512i _mm512_castpd_si512(__m512d a) { return (__m512i)a; }
EMULATED __m512 _mm512_castsi512_ps(__m512i a) { return (__m512)a; }
EMULATED __m512d _mm512_castsi512_pd(__m512i a) { return (__m512d)a; }

// Each of these makes an intrinsic of float (n = 16 lanes of type T in vectors of type V, halves of type H) or of
// double.
#define HALF_OF(V, H, vector, h) (((const H *)&(vector))[h])
#define BY_HALVES_1(name, suffix, T, V, H)                                                        \
    EMULATED V _mm512_##name##_##suffix(V a) {                                                    \
        V r;                                                                                      \
        for (int h = 0; h < 2; h++) ((H *)&r)[h] = _mm256_##name##_##suffix(HALF_OF(V, H, a, h)); \
        return r;                                                                                 \
    }
#define BY_HALVES_2(name, suffix, T, V, H)                                                                             \
    EMULATED V _mm512_##name##_##suffix(V a, V b) {                                                                    \
        V r;                                                                                                           \
        for (int h = 0; h < 2; h++) ((H *)&r)[h] = _mm256_##name##_##suffix(HALF_OF(V, H, a, h), HALF_OF(V, H, b, h)); \
        return r;                                                                                                      \
    }
#define BY_HALVES_3(name, suffix, T, V, H)                                                                          \
    EMULATED V _mm512_##name##_##suffix(V a, V b, V c) {                                                            \
        V r;                                                                                                        \
        for (int h = 0; h < 2; h++)                                                                                 \
            ((H *)&r)[h] = _mm256_##name##_##suffix(HALF_OF(V, H, a, h), HALF_OF(V, H, b, h), HALF_OF(V, H, c, h)); \
        return r;                                                                                                   \
    }
// Pairs are added (or compared) as GCC and Clang do it: the upper half with the lower one, then the halves of that.
#define REDUCE(name, suffix, T, V, n, of_a_and_b)          \
    EMULATED T _mm512_reduce_##name##_##suffix(V x) {      \
        for (int width = (n) / 2; width > 0; width /= 2) { \
            for (int i = 0; i < width; i++) {              \
                const T a = x[i + width], b = x[i];        \
                x[i] = of_a_and_b;                         \
            }                                              \
        }                                                  \
        return x[0];                                       \
    }
#define LANES_OF(n) for (int i = 0; i < (n); i++)
#define MASK_BIT(mask, i) ((mask) >> (i) & 1)

#define FLOATING(suffix, T, V, H, n, Mask, Index)                                                                      \
    EMULATED V _mm512_set1_##suffix(T x) {                                                                             \
        V r;                                                                                                           \
        LANES_OF(n) r[i] = x;                                                                                          \
        return r;                                                                                                      \
    }                                                                                                                  \
    EMULATED V _mm512_loadu_##suffix(const void *p) {                                                                  \
        V r;                                                                                                           \
        memcpy(&r, p, 64);                                                                                             \
        return r;                                                                                                      \
    }                                                                                                                  \
    EMULATED void _mm512_storeu_##suffix(void *p, V a) { memcpy(p, &a, 64); }                                          \
    EMULATED void _mm512_stream_##suffix(void *p, V a) { *(V *)p = a; }                                                \
    EMULATED V _mm512_mask_loadu_##suffix(V other, Mask m, const void *p) {                                            \
        LANES_OF(n) if (MASK_BIT(m, i)) other[i] = ((const T *)p)[i];                                                  \
        return other;                                                                                                  \
    }                                                                                                                  \
    EMULATED V _mm512_maskz_loadu_##suffix(Mask m, const void *p) { return _mm512_mask_loadu_##suffix((V){0}, m, p); } \
    EMULATED void _mm512_mask_storeu_##suffix(void *p, Mask m, V a) {                                                  \
        LANES_OF(n) if (MASK_BIT(m, i))((T *)p)[i] = a[i];                                                             \
    }                                                                                                                  \
    EMULATED V _mm512_mask_blend_##suffix(Mask m, V a, V b) {                                                          \
        V r;                                                                                                           \
        LANES_OF(n) r[i] = MASK_BIT(m, i) ? b[i] : a[i];                                                               \
        return r;                                                                                                      \
    }                                                                                                                  \
    EMULATED V _mm512_maskz_mov_##suffix(Mask m, V a) { return _mm512_mask_blend_##suffix(m, (V){0}, a); }             \
    BY_HALVES_1(sqrt, suffix, T, V, H)                                                                                 \
    BY_HALVES_2(max, suffix, T, V, H)                                                                                  \
    BY_HALVES_2(min, suffix, T, V, H)                                                                                  \
    BY_HALVES_2(and, suffix, T, V, H)                                                                                  \
    BY_HALVES_2(andnot, suffix, T, V, H)                                                                               \
    BY_HALVES_2(or, suffix, T, V, H)                                                                                   \
    BY_HALVES_3(fmadd, suffix, T, V, H)                                                                                \
    BY_HALVES_3(fnmadd, suffix, T, V, H)                                                                               \
    REDUCE(add, suffix, T, V, n, a + b)                                                                                \
    REDUCE(max, suffix, T, V, n, a > b ? a : b)                                                                        \
    /* floor(log2 |x|); subnormals count as if they were normal, 0 gives -inf. */                                      \
    EMULATED V _mm512_getexp_##suffix(V a) {                                                                           \
        LANES_OF(n) a[i] = (T)__builtin_logb(a[i]);                                                                    \
        return a;                                                                                                      \
    }                                                                                                                  \
    /* a 2^floor(b), rounded once. The double that a float is scaled in holds it without a loss. */                    \
    EMULATED V _mm512_scalef_##suffix(V a, V b) {                                                                      \
        LANES_OF(n) a[i] = (T)emulated_scale(a[i], b[i]);                                                              \
        return a;                                                                                                      \
    }                                                                                                                  \
    EMULATED V _mm512_permutexvar_##suffix(__m512i from, V a) {                                                        \
        V r;                                                                                                           \
        LANES_OF(n) r[i] = a[((Index)from)[i] % (n)];                                                                  \
        return r;                                                                                                      \
    }                                                                                                                  \
    EMULATED V _mm512_permutex2var_##suffix(V a, __m512i from, V b) {                                                  \
        V r;                                                                                                           \
        LANES_OF(n) r[i] = ((Index)from)[i] & (n) ? b[((Index)from)[i] % (n)] : a[((Index)from)[i] % (n)];             \
        return r;                                                                                                      \
    }

// What the manual says of infinities and NaN in vscalef: scalbn does not take them.
EMULATED double emulated_scale(double a, double b) {
    const double infinity = __builtin_inf();
    if (a != a) return b == infinity ? infinity : b == -infinity ? 0 : a;
    if (b != b) return b;
    if (b == infinity) return a * infinity;
    if (b == -infinity) return a * 0;
    return __builtin_scalbn(a, (int)__builtin_floor(b < -5000 ? -5000 : b > 5000 ? 5000 : b));
}

FLOATING(ps, float, __m512, __m256, 16, __mmask16, Lanes32)
FLOATING(pd, double, __m512d, __m256d, 8, __mmask8, Lanes64)

// A macro, as the predicate must be a constant.
#define COMPARED(suffix, V, H, n, Mask, a, b, predicate)                                                              \
    __extension__({                                                                                                   \
        const V a_ = a, b_ = b;                                                                                       \
        (Mask)(_mm256_movemask_##suffix(_mm256_cmp_##suffix(HALF_OF(V, H, a_, 0), HALF_OF(V, H, b_, 0), predicate)) | \
               _mm256_movemask_##suffix(_mm256_cmp_##suffix(HALF_OF(V, H, a_, 1), HALF_OF(V, H, b_, 1), predicate))   \
                   << (n) / 2);                                                                                       \
    })
#define _mm512_cmp_ps_mask(a, b, predicate) COMPARED(ps, __m512, __m256, 16, __mmask16, a, b, predicate)
#define _mm512_cmp_pd_mask(a, b, predicate) COMPARED(pd, __m512d, __m256d, 8, __mmask8, a, b, predicate)

// The real instruction's relative error is below 2^-14 too, but it has other bits: 1/x is cut off to 14 bits here, so
// that the formulas meet the largest error that they may meet.
EMULATED __m512 _mm512_rcp14_ps(__m512 a) { return (__m512)((Lanes32)(1 / a) & (0u - (1u << 9))); }
EMULATED __m512d _mm512_rcp14_pd(__m512d a) { return (__m512d)((Lanes64)(1 / a) & (0ull - (1ull << 38))); }

// Integers.
EMULATED __m512i _mm512_set1_epi16(short x) { return (__m512i)((Lanes16){0} + (uint16_t)x); }
EMULATED __m512i _mm512_set1_epi64(long long x) { return (__m512i){0} + x; }
EMULATED __m512i _mm512_setr_epi64(long long a, long long b, long long c, long long d, long long e, long long f,
                                   long long g, long long h) {
    return (__m512i){a, b, c, d, e, f, g, h};
}
#define _mm512_setr_epi32(...) ((__m512i)(Lanes32){__VA_ARGS__})
EMULATED __m512i _mm512_loadu_si512(const void *p) { return (__m512i)_mm512_loadu_pd(p); }
EMULATED void _mm512_storeu_si512(void *p, __m512i a) { memcpy(p, &a, 64); }
EMULATED __m512i _mm512_slli_epi32(__m512i a, unsigned n) { return (__m512i)((Lanes32)a << n); }
EMULATED __m512i _mm512_slli_epi64(__m512i a, unsigned n) { return (__m512i)((Lanes64)a << n); }
EMULATED __m512i _mm512_srli_epi64(__m512i a, unsigned n) { return (__m512i)((Lanes64)a >> n); }
EMULATED __m512i _mm512_mul_epu32(__m512i a, __m512i b) {
    const Lanes64 low = {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
                         0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
    return (__m512i)(((Lanes64)a & low) * ((Lanes64)b & low));
}
// Bit 4 a + 2 b + c of the table is the result of bits a, b and c.
EMULATED __m512i _mm512_ternarylogic_epi64(__m512i a, __m512i b, __m512i c, int table) {
    __m512i r = {0};
    for (int row = 0; row < 8; row++)
        if (MASK_BIT(table, row)) r |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
    return r;
}
EMULATED __mmask32 _mm512_cmple_epu16_mask(__m512i a, __m512i b) {
    __mmask32 r = 0;
    LANES_OF(32) r |= (__mmask32)(((Lanes16)a)[i] <= ((Lanes16)b)[i]) << i;
    return r;
}

// Conversions.
EMULATED __m512 _mm512_cvtepi32_ps(__m512i a) {
    __m512 r;
    LANES_OF(16) r[i] = (float)(int32_t)((Lanes32)a)[i];
    return r;
}
EMULATED __m512d _mm512_cvtepi32_pd(__m256i a) {
    __m512d r;
    LANES_OF(8) r[i] = ((__v8si)a)[i];
    return r;
}
EMULATED __m512i _mm512_cvtepu16_epi32(__m256i a) {
    Lanes32 r;
    LANES_OF(16) r[i] = ((__v16hu)a)[i];
    return (__m512i)r;
}
EMULATED __m512i _mm512_cvtepu8_epi32(__m128i a) {
    Lanes32 r;
    LANES_OF(16) r[i] = ((__v16qu)a)[i];
    return (__m512i)r;
}
EMULATED __m512 _mm512_cvtph_ps(__m256i a) {
    __m512 r;
    for (int h = 0; h < 2; h++) ((__m256 *)&r)[h] = _mm256_cvtph_ps(((const __m128i *)&a)[h]);
    return r;
}
#define _mm512_cvtps_ph(a, rounding)                                                 \
    __extension__({                                                                  \
        const __m512 a_ = a;                                                         \
        _mm256_set_m128i(_mm256_cvtps_ph(HALF_OF(__m512, __m256, a_, 1), rounding),  \
                         _mm256_cvtps_ph(HALF_OF(__m512, __m256, a_, 0), rounding)); \
    })

// Moves between lanes. Shuffles and unpacks stay within quarters of a vector.
EMULATED __m512i _mm512_permutexvar_epi64(__m512i from, __m512i a) {
    return (__m512i)_mm512_permutexvar_pd(from, (__m512d)a);
}
EMULATED __m512i _mm512_unpacklo_epi64(__m512i a, __m512i b) {
    return (__m512i){a[0], b[0], a[2], b[2], a[4], b[4], a[6], b[6]};
}
EMULATED __m512i _mm512_unpackhi_epi64(__m512i a, __m512i b) {
    return (__m512i){a[1], b[1], a[3], b[3], a[5], b[5], a[7], b[7]};
}
typedef int _MM_PERM_ENUM;
#define _MM_PERM_CCAA 0xa0
EMULATED __m512i _mm512_mask_shuffle_epi32(__m512i other, __mmask16 m, __m512i a, int order) {
    Lanes32 r = (Lanes32)other;
    LANES_OF(16) if (MASK_BIT(m, i)) r[i] = ((Lanes32)a)[(i & ~3) | (order >> 2 * (i & 3) & 3)];
    return (__m512i)r;
}
EMULATED __m512i _mm512_shuffle_epi8(__m512i a, __m512i order) {
    __m512i r;
    for (int h = 0; h < 2; h++)
        ((__m256i *)&r)[h] = _mm256_shuffle_epi8(HALF_OF(__m512i, __m256i, a, h), HALF_OF(__m512i, __m256i, order, h));
    return r;
}
EMULATED __m512i _mm512_castsi128_si512(__m128i a) { return (__m512i){a[0], a[1]}; }
EMULATED __m512i _mm512_inserti32x4(__m512i a, __m128i part, int quarter) {
    ((__m128i *)&a)[quarter] = part;
    return a;
}
EMULATED __m512i _mm512_broadcast_i32x4(__m128i a) { return (__m512i){a[0], a[1], a[0], a[1], a[0], a[1], a[0], a[1]}; }

#endif
