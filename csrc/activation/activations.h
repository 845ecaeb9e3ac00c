// Each activation and its gradient as a formula on vectors: of x, and in backward of dy and the input or the output, as
// activations.def says. Nothing here knows about memory, threads, dtypes or instruction sets. p holds the parameters in
// the table's order.
//
// Conventions: gradients at kinks are torch's; comparisons are written so that NaN passes through. In backward NaN in x
// (or in y, which is NaN then) gives NaN, whatever dy is, with the one exception of identity. Some have this from a
// vmax or vmin, which is 0 in a branch, but for NaN.
#ifndef FASTNN_ACTIVATIONS_H
#define FASTNN_ACTIVATIONS_H

#include "math/exact_sum.h"
#include "math/piecewise.h"
#include "math/vmath.h"

#define THIRD ((real)(1.0 / 3))
#define THIRD_LOW REST_OF(1.0 / 3, 1.850371707708594e-17)

// Squares of numbers below this are finite, and those above 1 / this lose no digits to underflow.
#define SQUARE_LIMIT (ROUNDER * 1024)

// The gradient dx, but NaN where x is.
FORCE_INLINE V nan_of(V x, V dx) { return vselect(vle(x, x), dx, x); }

// exp(x) for EXP_LEAST <= x <= 0, subnormals included.
enum { NEGATIVE_SHIFT = 60 };
FORCE_INLINE V exp_negative(Exponential e) { return exp_value(e) * POWER_OF_2(-NEGATIVE_SHIFT); }

// Beyond the tables of piecewise.h most functions are a simple factor times an exponential of NEGATIVE_SHIFT, of x from
// X_EXP_LEAST to 0, which far_x() keeps x from leaving.
FORCE_INLINE V far_x(V x) { return vmax(vset(X_EXP_LEAST), x); }
FORCE_INLINE V times(V factor, Exponential e) {
    return vfma(factor, e.s, factor) * vpower_of_2(e.m) * POWER_OF_2(-NEGATIVE_SHIFT);
}
FORCE_INLINE V times_exp(V factor, V x) { return times(factor, exponential(x, NEGATIVE_SHIFT)); }
// e (1 - part), for a tiny part.
FORCE_INLINE Exponential lessened(Exponential e, V part) { return (Exponential){e.s - vfma(part, e.s, part), e.m}; }

#ifdef TABLE_ENTRIES
// S(x), and x S(x), where S(x) = 1 - S(-x) and the table has S(-a) for a >= 0.
FORCE_INLINE V reflected(V x, V s) { return vselect(vlt(vzero(), x), vone() - s, s); }
FORCE_INLINE V step_by_table(const Pieces *f, V x) { return reflected(x, piecewise(f, at_most_last(f, vabs(x)))); }
FORCE_INLINE V gated_by_table(const Pieces *f, V x) {
    const V a = at_most_last(f, vabs(x));
    return vfnma(a, piecewise(f, a), vmax(vzero(), x));
}
#endif

// ---- piecewise linear and rational ----------------------------------------------------------------------------

FORCE_INLINE V identity(V x, const V *p) { return (void)p, x; }
FORCE_INLINE V identity_backward(V dy, V x, const V *p) { return (void)x, (void)p, dy; }

FORCE_INLINE V relu(V x, const V *p) { return (void)p, vselect(vle(x, vzero()), vzero(), x); }
FORCE_INLINE V relu_backward(V dy, V y, const V *p) { return (void)p, vselect(vlt(vzero(), y), dy, vmax(vzero(), y)); }

FORCE_INLINE V leaky_relu(V x, const V *p) { return vselect(vlt(vzero(), x), x, x * p[0]); }
FORCE_INLINE V leaky_relu_backward(V dy, V x, const V *p) {
    return vselect(vlt(vzero(), x), dy, vmadd(dy, p[0], vmax(vzero(), x)));
}

FORCE_INLINE void slope(V *out, const V *in, const V *p) { out[0] = leaky_relu(in[0], in + 1), (void)p; }
FORCE_INLINE void slope_backward(V *out, const V *in, const V *p) {
    out[0] = leaky_relu_backward(in[0], in[1], in + 2), (void)p;
}
FORCE_INLINE void slope_gradient(V *out, const V *in, const V *p) {
    out[0] = vselect(vlt(vzero(), in[1]), vzero(), in[0] * in[1]), (void)p;
}

FORCE_INLINE V hardtanh(V x, const V *p) { return vmin(p[1], vmax(p[0], x)); }
FORCE_INLINE V hardtanh_backward(V dy, V x, const V *p) {
    return nan_of(x, vselect(vle(x, p[0]), vzero(), vselect(vle(p[1], x), vzero(), dy)));
}

