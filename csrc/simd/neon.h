// The vector primitives on AArch64 NEON. simd.h says what each one means.
#include <arm_neon.h>

#define REGISTERS 32

#if FASTNN_BITS == 32
typedef float32x4_t V;
typedef uint32x4_t M;
#define LANES 4
#define OP(name) name##q_f32
#define OP_N(name) name##q_n_f32
#define CAST_TO_INT vreinterpretq_u32_f32
#define CAST_FROM_INT vreinterpretq_f32_u32
#define SHIFT_LEFT vshlq_n_u32
#define SHIFT_RIGHT vshrq_n_u32
#define SELECT vbslq_f32
#define SIGN vdupq_n_u32(0x80000000u)
#else
typedef float64x2_t V;
typedef uint64x2_t M;
#define LANES 2
#define OP(name) name##q_f64
#define OP_N(name) name##q_n_f64
#define CAST_TO_INT vreinterpretq_u64_f64
#define CAST_FROM_INT vreinterpretq_f64_u64
#define SHIFT_LEFT vshlq_n_u64
#define SHIFT_RIGHT vshrq_n_u64
#define SELECT vbslq_f64
#define SIGN vdupq_n_u64(0x8000000000000000u)
#endif

FORCE_INLINE V vset(real x) { return OP_N(vdup)(x); }
FORCE_INLINE V vload(const real *p) { return OP(vld1)(p); }
FORCE_INLINE void vstore(real *p, V x) { OP(vst1)(p, x); }
FORCE_INLINE void vstream(real *p, V x) { OP(vst1)(p, x); }
#define FASTNN_PART_BY_COPY

FORCE_INLINE V vfnma(V a, V b, V c) { return OP(vfms)(c, a, b); }
FORCE_INLINE V vfma(V a, V b, V c) { return OP(vfma)(c, a, b); }
FORCE_INLINE V vsqrt(V x) { return OP(vsqrt)(x); }
FORCE_INLINE V vabs(V x) { return OP(vabs)(x); }
FORCE_INLINE V vnabs(V x) { return -OP(vabs)(x); }
FORCE_INLINE V vcopysign(V size, V sign) { return SELECT(SIGN, sign, size); }

FORCE_INLINE M vlt(V a, V b) { return OP(vclt)(a, b); }
FORCE_INLINE M vle(V a, V b) { return OP(vcle)(a, b); }
FORCE_INLINE V vselect(M m, V a, V b) { return SELECT(m, a, b); }
FORCE_INLINE V vmax(V a, V b) { return vselect(vlt(b, a), a, b); }
FORCE_INLINE V vmin(V a, V b) { return vselect(vlt(a, b), a, b); }
FORCE_INLINE unsigned vmask_bits(M m) {
    unsigned bits = 0;
    for (unsigned i = 0; i < LANES; i++) bits |= (unsigned)(m[i] & 1) << i;
    return bits;
}
FORCE_INLINE real vsum(V x) { return OP(vaddv)(x); }
#if FASTNN_BITS == 32
FORCE_INLINE M vmask_of_bits(unsigned bits) { return vtstq_u32(vdupq_n_u32(bits), (M){1, 2, 4, 8}); }
FORCE_INLINE V vload_draws(const uint16_t *p) { return vcvtq_f32_u32(vmovl_u16(vld1_u16(p))); }
FORCE_INLINE V vload_bytes(const uint8_t *p) { return vcvtq_f32_u32((M){p[0], p[1], p[2], p[3]}); }
#else
FORCE_INLINE M vmask_of_bits(unsigned bits) { return vtstq_u64(vdupq_n_u64(bits), (M){1, 2}); }
FORCE_INLINE V vload_draws(const uint16_t *p) { return vcvtq_f64_u64((M){p[0], p[1]}); }
FORCE_INLINE V vload_bytes(const uint8_t *p) { return vcvtq_f64_u64((M){p[0], p[1]}); }
#endif
FORCE_INLINE V vkeep(M m, V a) { return CAST_FROM_INT(CAST_TO_INT(a) & m); }
FORCE_INLINE V vestimate(V x) { return vset(1) / x; }
FORCE_INLINE V vpower_of_2(V m) { return CAST_FROM_INT(SHIFT_LEFT(CAST_TO_INT(m), MANTISSA_BITS)); }
FORCE_INLINE V vexponent_bits(V x) {
    return CAST_FROM_INT(SHIFT_RIGHT(CAST_TO_INT(x), MANTISSA_BITS) | CAST_TO_INT(vset(1ull << MANTISSA_BITS)));
}
#define FASTNN_SCALE_BY_PRODUCT

FORCE_INLINE V veven(V a, V b) { return OP(vuzp1)(a, b); }
FORCE_INLINE V vodd(V a, V b) { return OP(vuzp2)(a, b); }
FORCE_INLINE V vzip_low(V a, V b) { return OP(vzip1)(a, b); }
FORCE_INLINE V vzip_high(V a, V b) { return OP(vzip2)(a, b); }

#if FASTNN_BITS == 32
#define PIXEL_BYTES(n) 16
typedef uint8x16_t PixelOrder;
FORCE_INLINE PixelOrder pixel_order(size_t n) {
    const uint8_t a = (uint8_t)n, b = (uint8_t)(2 * n), c = (uint8_t)(3 * n), none = 255;
    return (PixelOrder){0, none, none, none, a, none, none, none, b, none, none, none, c, none, none, none};
}
FORCE_INLINE V vload_pixels(const uint8_t *p, size_t n, PixelOrder order) {
    (void)n;
    return vcvtq_f32_u32(vreinterpretq_u32_u8(vqtbl1q_u8(vld1q_u8(p), order)));
}
#else
#define FASTNN_PIXELS_ONE_BY_ONE
#endif

typedef uint64x2_t U;
#define ULANES 2
FORCE_INLINE U uset(uint64_t x) { return vdupq_n_u64(x); }
FORCE_INLINE U uorder(void) { return (U){0, 1}; }
FORCE_INLINE U uload(const uint64_t *p) { return vld1q_u64(p); }
FORCE_INLINE U umul(U a, U b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); }
FORCE_INLINE U uhigh(U a) { return vshrq_n_u64(a, 32); }
FORCE_INLINE U ujoin(U a, U b) { return vsliq_n_u64(a, b, 32); }
FORCE_INLINE void ustore_draws(void *p, U low, U high) {
    const uint64x2x2_t both = {{low, high}};
    vst2q_u64(p, both);
}
FORCE_INLINE uint8_t draws_below(U block, uint16x8_t limits) {
    const uint16x8_t each = {1, 2, 4, 8, 16, 32, 64, 128};
    return (uint8_t)vaddvq_u16(vcleq_u16(vreinterpretq_u16_u64(block), limits) & each);
}
FORCE_INLINE void ustore_below(uint8_t *p, U low, U high, uint16_t limit) {
    const uint16x8_t limits = vdupq_n_u16(limit);
    p[0] = draws_below(vzip1q_u64(low, high), limits);
    p[1] = draws_below(vzip2q_u64(low, high), limits);
}
