// The steps of the optimisers. Compiled once for each instruction set and dtype. A rule is written for one vector of
// each operand; numbers that depend on the step (bias corrections) or on hyperparameters come from outside.
#include "optim/optimizer_kernels.h"

#include <math.h>

#define OPERANDS FASTNN_RULE_OPERANDS
#define STEP LANES
#define SETTINGS fastnn_rule_settings
#define ALIGNED_FROM 4096
#include "simd/passes.h"

// ---- rules ---------------------------------------------------------------------------------------------------------

// x: the operands; c: the rule's numbers. The first number is the size of the step, if the rule has one.
typedef void Rule(V *x, const V *c);

// PyTorch's two forms of a moving average: they differ in the result if an operand is infinite.
FORCE_INLINE V lerp(V from, V to, V weight) { return vmadd(weight, to - from, from); }
FORCE_INLINE V decayed(V keep, V old, V weight, V new) { return vmadd(keep, old, weight * new); }
// size * sign(x); 0 and NaN remain themselves.
FORCE_INLINE V with_sign_of(V x, V size) { return vselect(vlt(vzero(), vabs(x)), vcopysign(size, x), x); }
// A step of the parameter.
FORCE_INLINE void go(V *x, V size, V direction) { x[0] -= size * direction; }

FORCE_INLINE void sgd(V *x, const V *c) { go(x, c[0], x[1]); }
FORCE_INLINE void sgd_momentum(V *x, const V *c) {
    x[2] = decayed(c[1], x[2], c[2], x[1]);
    go(x, c[0], x[2]);
}
FORCE_INLINE void sgd_nesterov(V *x, const V *c) {
    x[2] = decayed(c[1], x[2], c[2], x[1]);
    go(x, c[0], vmadd(c[1], x[2], x[1]));
}

FORCE_INLINE void adagrad(V *x, const V *c) {
    x[2] = vmadd(x[1], x[1], x[2]);
    go(x, c[0], x[1] / (vsqrt(x[2]) + c[1]));
}

FORCE_INLINE V rmsprop_direction(V *x, const V *c) {
    x[2] = decayed(c[1], x[2], c[2], x[1] * x[1]);
    return x[1] / (vsqrt(x[2]) + c[3]);
}
// Rounding may leave a variance below 0; a NaN stays one.
FORCE_INLINE V rmsprop_centered_direction(V *x, const V *c) {
    x[2] = decayed(c[1], x[2], c[2], x[1] * x[1]);
    x[3] = lerp(x[3], x[1], c[2]);
    return x[1] / (vsqrt(vmax(vzero(), x[2] - x[3] * x[3])) + c[3]);
}
FORCE_INLINE void rmsprop(V *x, const V *c) { go(x, c[0], rmsprop_direction(x, c)); }
FORCE_INLINE void rmsprop_centered(V *x, const V *c) { go(x, c[0], rmsprop_centered_direction(x, c)); }
FORCE_INLINE void rmsprop_momentum(V *x, const V *c) {
    x[3] = vmadd(c[4], x[3], rmsprop_direction(x, c));
    go(x, c[0], x[3]);
}
FORCE_INLINE void rmsprop_centered_momentum(V *x, const V *c) {
    x[4] = vmadd(c[4], x[4], rmsprop_centered_direction(x, c));
    go(x, c[0], x[4]);
}

FORCE_INLINE void adadelta(V *x, const V *c) {
    x[2] = decayed(c[1], x[2], c[2], x[1] * x[1]);
    const V delta = vsqrt(x[3] + c[3]) / vsqrt(x[2] + c[3]) * x[1];
    x[3] = decayed(c[1], x[3], c[2], delta * delta);
    go(x, c[0], delta);
}