FORCE_INLINE V relu6(V x, const V *p) { return (void)p, hardtanh(x, (const V[]){vzero(), vset(6)}); }
FORCE_INLINE V relu6_backward(V dy, V y, const V *p) {
    return relu_backward(vselect(vle(vset(6), y), vzero(), dy), y, p);
}

// min(max(x + 3, 0), 6) / 6, the division as a product with 1/6 in two parts.
FORCE_INLINE V hardsigmoid(V x, const V *p) {
    const real sixth = (real)(1.0 / 6), sixth_low = REST_OF(1.0 / 6, 9.25185853854297e-18);
    const V t = vmin(vset(6), vmax(vzero(), x + vset(3)));
    return (void)p, vfma(t, vset(sixth), t * vset(sixth_low));
}
// 1/6 in one part, for dy may be infinite.
FORCE_INLINE V hardsigmoid_backward(V dy, V x, const V *p) {
    return (void)p, vselect(vlt(vabs(x), vset(3)), dy * vset((real)(1.0 / 6)), vselect(vle(x, x), vzero(), x));
}

FORCE_INLINE V hardswish(V x, const V *p) { return vmax(vset(-3), x) * hardsigmoid(x, p); }
// dy (x + 1.5) / 3 between -3 and 3.
FORCE_INLINE V hardswish_backward(V dy, V x, const V *p) {
    const V t = x + vset((real)1.5), inside = dy * vfma(t, vset(THIRD), t * vset(THIRD_LOW));
    return (void)p, vselect(vle(x, vset(-3)), vzero(), vselect(vle(vset(3), x), dy, inside));
}

FORCE_INLINE V threshold(V x, const V *p) { return vselect(vle(x, p[0]), p[1], x); }
FORCE_INLINE V threshold_backward(V dy, V x, const V *p) { return nan_of(x, vselect(vle(x, p[0]), vzero(), dy)); }

FORCE_INLINE V hardshrink(V x, const V *p) { return vselect(vle(vabs(x), p[0]), vzero(), x); }
FORCE_INLINE V hardshrink_backward(V dy, V x, const V *p) {
    return vselect(vlt(p[0], vabs(x)), dy, vmin(vzero(), vabs(x)));
}

FORCE_INLINE V softshrink(V x, const V *p) { return vselect(vle(vabs(x), p[0]), vzero(), x - vcopysign(p[0], x)); }
FORCE_INLINE V softshrink_backward(V dy, V x, const V *p) { return hardshrink_backward(dy, x, p); }

// The clamp makes infinity / infinity the limit, 1.
FORCE_INLINE V softsign(V x, const V *p) {
    const V t = vmin(vset(REAL_MAX), vmax(vset(-REAL_MAX), x));
    return (void)p, t / (vone() + vabs(t));
}
// dy r^2, r = 1 / (1 + |x|), with one division: what it lost is made up for in one of the factors.
FORCE_INLINE V softsign_backward(V dy, V x, const V *p) {
    const V t = vmin(vset(REAL_MAX), vone() + vabs(x)), r = vone() / t;
    return (void)p, dy * r * vfma(r + r, vfnma(t, r, vone()), r);
}

FORCE_INLINE V square(V x, const V *p) { return (void)p, x * x; }
FORCE_INLINE V square_backward(V dy, V x, const V *p) {
    const V half = dy * x;
    return (void)p, half + half;
}

// sqrt(a^2 + b), and a^2 + b; where that leaves the range of squares, the larger of a and sqrt(b), and its square is 0.
FORCE_INLINE V squareplus_root(V a, V b, V *square) {
    const V limit = vset(SQUARE_LIMIT), t = vmin(limit, a);
    const V sum = vselect(vlt(a, limit), vfma(t, t, b), vzero());
    const M in_range = vlt(vset(1 / SQUARE_LIMIT), sum);
    *square = vselect(in_range, sum, vzero());
    return vselect(in_range, vsqrt(sum), vmax(a, vsqrt(b)));
}

