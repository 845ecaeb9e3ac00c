// Each activation and its gradient: a formula in x, or in what the table says that backward needs. Nothing here knows
// about memory, threads, dtypes or instruction sets. p holds the parameters in the table's order.
//
// Conventions: gradients at kinks are torch's; comparisons are written so that NaN passes through.
#ifndef FASTNN_ACTIVATIONS_H
#define FASTNN_ACTIVATIONS_H

#include "vmath.h"

// From here up 1 - exp(-x) and its like round to 1, in double too.
#define SATURATED vset(40)

// ---- piecewise linear and rational ----------------------------------------------------------------------------

FORCE_INLINE V identity(V x, const V *p) { return (void)p, x; }
FORCE_INLINE V identity_backward(V dy, V x, const V *p) { return (void)x, (void)p, dy; }

FORCE_INLINE V relu(V x, const V *p) { return (void)p, vselect(vle(x, vzero()), vzero(), x); }
FORCE_INLINE V relu_backward(V dy, V y, const V *p) { return (void)p, vselect(vle(y, vzero()), vzero(), dy); }

FORCE_INLINE V leaky_relu(V x, const V *p) { return vselect(vlt(vzero(), x), x, x * p[0]); }
FORCE_INLINE V leaky_relu_backward(V dy, V x, const V *p) { return vselect(vlt(vzero(), x), dy, dy * p[0]); }

FORCE_INLINE void slope(V *out, const V *in, const V *p) { out[0] = leaky_relu(in[0], in + 1), (void)p; }
FORCE_INLINE void slope_backward(V *out, const V *in, const V *p) {
    out[0] = leaky_relu_backward(in[0], in[1], in + 2), (void)p;
}
FORCE_INLINE void slope_gradient(V *out, const V *in, const V *p) {
    out[0] = vselect(vlt(vzero(), in[1]), vzero(), in[0] * in[1]), (void)p;
}

FORCE_INLINE V hardtanh(V x, const V *p) { return vmin(p[1], vmax(p[0], x)); }
FORCE_INLINE V hardtanh_backward(V dy, V y, const V *p) {
    return vselect(vle(y, p[0]), vzero(), vselect(vle(p[1], y), vzero(), dy));
}

FORCE_INLINE V relu6(V x, const V *p) { return (void)p, hardtanh(x, (const V[]){vzero(), vset(6)}); }
FORCE_INLINE V relu6_backward(V dy, V y, const V *p) {
    return (void)p, hardtanh_backward(dy, y, (const V[]){vzero(), vset(6)});
}

// min(max(x + 3, 0), 6) / 6, the division as a product with 1/6 in two parts.
FORCE_INLINE V hardsigmoid(V x, const V *p) {
    const real sixth = (real)(1.0 / 6), sixth_low = (real)(1.0L / 6 - (real)(1.0 / 6));
    const V t = vmin(vset(6), vmax(vzero(), x + vset(3)));
    return (void)p, vmadd(t, vset(sixth), t * vset(sixth_low));
}
FORCE_INLINE V hardsigmoid_backward(V dy, V x, const V *p) {
    return (void)p, vselect(vlt(vabs(x), vset(3)), dy / vset(6), vselect(vle(x, x), vzero(), dy));
}

FORCE_INLINE V hardswish(V x, const V *p) { return vmax(vset(-3), x) * hardsigmoid(x, p); }
FORCE_INLINE V hardswish_backward(V dy, V x, const V *p) {
    const V inside = dy * (x / vset(3) + vset((real)0.5));
    return (void)p, vselect(vle(x, vset(-3)), vzero(), vselect(vle(vset(3), x), dy, inside));
}

FORCE_INLINE V threshold(V x, const V *p) { return vselect(vle(x, p[0]), p[1], x); }
FORCE_INLINE V threshold_backward(V dy, V x, const V *p) { return vselect(vle(x, p[0]), vzero(), dy); }

FORCE_INLINE V hardshrink(V x, const V *p) { return vselect(vle(vabs(x), p[0]), vzero(), x); }
FORCE_INLINE V hardshrink_backward(V dy, V x, const V *p) { return vselect(vle(vabs(x), p[0]), vzero(), dy); }

FORCE_INLINE V softshrink(V x, const V *p) { return vselect(vle(vabs(x), p[0]), vzero(), x - vcopysign(p[0], x)); }
FORCE_INLINE V softshrink_backward(V dy, V x, const V *p) { return hardshrink_backward(dy, x, p); }

