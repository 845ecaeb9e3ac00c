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
FORCE_INLINE V vestimate(V x) { return vset(1) / x; }
FORCE_INLINE V vpower_of_2(V m) { return CAST_FROM_INT(SHIFT_LEFT(CAST_TO_INT(m), MANTISSA_BITS)); }
#define FASTNN_SCALE_BY_PRODUCT