// h = (sqrt(x^2 + b) + |x|) / 2 for x >= 0, and (b / 4) / h, where nothing cancels, for x < 0. What the root's rounding
// lost is (x^2 + b - root^2) / (2 root).
FORCE_INLINE V squareplus(V x, const V *p) {
    V square;
    const V a = vmin(vset(REAL_MAX), vabs(x)), half = vset((real)0.5), least = vset(REAL_MIN);
    const V root = squareplus_root(a, p[0], &square);
    const V rest = vselect(vlt(vzero(), square), vfma(-root, root, square), vzero());
    const V h_root = half * root, h_x = half * a, h = h_root + h_x, r = vestimate(vmax(least, root));
    const V h_low = sum_low(h_root, h_x, h) + vset((real)0.25) * rest * r, q = vset((real)0.25) * p[0] / vmax(-x, h);
    return vselect(vlt(x, vzero()), vfnma(q * h_low, vestimate(vmax(least, h)), q), vmax(h + h_low, x));
}
// (1 + x / root) / 2, and (b / 4) / h / root where that would cancel; 0 for x = b = 0. What the root's rounding lost,
// as above, is made up for in the product of h and the root.
FORCE_INLINE V squareplus_backward(V dy, V x, const V *p) {
    V square;
    const V a = vmin(vset(REAL_MAX), vabs(x)), half = vset((real)0.5), least = vset(REAL_MIN);
    const V root = squareplus_root(a, p[0], &square), h_root = half * root, h = vmax(least, h_root + half * a);
    const M tail = vlt(x, -h_root);
    const V ratio = vselect(tail, vset((real)0.25) * p[0] / h, a) / root;
    const V r = vestimate(vmax(least, root)), rest = vselect(vlt(vzero(), square), vfma(-root, root, square), vzero());
    const V lost = half * rest * r * r, in_both = vmadd(lost * h_root, vestimate(h), lost);
    const V slope = vselect(tail, vfnma(ratio, in_both, ratio), vmadd(vcopysign(half, x), ratio, half));
    return dy * vselect(vle(root, vzero()), x, slope);
}

// ---- one exponential --------------------------------------------------------------------------------------------

FORCE_INLINE V exp(V x, const V *p) { return (void)p, exp_full(vmin(vset(EXP_LARGEST), x)); }
FORCE_INLINE V exp_backward(V dy, V y, const V *p) { return (void)p, dy * y; }

// The gradients of the three ELUs take x and not y, although the exponential is y + alpha: where y is near -alpha, that
// sum has few digits of it left.
FORCE_INLINE V elu(V x, const V *p) { return vselect(vle(vzero(), x), x, p[0] * expm1_negative(x)); }
FORCE_INLINE V elu_backward(V dy, V x, const V *p) {
    const V e = exp_negative(exponential(vmax(vset(EXP_LEAST), x), NEGATIVE_SHIFT));
    return dy * vselect(vlt(vzero(), x), vone(), p[0] * e);
}

#define SELU_SCALE ((real)1.0507009873554804934193349852946)
#define SELU_SCALE_ALPHA ((real)1.7580993408473768599402175208123)
#define SELU_SCALE_ALPHA_LOW REST_OF(1.7580993408473768599402175208123, 1.4153519380084477e-17)
FORCE_INLINE V selu(V x, const V *p) {
    const V e = expm1_negative(x);
    const V negative = vfma(vset(SELU_SCALE_ALPHA), e, vset(SELU_SCALE_ALPHA_LOW) * e);
    return (void)p, vselect(vle(vzero(), x), vset(SELU_SCALE) * x, negative);
}
FORCE_INLINE V selu_backward(V dy, V x, const V *p) {
    const V e = exp_negative(exponential(vmax(vset(EXP_LEAST), x), NEGATIVE_SHIFT));
    return (void)p, dy * vselect(vlt(vzero(), x), vset(SELU_SCALE), vset(SELU_SCALE_ALPHA) * e);
}

// z is x / alpha but for a rest: alpha (exp(z + rest / alpha) - 1) = alpha e + rest (1 + e), with e = exp(z) - 1.
FORCE_INLINE V celu(V x, const V *p) {
    const V t = vmax(vset(-SATURATED) * p[0], x), z = t * (vone() / p[0]), rest = vfnma(z, p[0], t);
    const V e = expm1_negative(z);
    return vselect(vle(vzero(), x), x, vfma(p[0], e, vfma(rest, e, rest)));
}
FORCE_INLINE V celu_backward(V dy, V x, const V *p) {
    const V inverse = vone() / p[0], t = vmax(vset(EXP_LEAST) * p[0], x), z = t * inverse, rest = vfnma(z, p[0], t);
    const V e = exp_negative(exponential_of_sum(z, rest * inverse, NEGATIVE_SHIFT));
    return dy * vselect(vlt(vzero(), x), vone(), e);
}

// 1 / sigmoid(z) is 1 + exp(-z). It is held 2^GATE_SHIFT times as large, which keeps it finite where its
// reciprocal is subnormal; the result is scaled last. gate() takes exp(-z) with that shift.
enum { GATE_SHIFT = -10 * (int)sizeof(real) };
typedef struct {
    V exponential, sum;  // exp(-z) 2^GATE_SHIFT, and one more 2^GATE_SHIFT
} Gate;
FORCE_INLINE Gate gate(Exponential e) {
    Gate g;
    const V unit = POWER_OF_2(GATE_SHIFT), scale = vpower_of_2(e.m);
    const V whole = unit + scale, whole_low = unit - (whole - scale);  // exact, or 1 + exp(-z) is 1 or exp(-z)
    g.exponential = vfma(e.s, scale, scale);
    g.sum = whole + vfma(e.s, scale, whole_low);
    return g;
}
FORCE_INLINE V clamp_gate(V z) { return vmin(vset(SATURATED), vmax(vset(X_EXP_LEAST), z)); }