// The clamp makes infinity / infinity the limit, 1.
FORCE_INLINE V softsign(V x, const V *p) {
    const V t = vmin(vset(REAL_MAX), vmax(vset(-REAL_MAX), x));
    return (void)p, t / (vone() + vabs(t));
}
FORCE_INLINE V softsign_backward(V dy, V x, const V *p) {
    const V t = vone() + vabs(x);
    return (void)p, dy / t / t;
}

FORCE_INLINE V square(V x, const V *p) { return (void)p, x * x; }
FORCE_INLINE V square_backward(V dy, V x, const V *p) { return (void)p, dy * (x + x); }

// (x + sqrt(x^2 + b)) / 2; for x < 0 as (b / 2) / (sqrt(x^2 + b) + |x|), where nothing cancels.
// Where x^2 would overflow, the root is |x|.
FORCE_INLINE V squareplus(V x, const V *p) {
    const V a = vabs(x), half = vset((real)0.5);
    const V root = vselect(vlt(vset(ROUNDER * 1024), a), vmax(a, vsqrt(p[0])), vsqrt(vmadd(x, x, p[0])));
    const V sum = root + a;
    return vselect(vlt(x, vzero()), half * p[0] / sum, half * sum);
}
// y^2 / (y^2 + b / 4), y held where its square is finite (and y / y is 1 for b = 0).
FORCE_INLINE V squareplus_backward(V dy, V y, const V *p) {
    const V t = vmin(vset(ROUNDER * 1024), y), square = t * t;
    return dy * (square / vmax(vset(REAL_MIN), vmadd(vset((real)0.25), p[0], square)));
}

// ---- one exponential --------------------------------------------------------------------------------------------

FORCE_INLINE V exp(V x, const V *p) {
    const Power e = exp_power(vmin(vset(EXP_LARGEST), x), vzero());
    return (void)p, vscale(e.p, e.n);
}
FORCE_INLINE V exp_backward(V dy, V y, const V *p) { return (void)p, dy * y; }

FORCE_INLINE V elu(V x, const V *p) { return vselect(vle(vzero(), x), x, p[0] * expm1_negative(x, vzero())); }
FORCE_INLINE V elu_backward(V dy, V y, const V *p) { return vselect(vlt(vzero(), y), dy, dy * (y + p[0])); }

#define SELU_SCALE ((real)1.0507009873554804934193349852946)
#define SELU_SCALE_LOW ((real)(1.0507009873554804934193349852946L - SELU_SCALE))
#define SELU_SCALE_ALPHA ((real)1.7580993408473768599402175208123)
FORCE_INLINE V selu(V x, const V *p) {
    const V negative = vset(SELU_SCALE_ALPHA) * expm1_negative(x, vzero());
    return (void)p, vselect(vle(vzero(), x), vset(SELU_SCALE) * x, negative);
}
FORCE_INLINE V selu_backward(V dy, V y, const V *p) {
    const V slope = vselect(vlt(vzero(), y), vset(SELU_SCALE), y + vset(SELU_SCALE_ALPHA));
    return (void)p, dy * slope;
}

// x / alpha in two parts, from 1 / alpha in two parts (which the compiler takes out of the loop).
FORCE_INLINE V celu(V x, const V *p) {
    const V inverse = vone() / p[0], inverse_low = vfma(-inverse, p[0], vone()) * inverse;
    const V t = vmax(vset(EXP_LEAST) * p[0], x);
    const V z = t * inverse, z_low = vmadd(t, inverse_low, product_low(t, inverse, z));
    return vselect(vle(vzero(), x), x, p[0] * expm1_negative(z, z_low));
}
FORCE_INLINE V celu_backward(V dy, V y, const V *p) {
    return vselect(vlt(vzero(), y), dy, dy * ((y + p[0]) * (vone() / p[0])));
}

// sigmoid(z + z_low): 1 / (1 + e) for z >= 0, e / (1 + e) for z < 0, with e = exp(-|z|).
FORCE_INLINE V sigmoid_pair(V z, V z_low) {
    const Power e = exp_power(vnabs(z), z_low);
    const V small = vscale(e.p, e.n), sum = vone() + small;
    return divide(vselect(vlt(z, vzero()), small, vone()), vzero(), sum, sum_low(vone(), small, sum));
}
FORCE_INLINE V sigmoid(V x, const V *p) { return (void)p, sigmoid_pair(x, vzero()); }
FORCE_INLINE V sigmoid_backward(V dy, V y, const V *p) { return (void)p, dy * (y * (vone() - y)); }

