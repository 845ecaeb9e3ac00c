// Elementary functions on vectors, written once for float and double on every instruction set. Errors are held down
// by carrying the part that rounding loses (the `_low` of a pair); docs/accuracy.md has what was measured.
#ifndef FASTNN_VMATH_H
#define FASTNN_VMATH_H

#include "simd/simd.h"

#include "math/coefficients.h"

#if FASTNN_BITS == 32
// ln(2) in two parts; n * LN2_HIGH is exact for every exponent n.
#define LN2_HIGH 0.693145751953125f
#define LN2_LOW 1.42860677e-06f
#define EXP_LEAST (-105.0f)    // exp is 0 from here down
#define X_EXP_LEAST (-109.0f)  // x exp(x) too
#define EXP_LARGEST 89.0f      // exp is infinite from here up
#else
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LEAST (-746.0)
#define X_EXP_LEAST (-752.0)
#define EXP_LARGEST 710.0
#endif
#define LOG2_E ((real)1.44269504088896340736)
// From here up 1 - exp(-x) and its like round to 1.
#define SATURATED 40

// Horner's scheme, and one with even and odd terms apart: that has half the latency, and where the two nearly cancel,
// or the constant term does not dominate, a little more error.
#define POLYNOMIAL(x, coefficients) horner(x, coefficients, sizeof(coefficients) / sizeof(real))
#define SPLIT_POLYNOMIAL(x, coefficients) split_horner(x, coefficients, sizeof(coefficients) / sizeof(real))
FORCE_INLINE V scaled_horner(V x, const real *coefficients, size_t terms, real scale) {
    V y = vset(coefficients[terms - 1] * scale);
#pragma GCC unroll 32
    for (size_t i = terms - 1; i-- > 0;) y = vfma(y, x, vset(coefficients[i] * scale));
    return y;
}
FORCE_INLINE V horner(V x, const real *coefficients, size_t terms) { return scaled_horner(x, coefficients, terms, 1); }
FORCE_INLINE V split_horner(V x, const real *coefficients, size_t terms) {
    const V square = x * x;
    V sums[2];
    sums[terms % 2] = vset(coefficients[terms - 2]);
    sums[1 - terms % 2] = vset(coefficients[terms - 1]);
#pragma GCC unroll 32
    for (size_t i = terms - 2; i-- > 0;) sums[i % 2] = vfma(sums[i % 2], square, vset(coefficients[i]));
    return vfma(sums[1], x, sums[0]);
}

#define REAL_POWER_OF_2(n) ((real)__builtin_ldexp(1, n))
#define POWER_OF_2(n) vset(REAL_POWER_OF_2(n))

// exp(x) = 2^n (1 + s), with |s| < 1/2. n + shift + EXPONENT_BIAS stands in the low bits of m, for vpower_of_2. The
// shift keeps what is made of it normal: a formula reaches the subnormals with its last product, and one rounding.
typedef struct {
    V s, m;
} Exponential;
FORCE_INLINE Exponential reduced_exponential(V r, V m) {
    return (Exponential){vfma(r * r, SPLIT_POLYNOMIAL(r, exp_q), r), m};
}
FORCE_INLINE Exponential exponential(V x, int shift) {
    const V rounder = vset(ROUNDER + (real)(EXPONENT_BIAS + shift));
    const V m = vfma(x, vset(LOG2_E), rounder), n = m - rounder;
    return reduced_exponential(vfnma(n, vset(LN2_LOW), vfnma(n, vset(LN2_HIGH), x)), m);
}
// exp(-x)
FORCE_INLINE Exponential exponential_of_minus(V x, int shift) {
    const V rounder = vset(ROUNDER + (real)(EXPONENT_BIAS + shift));
    const V m = vfnma(x, vset(LOG2_E), rounder), n = m - rounder;
    return reduced_exponential(vfnma(n, vset(LN2_LOW), -vfma(n, vset(LN2_HIGH), x)), m);
}
// exp(x + x_low)
FORCE_INLINE Exponential exponential_of_sum(V x, V x_low, int shift) {
    const V rounder = vset(ROUNDER + (real)(EXPONENT_BIAS + shift));
    const V m = vfma(x, vset(LOG2_E), rounder), n = m - rounder;
    return reduced_exponential(vfnma(n, vset(LN2_HIGH), x) + vfnma(n, vset(LN2_LOW), x_low), m);
}
// exp(x factor), the product unrounded.
FORCE_INLINE Exponential exponential_of_product(V x, V factor, int shift) {
    const V rounder = vset(ROUNDER + (real)(EXPONENT_BIAS + shift));
    const V m = vfma(x, factor * vset(LOG2_E), rounder), n = m - rounder;
    return reduced_exponential(vfnma(n, vset(LN2_LOW), vfma(x, factor, -(n * vset(LN2_HIGH)))), m);
}
FORCE_INLINE V exp_value(Exponential e) {
    const V scale = vpower_of_2(e.m);
    return vfma(e.s, scale, scale);
}