FORCE_INLINE V sigmoid_by_formula(V x) {
    return POWER_OF_2(GATE_SHIFT) / gate(exponential_of_minus(clamp_gate(x), GATE_SHIFT)).sum;
}
FORCE_INLINE V sigmoid(V x, const V *p) {
    return (void)p, BY_TABLE(step_by_table(&sigmoid_pieces, x), vlt(x, vset(-sigmoid_pieces.last)),
                             times_exp(vone(), far_x(x)), sigmoid_by_formula(x));
}
// factor times the derivative. It is computed of -|x| and not of y: where y is near 1, 1 - y has few digits left. With
// e = exp(-|x|) it is e / (1 + e)^2, and (1 + e)^2 is 1 + e (2 + e). e and that sum are held 2^NEGATIVE_SHIFT times as
// large.
FORCE_INLINE V sigmoid_slope(V minus_x, real factor) {
    const V e = exp_value(exponential(vmax(vset(EXP_LEAST), minus_x), NEGATIVE_SHIFT)), divisor = vset(1 / factor);
    const V two_and_e = vfma(e, POWER_OF_2(-NEGATIVE_SHIFT) * divisor, divisor + divisor);
    return e / vfma(e, two_and_e, POWER_OF_2(NEGATIVE_SHIFT) * divisor);
}
FORCE_INLINE V sigmoid_backward(V dy, V x, const V *p) { return (void)p, dy * sigmoid_slope(vnabs(x), 1); }

// x sigmoid(z), and its derivative s (1 + x z' (1 - s)), x z' given: 1 - s is exp(-z) s where s is near 1.
FORCE_INLINE V gated(V x, Gate g) { return x / g.sum * POWER_OF_2(GATE_SHIFT); }
FORCE_INLINE V gated_gradient(V x_dz, V x_dz_low, Gate g) {
    const M negative = vlt(x_dz, vzero());
    const V unit = POWER_OF_2(GATE_SHIFT), one = vone(), r = one / g.sum;
    const V rest = vselect(negative, vfnma(r, unit, one), g.exponential * r);
    const V rest_low = vselect(negative, vfnma(r, unit, one - rest), vzero());
    const V a = vfma(x_dz, rest, vfma(x_dz_low, rest, vfma(x_dz, rest_low, one))), q = a * r;
    return vfma(vfnma(q, g.sum, a), r, q) * unit;
}

FORCE_INLINE V silu_by_formula(V x) {
    const V t = vmax(vset(X_EXP_LEAST), x);
    return vselect(vlt(vset(SATURATED), x), x, gated(t, gate(exponential_of_minus(t, GATE_SHIFT))));
}
FORCE_INLINE V silu(V x, const V *p) {
    return (void)p, BY_TABLE(gated_by_table(&sigmoid_pieces, x), vlt(x, vset(-sigmoid_pieces.last)),
                             times_exp(far_x(x), far_x(x)), silu_by_formula(x));
}
FORCE_INLINE V silu_slope_by_formula(V x) {
    const V t = clamp_gate(x);
    return gated_gradient(t, vzero(), gate(exponential_of_minus(t, GATE_SHIFT)));
}
FORCE_INLINE V silu_backward(V dy, V x, const V *p) {
    const V slope = BY_TABLE(step_by_table(&silu_slope_pieces, x), vlt(x, vset(-silu_slope_pieces.last)),
                             times_exp(vone() + far_x(x), far_x(x)), silu_slope_by_formula(x));
    return (void)p, dy * slope;
}