// c[1 ... 3] are 1 - beta1, beta2, 1 - beta2 for all the rules of Adam's family.
FORCE_INLINE void moments(V *x, const V *c) {
    x[2] = lerp(x[2], x[1], c[1]);
    x[3] = decayed(c[2], x[3], c[3], x[1] * x[1]);
}
FORCE_INLINE void adam(V *x, const V *c) {
    moments(x, c);
    go(x, c[0], x[2] / vmadd(vsqrt(x[3]), c[4], c[5]));
}
FORCE_INLINE void adam_amsgrad(V *x, const V *c) {
    moments(x, c);
    x[4] = vmax(x[4], x[3]);
    go(x, c[0], x[2] / vmadd(vsqrt(x[4]), c[4], c[5]));
}
FORCE_INLINE void adamax(V *x, const V *c) {
    x[2] = lerp(x[2], x[1], c[1]);
    x[3] = vmax(c[2] * x[3], vabs(x[1]) + c[3]);
    go(x, c[0], x[2] / x[3]);
}
FORCE_INLINE void nadam(V *x, const V *c) {
    moments(x, c);
    go(x, c[0], vmadd(c[6], x[2], x[1]) / vmadd(vsqrt(x[3]), c[4], c[5]));
}
FORCE_INLINE void radam(V *x, const V *c) {
    moments(x, c);
    go(x, c[0], x[2] / (vsqrt(x[3]) + c[4]));
}
FORCE_INLINE void radam_start(V *x, const V *c) {
    moments(x, c);
    go(x, c[0], x[2]);
}
FORCE_INLINE void lion(V *x, const V *c) {
    x[0] -= with_sign_of(lerp(x[2], x[1], c[1]), c[0]);
    x[2] = lerp(x[2], x[1], c[2]);
}

FORCE_INLINE void lars_direction(V *x, const V *c) { (void)c, x[2] = x[1]; }
FORCE_INLINE void lars(V *x, const V *c) {
    x[2] = vmadd(c[1], x[2], c[0] * vmadd(c[2], x[0], x[1]));
    x[0] -= x[2];
}

FORCE_INLINE V lamb_ratio(const V *x, const V *c) {
    return vmadd(c[7], x[0], x[2] * c[6] / vmadd(vsqrt(x[3]), c[4], c[5]));
}
FORCE_INLINE void lamb_direction(V *x, const V *c) {
    moments(x, c);
    x[4] = lamb_ratio(x, c);
}
FORCE_INLINE void lamb(V *x, const V *c) { go(x, c[0], lamb_ratio(x, c)); }

FORCE_INLINE void average(V *x, const V *c) { x[0] = lerp(x[0], x[1], c[0]); }
FORCE_INLINE void scale(V *x, const V *c) { x[0] *= c[0]; }
FORCE_INLINE void clamp(V *x, const V *c) { x[0] = vmax(-c[0], vmin(c[0], x[0])); }

// ---- the loop ------------------------------------------------------------------------------------------------------

// Without the unrolling, a rule's vectors would go through memory. Lines of the caches are read, changed and written
// back, so streaming stores would spare nothing, and the hardware prefetches a handful of streams by itself: neither
// made a difference.

typedef struct {
    V decay, l1, keep;
} penalty;

// The gradient of the loss becomes that of the loss with its penalties. A penalty that is 0 is left out, as it might
// turn an infinity into a NaN.
FORCE_INLINE void apply(const fastnn_penalties *asked, const penalty *size, bool has_gradient, bool moves, V *x) {
    if (has_gradient) {
        if (asked->negate) x[1] = -x[1];
        if (asked->decay != 0) x[1] = vmadd(size->decay, x[0], x[1]);
        if (asked->l1 != 0) x[1] += with_sign_of(x[0], size->l1);
    }
    if (moves) x[0] *= size->keep;
}

static __attribute__((noinline)) void all_passes(size_t n, void *const *memory, const void *const *sources,
                                                 unsigned reads, unsigned writes, const void *deciding,
                                                 const fastnn_rule_settings *settings, fastnn_rule *loop) {
    run_passes(n, memory, sources, reads, writes, deciding, settings, loop);
}