// exp(x) for x <= EXP_LARGEST.
FORCE_INLINE V exp_full(V x) {
    const Exponential e = exponential(vmax(vset(EXP_LEAST), x), 0);
    return vscale(vone() + e.s, e.m - vset(ROUNDER + EXPONENT_BIAS));
}

// exp(x) - 1 for x <= 0.
FORCE_INLINE V expm1_negative(V x) {
    const Exponential e = exponential(vmax(vset(-SATURATED), x), 0);
    const V scale = vpower_of_2(e.m);
    return vfma(scale, e.s, scale - vone());
}

// log(1 + f) for 0 <= f <= 1: f - s (f - z R(z)), with s = f / (2 + f), z = s^2.
FORCE_INLINE V log1p_unit(V f) {
    const V s = f / (vset(2) + f), z = s * s;
    return vfnma(s, vfnma(z, SPLIT_POLYNOMIAL(z, log1p_r), f), f);
}

// log(x) of x = m 2^apart, m normal, given x - 1, which keeps the digits of an x near 1. x is taken as 2^n (1 + f),
// with sqrt(1/2) <= 1 + f < sqrt(2).
FORCE_INLINE V log_of_scaled(V m, V apart, V x_minus_1) {
    const V e = vexponent(m * vset((real)0.70710678118654752440)) + vone(), n = e + apart;
    const V scaled = vfma(m, vpower_of_2(vset(ROUNDER + EXPONENT_BIAS) - e), vset(-1));
    const V f = vselect(vle(vabs(n), vzero()), x_minus_1, scaled);
    return vfma(n, vset(LN2_HIGH), vfma(n, vset(LN2_LOW), log1p_unit(f)));
}
// log(x) for all x; they are scaled where an exponent would be out of range.
FORCE_INLINE V log_full(V x, V x_minus_1) {
    const M is_small = vlt(x, POWER_OF_2(-64)), is_large = vlt(POWER_OF_2(64), x);
    const V apart = vselect(is_small, vset(-64), vselect(is_large, vset(64), vzero()));
    const V m = x * vselect(is_small, POWER_OF_2(64), vselect(is_large, POWER_OF_2(-64), vone()));
    const V finite = vselect(vle(x, vset(REAL_MAX)), log_of_scaled(m, apart, x_minus_1), x);
    const V nan = vset((real)__builtin_nan("")), least = vset(-(real)__builtin_inf());
    return vselect(vlt(vzero(), x), finite, vselect(vle(vzero(), x), least, nan));
}
// max(log(x), -100) for x from 0 to 1. Numbers below 2^-147 count as that, and all are scaled to be normal.
FORCE_INLINE V log_of_probability(V x, V x_minus_1) {
    const V m = vmax(POWER_OF_2(-147), x) * POWER_OF_2(64);
    return vmax(vset(-100), log_of_scaled(m, vset(-64), x_minus_1));
}

// What rounding lost in sum = big + small, |big| >= |small| (Dekker).
FORCE_INLINE V sum_low(V big, V small, V sum) { return (big - sum) + small; }

// What rounding lost in product = a b.
FORCE_INLINE V product_low(V a, V b, V product) { return vfma(a, b, -product); }

#endif