// GELU by tanh is x sigmoid(z), z = 2 sqrt(2 / pi) (x + 0.044715 x^3). exp(z) turns the absolute error of z into a
// relative one, so z = x (C1 + C3 x^2) is summed in two parts.
#if FASTNN_BITS == 32
#define GELU_TANH_LEAST (-11.1f)  // the result is 0 from here down
#define GELU_C1 1.59576916695f
#define GELU_C1_LOW -4.53406804e-8f
#define GELU_C3 0.0713548138738f
#define GELU_C3_LOW 2.3988324e-9f
#else
#define GELU_TANH_LEAST (-21.6)
#define GELU_C1 1.5957691216057308
#define GELU_C1_LOW -9.9693088091109203e-17
#define GELU_C3 0.07135481627260025
#define GELU_C3_LOW -6.1751499181553155e-19
#endif
#define GELU_TANH_SATURATED 8  // from here up it is x
// x (C1 + C x^2), C = c + c_low: in two parts, the low one in *low.
FORCE_INLINE V gelu_tanh_cubic(V x, V c, V c_low, V *low) {
    const V c1 = vset(GELU_C1), square = x * x, square_low = product_low(x, x, square);
    const V b = c * square, b_low = vfma(c, square_low, vfma(c_low, square, product_low(c, square, b)));
    const V sum = c1 + b, b_seen = sum - c1;
    const V sum_rest = (c1 - (sum - b_seen)) + (b - b_seen) + (b_low + vset(GELU_C1_LOW));
    const V cubic = x * sum;
    *low = vfma(x, sum_rest, product_low(x, sum, cubic));
    return cubic;
}
FORCE_INLINE V gelu_tanh_argument(V x, V *low) { return gelu_tanh_cubic(x, vset(GELU_C3), vset(GELU_C3_LOW), low); }
// x z'
FORCE_INLINE V gelu_tanh_slope(V x, V *low) {
    const V three = vset(3), c = three * vset(GELU_C3);
    return gelu_tanh_cubic(x, c, vfma(three, vset(GELU_C3_LOW), product_low(three, vset(GELU_C3), c)), low);
}
FORCE_INLINE V gelu_tanh_by_formula(V x) {
    V low;
    const V t = vmax(vset(GELU_TANH_LEAST), x), z = gelu_tanh_argument(t, &low);
    return vselect(vlt(vset(GELU_TANH_SATURATED), x), x, gated(t, gate(exponential_of_sum(-z, -low, GATE_SHIFT))));
}
// Far out sigmoid(z) is e (1 - e), e = exp(z), and the derivative e (1 + x z').
FORCE_INLINE V gelu_tanh_far(V x) {
    V low;
    const V t = vmax(vset(GELU_TANH_LEAST), x), z = gelu_tanh_argument(t, &low);
    const Exponential e = exponential_of_sum(z, low, NEGATIVE_SHIFT);
    return times(t, lessened(e, exp_negative(e)));
}
FORCE_INLINE V gelu_tanh(V x, const V *p) {
    return (void)p, BY_TABLE(gated_by_table(&gelu_tanh_pieces, x), vlt(x, vset(-gelu_tanh_pieces.last)),
                             gelu_tanh_far(x), gelu_tanh_by_formula(x));
}
FORCE_INLINE V gelu_tanh_slope_by_formula(V x) {
    V low, x_dz_low;
    const V t = vmin(vset(GELU_TANH_SATURATED), vmax(vset(GELU_TANH_LEAST), x));
    const V z = gelu_tanh_argument(t, &low), x_dz = gelu_tanh_slope(t, &x_dz_low);
    return gated_gradient(x_dz, x_dz_low, gate(exponential_of_sum(-z, -low, GATE_SHIFT)));
}
FORCE_INLINE V gelu_tanh_slope_far(V x) {
    V low;
    const V t = vmax(vset(GELU_TANH_LEAST), x), z = gelu_tanh_argument(t, &low);
    const V factor = vfma(t, vfma(t * t, vset(3 * GELU_C3), vset(GELU_C1)), vone());
    return times(factor, exponential_of_sum(z, low, NEGATIVE_SHIFT));
}
FORCE_INLINE V gelu_tanh_backward(V dy, V x, const V *p) {
    const V slope = BY_TABLE(step_by_table(&gelu_tanh_slope_pieces, x), vlt(x, vset(-gelu_tanh_slope_pieces.last)),
                             gelu_tanh_slope_far(x), gelu_tanh_slope_by_formula(x));
    return (void)p, dy * slope;
}

// 2 / (1 + exp(2 a)) = 1 - tanh(a) for a >= 0.
FORCE_INLINE V tanh_complement(V a) {
    const V t = vmin(vset(SATURATED / 2), a);
    return vset(2) / (vone() + exp_value(exponential(t + t, 0)));
}
FORCE_INLINE V tanh_of_size(V a) {
#ifdef TABLE_ENTRIES
    return piecewise(&tanh_pieces, at_most_last(&tanh_pieces, a));
#else
    const V z = a * a, small = vfnma(a, z * POLYNOMIAL(z, tanh_t), a);
    return vselect(vlt(a, vset((real)0.55)), small, vone() - tanh_complement(a));
#endif
}
FORCE_INLINE V tanh(V x, const V *p) { return (void)p, vcopysign(tanh_of_size(vabs(x)), x); }
// The derivative is 4 sigmoid'(2 x).
FORCE_INLINE V tanh_backward(V dy, V x, const V *p) {
    const V a = vnabs(x);
    return (void)p, dy * sigmoid_slope(a + a, 4);
}