// x sigmoid(z + z_low), where z has the sign of x. The product with exp(z) is scaled last, so that it keeps its
// digits where exp(z) alone is subnormal.
FORCE_INLINE V gated(V x, V z, V z_low) {
    const M negative = vlt(x, vzero());
    const Power e = exp_power(vnabs(z), z_low);
    const V small = exp_normal(e), sum = vone() + small;
    const V t = vmax(vset(EXP_LEAST), x), factor = vselect(negative, e.p, vone()), a = t * factor;
    const V q = divide(a, product_low(t, factor, a), sum, sum_low(vone(), small, sum));
    return vselect(vlt(SATURATED, x), x, vscale(q, vselect(negative, e.n, vzero())));
}
// Its derivative, with x z' given: s (1 + x z' (1 - s)) with s = sigmoid(z).
FORCE_INLINE V gated_gradient(V x, V x_dz, V z, V z_low) {
    const M negative = vlt(x, vzero());
    const Power e = exp_power(vnabs(z), z_low);
    const V small = exp_normal(e), sum = vone() + small, r = vrecip(sum);
    const V a = vmadd(x_dz, vselect(negative, vone(), small), sum) * vselect(negative, e.p, vone());
    return vscale(a * r * r, vselect(negative, e.n, vzero()));
}

FORCE_INLINE V silu(V x, const V *p) { return (void)p, gated(x, x, vzero()); }
FORCE_INLINE V silu_backward(V dy, V x, const V *p) {
    const V t = vmin(-vset(EXP_LEAST), vmax(vset(EXP_LEAST), x));
    return (void)p, dy * gated_gradient(t, t, t, vzero());
}

// GELU by tanh is x sigmoid(z), z = 2 sqrt(2 / pi) (x + 0.044715 x^3). exp(z) turns the absolute error of z into a
// relative one, so z = x (C1 + C3 x^2) is summed in two parts.
#define GELU_C1 1.595769121605730711759L
#define GELU_C3 0.07135481627260025727L
#if FASTNN_BITS == 32
#define GELU_TANH_LAST 12
#else
#define GELU_TANH_LAST 22
#endif
FORCE_INLINE V gelu_tanh_argument(V x, V *z_low) {
    const real c1 = (real)GELU_C1, c1_low = (real)(GELU_C1 - (real)GELU_C1);
    const real c3 = (real)GELU_C3, c3_low = (real)(GELU_C3 - (real)GELU_C3);
    const V square = x * x, square_low = product_low(x, x, square);
    const V b = vset(c3) * square;
    const V b_low = vmadd(vset(c3), square_low, vmadd(vset(c3_low), square, product_low(vset(c3), square, b)));
    const V sum = vset(c1) + b, b_seen = sum - vset(c1);
    const V low = (vset(c1) - (sum - b_seen)) + (b - b_seen) + (b_low + vset(c1_low));
    const V z = x * sum;
    *z_low = vmadd(x, low, product_low(x, sum, z));
    return z;
}
// gated() and its like take exp(-|z|): the sign of the low part follows.
FORCE_INLINE V toward_negative(V z, V z_low) { return vselect(vlt(z, vzero()), z_low, -z_low); }
FORCE_INLINE V gelu_tanh(V x, const V *p) {
    V low;
    const V t = vmin(vset(GELU_TANH_LAST), vmax(vset(-GELU_TANH_LAST), x)), z = gelu_tanh_argument(t, &low);
    return (void)p, vselect(vlt(t, x), x, gated(t, z, toward_negative(z, low)));
}
FORCE_INLINE V gelu_tanh_backward(V dy, V x, const V *p) {
    V low;
    const V t = vmin(vset(GELU_TANH_LAST), vmax(vset(-GELU_TANH_LAST), x)), z = gelu_tanh_argument(t, &low);
    const V dz = vmadd(vset((real)(3 * GELU_C3)), t * t, vset((real)GELU_C1));
    return (void)p, dy * gated_gradient(t, t * dz, z, toward_negative(z, low));
}