FORCE_INLINE void walk(size_t n, void *const *memory, const void *const *sources, const fastnn_rule_settings *settings,
                       int operands, unsigned reads, unsigned writes, bool penalised, Rule *rule) {
    const fastnn_penalties *asked = settings->penalties;
    real *at[FASTNN_RULE_OPERANDS];
    const real *from[FASTNN_RULE_OPERANDS];
    V c[FASTNN_RULE_NUMBERS];
    for (int k = 0; k < operands; k++) at[k] = memory[k], from[k] = sources[k];
    for (int k = 0; k < FASTNN_RULE_NUMBERS; k++) c[k] = vset((real)settings->numbers[k]);
    const penalty size = {vset((real)asked->decay), vset((real)asked->l1), vset((real)(1 - asked->shrink))};
    for (size_t i = 0; i < n; i += LANES) {
        V x[FASTNN_RULE_OPERANDS];
#pragma GCC unroll 5
        for (int k = 0; k < operands; k++)
            if (reads >> k & 1) x[k] = vload(from[k] + i);
        if (penalised) apply(asked, &size, reads & 2, writes & 1, x);
        rule(x, c);
#pragma GCC unroll 5
        for (int k = 0; k < operands; k++)
            if (writes >> k & 1) vstore(at[k] + i, x[k]);
    }
}

static bool is_penalised(const fastnn_penalties *p) {
    return p->negate || p->decay != 0 || p->l1 != 0 || p->shrink != 0;
}

#define RULE(name, operands, reads, writes)                                                 \
    static void name##_loop(size_t n, void *const *memory, const void *const *sources,      \
                            const fastnn_rule_settings *settings) {                         \
        const void *deciding = memory[(writes) & 1 ? 0 : operands - 1];                     \
        if (!is_one_pass(n, deciding))                                                      \
            all_passes(n, memory, sources, reads, writes, deciding, settings, name##_loop); \
        else if (is_penalised(settings->penalties))                                         \
            walk(n, memory, sources, settings, operands, reads, writes, true, name);        \
        else                                                                                \
            walk(n, memory, sources, settings, operands, reads, writes, false, name);       \
    }
#include "optim/optimizers.def"
#undef RULE

// ---- norms ---------------------------------------------------------------------------------------------------------

// In double: the squares of floats stay within its range.
enum { SUMS = 32 };
FORCE_INLINE double square(double x) { return x * x; }
#define SUM(name, term)                                                          \
    static double name(size_t n, const void *memory) {                           \
        const real *x = memory;                                                  \
        double sums[SUMS] = {0};                                                 \
        size_t i = 0;                                                            \
        for (; i + SUMS <= n; i += SUMS)                                         \
            for (size_t k = 0; k < SUMS; k++) sums[k] += term((double)x[i + k]); \
        for (; i < n; i++) sums[i % SUMS] += term((double)x[i]);                 \
        for (size_t width = SUMS / 2; width > 0; width /= 2)                     \
            for (size_t k = 0; k < width; k++) sums[k] += sums[k + width];       \
        return sums[0];                                                          \
    }
SUM(sum_squares, square)
SUM(sum_sizes, fabs)

static double largest_size(size_t n, const void *memory) {
    const real *x = memory;
    V peak = vzero(), nan = vzero();
    for (size_t i = 0, part; i < n; i += part) {
        part = n - i < LANES ? n - i : LANES;
        const V size = vabs(vload_some(x + i, part));
        peak = vmax(size, peak);
        nan = vselect(vle(size, size), nan, size);
    }
    const double bad = (double)vsum(nan);
    return isnan(bad) ? bad : (double)vlargest(peak);
}

const fastnn_optimizer_table FASTNN_TABLE(optimizer) = {
    .bytes = sizeof(real),
    .rules =
        {
#define RULE(name, ...) name##_loop,
#include "optim/optimizers.def"
#undef RULE
        },
    .reductions = {[FASTNN_SQUARES] = sum_squares, [FASTNN_SIZES] = sum_sizes, [FASTNN_LARGEST] = largest_size},
};
