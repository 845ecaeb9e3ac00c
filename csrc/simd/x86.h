// The primitives whose intrinsics differ only in their prefix between SSE2, AVX2 and AVX-512. Each of those headers
// defines V and OP, which makes an intrinsic's name, and includes this one.
ALWAYS_INLINE V vset(real x) { return OP(set1)(x); }
ALWAYS_INLINE V vload(const real *p) { return OP(loadu)(p); }
ALWAYS_INLINE void vstore(real *p, V x) { OP(storeu)(p, x); }
ALWAYS_INLINE void vstream(real *p, V x) { OP(stream)(p, x); }

ALWAYS_INLINE V vmax(V a, V b) { return OP(max)(a, b); }
ALWAYS_INLINE V vmin(V a, V b) { return OP(min)(a, b); }
ALWAYS_INLINE V vsqrt(V x) { return OP(sqrt)(x); }
ALWAYS_INLINE V vabs(V x) { return OP(andnot)(vset((real)-0.0), x); }
ALWAYS_INLINE V vnabs(V x) { return OP(or)(vset((real)-0.0), x); }
ALWAYS_INLINE V vcopysign(V size, V sign) {
    const V bit = vset((real)-0.0);
    return OP(or)(OP(and)(bit, sign), OP(andnot)(bit, size));
}

#ifdef __SSSE3__
ALWAYS_INLINE __m128i load_16_bytes(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
// The shuffle that makes 32-bit numbers of bytes 0, n, 2 n and 3 n.
ALWAYS_INLINE __m128i order_of_4_bytes(size_t n) {
    const int step = (int)n, rest = -256;  // the three higher bytes of a number become 0
    return _mm_setr_epi32(rest, rest | step, rest | 2 * step, rest | 3 * step);
}
#endif

ALWAYS_INLINE float sum_of_4(__m128 x) {
    const __m128 pair = x + _mm_movehl_ps(x, x);
    return _mm_cvtss_f32(pair) + _mm_cvtss_f32(_mm_shuffle_ps(pair, pair, 1));
}
ALWAYS_INLINE double sum_of_2(__m128d x) { return _mm_cvtsd_f64(x) + _mm_cvtsd_f64(_mm_unpackhi_pd(x, x)); }