// x - tanh(x), which cancels for small x: x^3 T(x^2) there, with the powers and T's first constants in two parts. What
// rounding lost of x^2 counts most near 1, where T' is about -0.066.
FORCE_INLINE V tanhshrink(V x, const V *p) {
    const V a = vabs(x), square = a * a, square_low = product_low(a, a, square), cube = a * square;
    const V cube_low = vfma(a, square_low, product_low(a, square, cube));
    const V c = vset((real)(-2.0 / 15)), c_low = vset(REST_OF(-2.0 / 15, -1.8503717077085942e-18));
    const V t_low = vfma(square_low, vset((real)-0.066), vfma(square, c_low, vset(THIRD_LOW)));
    const V t = vfma(square, vfma(square, POLYNOMIAL(square, tanh_u), c), t_low);
    const V small = vfma(cube, vset(THIRD), vfma(cube, t, cube_low * vset(THIRD)));
    return (void)p, vcopysign(vselect(vlt(a, vset((real)1.022)), small, (a - vone()) + tanh_complement(a)), x);
}
FORCE_INLINE V tanhshrink_backward(V dy, V x, const V *p) {
    const V t = tanh(x, p);
    return dy * (t * t);
}

// ---- exponential and logarithm, or more ---------------------------------------------------------------------------

// exp(x factor) for x factor <= 0
FORCE_INLINE V exp_of_product(V x, V factor) {
    const V t = vmax(vset(EXP_LEAST) * (vone() / factor), x);
    return exp_negative(exponential_of_product(t, factor, NEGATIVE_SHIFT));
}
// max(x, 0) + log(1 + exp(-|beta x|)) / beta
FORCE_INLINE V softplus(V x, const V *p) {
    const V inverse = vone() / p[0], inverse_low = vfma(-inverse, p[0], vone()) * inverse;
    const V l =
        BY_TABLE(piecewise_of_product(&softplus_pieces, x, p[0]), vlt(vset(softplus_pieces.last), vabs(x) * p[0]),
                 exp_of_product(vnabs(x), p[0]), log1p_unit(exp_of_product(vnabs(x), p[0])));
    const V y = vfma(l, inverse, vfma(l, inverse_low, vmax(vzero(), x)));
    return vselect(vlt(p[1], p[0] * x), x, y);
}
FORCE_INLINE V sigmoid_of_product_by_formula(V x, V factor) {
    const V inverse = vone() / factor;
    const V t = vmin(vset(SATURATED) * inverse, vmax(vset(EXP_LEAST) * inverse, x));
    return POWER_OF_2(GATE_SHIFT) / gate(exponential_of_product(t, -factor, GATE_SHIFT)).sum;
}
FORCE_INLINE V softplus_backward(V dy, V x, const V *p) {
    const V s = BY_TABLE(reflected(x, piecewise_of_product(&sigmoid_pieces, x, p[0])),
                         vlt(vset(sigmoid_pieces.last), vabs(x) * p[0]), reflected(x, exp_of_product(vnabs(x), p[0])),
                         sigmoid_of_product_by_formula(x, p[0]));
    return dy * vselect(vlt(p[1], p[0] * x), vone(), s);
}

FORCE_INLINE V exp_of_minus_size(V x) {
    return exp_negative(exponential(vmax(vset(EXP_LEAST), vnabs(x)), NEGATIVE_SHIFT));
}
FORCE_INLINE V logsigmoid(V x, const V *p) {
    const V l = BY_TABLE(piecewise(&softplus_pieces, vabs(x)), vlt(vset(softplus_pieces.last), vabs(x)),
                         exp_of_minus_size(x), log1p_unit(exp_of_minus_size(x)));
    return (void)p, vmin(vzero(), x) - l;
}
FORCE_INLINE V logsigmoid_backward(V dy, V y, const V *p) { return (void)p, dy * -expm1_negative(y); }