// 2 exp(-2a) / (1 + exp(-2a)) = 1 - tanh(a) for a >= 0.
FORCE_INLINE V tanh_complement(V a) {
    const V e = exp_normal(exp_power(vset(-2) * a, vzero()));
    return (e + e) / (vone() + e);
}
FORCE_INLINE V tanh(V x, const V *p) {
    const V a = vabs(x), z = x * x;
    const V small = vnmadd(a, z * POLYNOMIAL(z, tanh_small_t), a);
    return (void)p, vcopysign(vselect(vlt(a, vset((real)0.55)), small, vone() - tanh_complement(a)), x);
}
FORCE_INLINE V tanh_backward(V dy, V y, const V *p) { return (void)p, dy * ((vone() - y) * (vone() + y)); }

// x - tanh(x), which cancels for small x: x^3 T(x^2) there.
FORCE_INLINE V tanhshrink(V x, const V *p) {
    const V a = vabs(x), z = x * x;
    const V small = a * (z * POLYNOMIAL(z, tanh_t));
    return (void)p, vcopysign(vselect(vlt(a, vset((real)1.05)), small, (a - vone()) + tanh_complement(a)), x);
}
FORCE_INLINE V tanhshrink_backward(V dy, V x, const V *p) {
    const V t = tanh(x, p);
    return dy * (t * t);
}

// ---- exponential and logarithm, or more ---------------------------------------------------------------------------

// x + log(1 + exp(-x)), so that neither end overflows; beta x in two parts.
FORCE_INLINE V softplus_argument(V x, V beta, V *z_low) {
    const V limit = vset(EXP_LEAST) / beta, t = vmin(-limit, vmax(limit, x)), z = beta * t;
    *z_low = toward_negative(z, product_low(beta, t, z));
    return z;
}
FORCE_INLINE V softplus(V x, const V *p) {
    const V inverse = vone() / p[0], inverse_low = vfma(-inverse, p[0], vone()) * inverse;
    V low;
    const V z = softplus_argument(x, p[0], &low);
    const Power e = exp_power(vnabs(z), low);
    const V l = log1p_unit(vscale(e.p, e.n));
    const V y = vmax(vzero(), x) + vmadd(l, inverse, l * inverse_low);
    return vselect(vlt(p[1], p[0] * x), x, y);
}
FORCE_INLINE V softplus_backward(V dy, V x, const V *p) {
    V low;
    const V z = softplus_argument(x, p[0], &low);
    return dy * vselect(vlt(p[1], p[0] * x), vone(), sigmoid_pair(z, low));
}

FORCE_INLINE V logsigmoid(V x, const V *p) {
    const Power e = exp_power(vnabs(x), vzero());
    return (void)p, vmin(vzero(), x) - log1p_unit(vscale(e.p, e.n));
}
FORCE_INLINE V logsigmoid_backward(V dy, V y, const V *p) { return (void)p, dy * -expm1_negative(y, vzero()); }

// x tanh(log(1 + exp(x))) = x n / d, with e = exp(-|x|):
//     x >= 0: n = 1 + 2 e, d = n + 2 e^2;    x < 0: n = e (e + 2), d = n + 2.
FORCE_INLINE V mish(V x, const V *p) {
    const M negative = vlt(x, vzero());
    const Power power = exp_power(vnabs(x), vzero());
    const V e = exp_normal(power), two = vset(2);
    const V n_start = vselect(negative, two, vone()), n_step = vselect(negative, e, e + e);
    const V n = n_start + n_step, n_low = sum_low(n_start, n_step, n);
    const V d_start = vselect(negative, two, n), d_step = e * vselect(negative, n, e + e);
    const V d = d_start + d_step, d_low = sum_low(d_start, d_step, d) + vselect(negative, vzero(), n_low);
    const V t = vmax(vset(EXP_LEAST), x) * vselect(negative, power.p, vone());
    const V a = t * n, a_low = vmadd(t, n_low, product_low(t, n, a));
    const V q = divide(a, a_low, d, d_low);
    return (void)p, vselect(vlt(SATURATED, x), x, vscale(q, vselect(negative, power.n, vzero())));
}
// With n' = n / e for x < 0, and n' = n for x >= 0:
//     x >= 0: (n' d + 4 x e^2 (1 + e)) / d^2;    x < 0: e (n' d + 4 x (1 + e)) / d^2.
FORCE_INLINE V mish_backward(V dy, V x, const V *p) {
    const M negative = vlt(x, vzero());
    const V t = vmin(-vset(EXP_LEAST), vmax(vset(EXP_LEAST), x));
    const Power power = exp_power(vnabs(t), vzero());
    const V e = exp_normal(power), two = vset(2), square = e * e;
    const V n = vselect(negative, e + two, vmadd(two, e, vone()));
    const V d = vselect(negative, vmadd(e, n, two), vmadd(two, square, n));
    const V term = vset(4) * t * (vone() + e) * vselect(negative, vone(), square);
    const V r = vrecip(d), gradient = vmadd(n, d, term) * vselect(negative, power.p, vone()) * r * r;
    return (void)p, dy * vscale(gradient, vselect(negative, power.n, vzero()));
}

