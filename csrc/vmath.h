// Elementary functions on vectors, written once for float and double on every instruction set. Errors are held down
// by carrying the part that rounding loses (the `_low` of a pair); docs/accuracy.md has what was measured.
#ifndef FASTNN_VMATH_H
#define FASTNN_VMATH_H

#include "simd/simd.h"

#include "coefficients.h"

#if FASTNN_BITS == 32
// ln(2) in two parts; n * LN2_HIGH is exact for every exponent n.
#define LN2_HIGH 0.693145751953125f
#define LN2_LOW 1.42860677e-06f
#define EXP_LEAST (-120.0f)  // x exp(x) is 0 from here down
#define EXP_LARGEST 89.0f    // exp(x) is infinite from here up
#else
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LEAST (-770.0)
#define EXP_LARGEST 710.0
#endif
#define LOG2_E ((real)1.44269504088896340736)

#define POLYNOMIAL(x, coefficients) polynomial(x, coefficients, sizeof(coefficients) / sizeof(real))
FORCE_INLINE V polynomial(V x, const real *coefficients, size_t terms) {
    V y = vset(coefficients[terms - 1]);
#pragma GCC unroll 32
    for (size_t i = terms - 1; i-- > 0;) y = vmadd(y, x, vset(coefficients[i]));
    return y;
}

// p 2^n. Keeping the two apart lets a formula scale its result once, and so reach the subnormals with one rounding.
typedef struct {
    V p, n;
} Power;

// x = n ln(2) + r with |r| <= ln(2) / 2; returns r. EXP_LEAST <= x.
FORCE_INLINE V exp_reduce(V x, V x_low, V *n) {
    const V rounder = vset(ROUNDER);
    *n = vmadd(x, vset(LOG2_E), rounder) - rounder;
    return vnmadd(*n, vset(LN2_HIGH), x) + vnmadd(*n, vset(LN2_LOW), x_low);
}

// exp(r) - 1 for a reduced r.
FORCE_INLINE V expm1_reduced(V r) { return vmadd(r * r, POLYNOMIAL(r, exp_q), r); }

// exp(x + x_low) for x <= EXP_LARGEST.
FORCE_INLINE Power exp_power(V x, V x_low) {
    Power e;
    const V r = exp_reduce(vmax(vset(EXP_LEAST), x), x_low, &e.n);
    e.p = expm1_reduced(r) + vone();
    return e;
}

// exp(x + x_low) for x <= 0, where a result under the normal numbers may as well be the least of them.
FORCE_INLINE V exp_normal(Power e) { return vscale_normal(e.p, e.n); }

// exp(x + x_low) - 1 for x <= 0.
FORCE_INLINE V expm1_negative(V x, V x_low) {
    V n;
    const V r = exp_reduce(vmax(vset(EXP_LEAST), x), x_low, &n);
    const V scale = vscale_normal(vone(), n);
    return vmadd(scale, expm1_reduced(r), scale - vone());
}

// log(1 + f) for 0 <= f <= 1: f - s (f - z R(z)), with s = f / (2 + f) and z = s^2.
FORCE_INLINE V log1p_unit(V f) {
    const V s = f / (vset(2) + f), z = s * s;
    return vnmadd(s, vnmadd(z, POLYNOMIAL(z, log1p_r), f), f);
}

// (a + a_low) / (b + b_low), within little more than half a unit in the last place; 1 <= b, and b is not huge.
FORCE_INLINE V divide(V a, V a_low, V b, V b_low) {
    const V r = vrecip(b), q = a * r;
    const V remainder = vfma(-q, b, a) + vnmadd(q, b_low, a_low);
    return vfma(remainder, r, q);
}

// What rounding lost in sum = big + small, |big| >= |small| (Dekker).
FORCE_INLINE V sum_low(V big, V small, V sum) { return (big - sum) + small; }

// What rounding lost in product = a b.
FORCE_INLINE V product_low(V a, V b, V product) { return vfma(a, b, -product); }

#endif