// x tanh(log(1 + exp(x))) = x n / (n + 2), with n = e (e + 2), e = exp(x). e and n are held 2^MISH_SHIFT times as
// large.
enum { MISH_SHIFT = 10 * (int)sizeof(real) };
#define MISH_SATURATED 20  // from here up it is x
FORCE_INLINE V mish_by_formula(V x) {
    const V t = vmax(vset(X_EXP_LEAST), x), unshift = POWER_OF_2(-MISH_SHIFT), two = vset(2);
    const V shifted = exp_value(exponential(t, MISH_SHIFT)), e = shifted * unshift, twice = shifted + shifted;
    const V n = vfma(shifted, e, twice), n_low = vfma(shifted, e, twice - n);
    const V d = vfma(n, unshift, two), d_low = vfma(n_low, unshift, vfma(n, unshift, two - d));
    const V q = n / d, remainder = vfma(-q, d, n) + vfnma(q, d_low, n_low);
    const V y = vfma(t, q, t * (remainder * vestimate(d)));
    return vselect(vlt(vset(MISH_SATURATED), x), x, vcopysign(y * unshift, x));
}
// Far out tanh(log(1 + e)) is e (1 - e / 2).
FORCE_INLINE V mish_far(V x) {
    const V t = far_x(x);
    const Exponential e = exponential(t, NEGATIVE_SHIFT);
    return times(t, lessened(e, vset((real)0.5) * exp_negative(e)));
}
FORCE_INLINE V mish(V x, const V *p) {
    return (void)p, BY_TABLE(x * piecewise(&mish_pieces, at_most_last(&mish_pieces, x)),
                             vlt(x, vset(mish_pieces.first)), mish_far(x), mish_by_formula(x));
}
// e k / d^2, with d = n + 2 and k = (e + 2) d + 4 x (1 + e), which cancels least as 4 (1 + x) + e (6 + 4 x + e (4 +
// e)).
FORCE_INLINE V mish_slope_by_formula(V x) {
    const V t = vmin(vset(MISH_SATURATED), vmax(vset(X_EXP_LEAST), x)), unshift = POWER_OF_2(-MISH_SHIFT);
    const V shifted = exp_value(exponential(t, MISH_SHIFT)), e = shifted * unshift, two = vset(2), four = vset(4);
    const V e_2 = e + two, e_2_low = vfma(shifted, unshift, two - e_2);
    const V d = vfma(e, e_2, two), d_low = vfma(e, e_2_low, vfma(e, e_2, two - d));
    const V k = vfma(e, vfma(e, four + e, vfma(four, t, vset(6))), four * (vone() + t));
    const V gradient = k / d * (shifted / d);
    return vfnma(gradient, two * d_low * vestimate(d), gradient) * unshift;
}
FORCE_INLINE V mish_slope_far(V x) {
    const V t = far_x(x), e = times_exp(vone(), t);
    return times_exp(vfnma(vset((real)0.5) + t, e, vone() + t), t);
}
FORCE_INLINE V mish_backward(V dy, V x, const V *p) {
    const V slope = BY_TABLE(piecewise(&mish_slope_pieces, at_most_last(&mish_slope_pieces, x)),
                             vlt(x, vset(mish_slope_pieces.first)), mish_slope_far(x), mish_slope_by_formula(x));
    return (void)p, dy * slope;
}

// x Phi(x). Near 0 a polynomial; else max(x, 0) - |x| Q(|x|), with the Gaussian tail Q(a) = exp(-a^2 / 2) R, and
// polynomials in u = (a - k) / (a + k) for R and a R.
#if FASTNN_BITS == 32
#define GELU_K 2
#define GELU_CENTRE 0.9f
#define GELU_LAST 14.7f  // here the tail has gone to 0
#else
#define GELU_K 3
#define GELU_CENTRE 1.0
#define GELU_LAST 38.8
#endif
// exp(-a^2 / 2) 2^GAUSSIAN_SHIFT; what it is multiplied by takes the shift back.
enum { GAUSSIAN_SHIFT = 80 };
#define GAUSSIAN_UNSHIFT REAL_POWER_OF_2(-GAUSSIAN_SHIFT)
FORCE_INLINE Exponential gaussian(V a, V square) {
    const V half = vset((real)-0.5);
    return exponential_of_sum(half * square, half * product_low(a, a, square), GAUSSIAN_SHIFT);
}
FORCE_INLINE V gelu_tail_argument(V a) { return (a - vset(GELU_K)) / (a + vset(GELU_K)); }
FORCE_INLINE V gelu_by_formula(V x) {
    const V a = vmin(vset(GELU_LAST), vabs(x)), u = gelu_tail_argument(a), square = a * a;
    const V centre = x * vfma(x, POLYNOMIAL(square, gelu_p), vset((real)0.5));
    const Exponential e = gaussian(a, square);
    // W (1 + s) with W = w + v, w constant: the largest term last.
    const V w = vset(gelu_w[0] * GAUSSIAN_UNSHIFT);
    const V v = u * scaled_horner(u, gelu_w + 1, sizeof gelu_w / sizeof(real) - 1, GAUSSIAN_UNSHIFT);
    const V tail = w + vfma(w, e.s, vfma(v, e.s, v));
    const V outer = vfnma(tail, vpower_of_2(e.m), vmax(vzero(), x));
    return vselect(vlt(a, vset(GELU_CENTRE)), centre, outer);
}
#ifdef TABLE_ENTRIES
// The tail as a polynomial in a - 10, without the division.
FORCE_INLINE V gelu_far(V x) {
    const V a = vmin(vset(GELU_LAST), vabs(x)), t = a - vset(10);
    const Exponential e = gaussian(a, a * a);
    const V w = vset(gelu_far_w[0] * GAUSSIAN_UNSHIFT);
    const V v = t * scaled_horner(t, gelu_far_w + 1, sizeof gelu_far_w / sizeof(real) - 1, GAUSSIAN_UNSHIFT);
    return -(w + vfma(w, e.s, vfma(v, e.s, v))) * vpower_of_2(e.m);
}
FORCE_INLINE V gelu_slope_far(V x) {
    const V a = vmin(vset(GELU_LAST), vabs(x)), t = a - vset(10);
    const Exponential e = gaussian(a, a * a);
    const V d = scaled_horner(t, gelu_far_d, sizeof gelu_far_d / sizeof(real), GAUSSIAN_UNSHIFT);
    return -vfma(d, e.s, d) * vpower_of_2(e.m);
}
#endif
FORCE_INLINE V gelu(V x, const V *p) {
    return (void)p,
           BY_TABLE(gated_by_table(&gelu_pieces, x), vlt(x, vset(-gelu_pieces.last)), gelu_far(x), gelu_by_formula(x));
}
FORCE_INLINE V gelu_slope_by_formula(V x) {
    const real density = (real)0.398942280401432677939946;  // 1 / sqrt(2 pi)
    const V a = vmin(vset(GELU_LAST), vabs(x)), u = gelu_tail_argument(a), square = a * a;
    const V centre = vfma(x, POLYNOMIAL(square, gelu_d), vset((real)0.5));
    const V tail_r = scaled_horner(u, gelu_r, sizeof gelu_r / sizeof(real), GAUSSIAN_UNSHIFT);
    const V r = vfnma(a, vset(density * GAUSSIAN_UNSHIFT), tail_r);
    const Exponential e = gaussian(a, square);
    const V tail = vfma(r, e.s, r) * vpower_of_2(e.m);
    return vselect(vlt(a, vset(GELU_CENTRE)), centre, vselect(vlt(x, vzero()), tail, vone() - tail));
}
FORCE_INLINE V gelu_backward(V dy, V x, const V *p) {
    const V slope = BY_TABLE(step_by_table(&gelu_slope_pieces, x), vlt(x, vset(-gelu_slope_pieces.last)),
                             gelu_slope_far(x), gelu_slope_by_formula(x));
    return (void)p, dy * slope;
}