// x Phi(x). Near 0 a polynomial; else max(x, 0) - |x| Q(|x|), with the Gaussian tail Q(a) = exp(-a^2 / 2) R, and
// polynomials in u = (a - k) / (a + k) for R and a R.
#if FASTNN_BITS == 32
#define GELU_K 3
#define GELU_LAST 15  // here the tail has gone to 0
#else
#define GELU_K 4
#define GELU_LAST 39
#endif
#define GELU_CENTRE vset(1)
FORCE_INLINE Power gaussian_power(V a) {
    const V half = vset((real)-0.5), square = a * a;
    return exp_power(half * square, half * product_low(a, a, square));
}
FORCE_INLINE V gelu_tail_argument(V a) {
    return vnmadd(vset(2 * GELU_K), vrecip(a + vset(GELU_K)), vone());
}
FORCE_INLINE V gelu(V x, const V *p) {
    const V a = vmin(vset(GELU_LAST), vabs(x));
    const V centre = x * vmadd(x, POLYNOMIAL(x * x, gelu_p), vset((real)0.5));
    const Power e = gaussian_power(a);
    const V tail = vscale(e.p * POLYNOMIAL(gelu_tail_argument(a), gelu_w), e.n);
    return (void)p, vselect(vlt(a, GELU_CENTRE), centre, vmax(vzero(), x) - tail);
}
FORCE_INLINE V gelu_backward(V dy, V x, const V *p) {
    const real density = (real)0.398942280401432677939946L;  // 1 / sqrt(2 pi)
    const V a = vmin(vset(GELU_LAST), vabs(x));
    const V centre = vmadd(x, POLYNOMIAL(x * x, gelu_d), vset((real)0.5));
    const Power e = gaussian_power(a);
    const V tail = vscale(e.p * vnmadd(a, vset(density), POLYNOMIAL(gelu_tail_argument(a), gelu_r)), e.n);
    const V outer = vselect(vlt(x, vzero()), tail, vone() - tail);
    return (void)p, dy * vselect(vlt(a, GELU_CENTRE), centre, outer);
}

// ---- gated pairs and maxout -----------------------------------------------------------------------------------------

FORCE_INLINE void glu(V *out, const V *in, const V *p) { out[0] = in[0] * sigmoid(in[1], p); }
FORCE_INLINE void glu_backward(V *out, const V *in, const V *p) {
    const V s = sigmoid(in[2], p), s_rest = sigmoid(-in[2], p);
    out[0] = in[0] * s;
    out[1] = in[0] * in[1] * (s * s_rest);
}
FORCE_INLINE void swiglu(V *out, const V *in, const V *p) { out[0] = silu(in[0], p) * in[1]; }
FORCE_INLINE void swiglu_backward(V *out, const V *in, const V *p) {
    const V dy = in[0], a = in[1], b = in[2];
    out[0] = silu_backward(dy * b, a, p);
    out[1] = dy * silu(a, p);
}

// The first of equals wins, and NaN wins over all.
FORCE_INLINE void maxout_step(V *out, const V *in, const V *p) {
    const V best = in[0], winner = in[1], x = in[2];
    const M is_number = vle(best, best), keep = vle(x, best);
    out[0] = vselect(is_number, vselect(keep, best, x), best);
    out[1] = vselect(is_number, vselect(keep, winner, p[0]), winner);
}
FORCE_INLINE void maxout_backward(V *out, const V *in, const V *p) {
    out[0] = vselect(vle(in[1], p[0]), vselect(vle(p[0], in[1]), in[0], vzero()), vzero());
}

#endif