// ---- gated pairs and maxout -----------------------------------------------------------------------------------------

// a sigmoid(b). The scale comes before the division where a is so large that it has to, else after it, where it keeps
// the digits of b's tail.
#define GLU_LARGE (REAL_MAX * REAL_POWER_OF_2(GATE_SHIFT))
FORCE_INLINE void glu(V *out, const V *in, const V *p) {
    const Gate g = gate(exponential_of_minus(clamp_gate(in[1]), GATE_SHIFT));
    const V a = in[0], unit = POWER_OF_2(GATE_SHIFT);
    const M large = vlt(vset(GLU_LARGE), vabs(a));
    (void)p, out[0] = vselect(large, a * unit, a) / g.sum * vselect(large, vone(), unit);
}
// With e = exp(-|b|): sigmoid(b) is 1 / (1 + e) or e / (1 + e), and its derivative e / (1 + e)^2.
FORCE_INLINE void glu_backward(V *out, const V *in, const V *p) {
    const V dy = in[0], a = in[1], b = in[2];
    const V e = exp_negative(exponential(vmax(vset(EXP_LEAST), vnabs(b)), NEGATIVE_SHIFT)), sum = vone() + e;
    const V rest = sum_low(vone(), e, sum) * vestimate(sum), slope = e / sum / sum;
    out[0] = dy * (vselect(vlt(b, vzero()), e, vone()) / sum);
    (void)p, out[1] = dy * a * vfnma(slope, rest + rest, slope);
}

// silu(a) b, with what the division lost in silu carried into the product.
FORCE_INLINE void swiglu(V *out, const V *in, const V *p) {
    const V a = in[0], b = in[1], t = vmax(vset(X_EXP_LEAST), a), unit = POWER_OF_2(GATE_SHIFT);
    const Gate g = gate(exponential_of_minus(t, GATE_SHIFT));
    const V q = t / g.sum, low = vfnma(q, g.sum, t) * vestimate(g.sum);
    (void)p, out[0] = vselect(vlt(vset(SATURATED), a), a * b, vfma(q * unit, b, low * unit * b));
}
FORCE_INLINE void swiglu_backward(V *out, const V *in, const V *p) {
    const V dy = in[0], a = in[1], b = in[2], t = clamp_gate(a);
    const Gate g = gate(exponential_of_minus(t, GATE_SHIFT));
    out[0] = dy * b * gated_gradient(t, vzero(), g);
    (void)p, out[1] = dy * vselect(vlt(vset(SATURATED), a), a, gated(t, g));
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
