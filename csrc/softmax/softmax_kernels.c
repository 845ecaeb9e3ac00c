// Softmax and the losses. Compiled once for each instruction set and dtype.
//
// Each operation is a function on a block of samples (samples.h). It reads the inputs' vector at a place before it
// writes the output's, so that the output may be the input.
#include "softmax/softmax_kernels.h"

#include "simd/short_rows.h"
#include "softmax/samples.h"

typedef double Operation(const fastnn_samples *call, Block b, const real *x, const real *other, real *out,
                         size_t sample);

// ---- exponentials of logits, and their sum -------------------------------------------------------------------------

// exp(x) is computed 2^(EXP_SHIFT - k) times as large, where k is the largest logit / ln 2, rounded. So x goes into the
// exponential unchanged: the rounding error of x - max would be many ULP of the result. Only if all logits that matter
// are far from 0, so that the difference is exact, the largest one is subtracted first. EXP_SHIFT keeps the smallest
// terms normal numbers.
enum { EXP_SHIFT = 10 * (int)sizeof(real) };
typedef struct {
    V largest, center, least, rounder;
} Shift;

FORCE_INLINE Shift shift_for(V largest) {
    const V center = vselect(vlt(vabs(largest), vset(256)), vzero(), largest), top = largest - center;
    const V rounder = vset(ROUNDER), k = vfma(top, vset(LOG2_E), rounder) - rounder;
    return (Shift){largest, center, top + vset(EXP_LEAST), vset(ROUNDER + (real)(EXPONENT_BIAS + EXP_SHIFT)) - k};
}
FORCE_INLINE V shifted_exponential(const Shift *s, V x) {
    const V d = vmax(s->least, x - s->center);
    const V m = vfma(d, vset(LOG2_E), s->rounder), n = m - s->rounder;
    return exp_value(reduced_exponential(vfnma(n, vset(LN2_LOW), vfnma(n, vset(LN2_HIGH), d)), m));
}

// log of the sum of exp(x - largest), given that of the shifted exponentials. One large logit gives exactly 0.
FORCE_INLINE V log_of_sum(const Shift *s, V sum) {
    const V ratio = sum / shifted_exponential(s, s->largest), e = vexponent(ratio);
    const V f = ratio * vpower_of_2(vset(ROUNDER + EXPONENT_BIAS) - e) - vone();
    return vfma(e, vset((real)0.69314718055994530942), log1p_unit(f));
}

FORCE_INLINE void max_step(const void *state, Sum *largest, Place at, int u) {
    largest->now[u] = vmax(load_logits(state, at), largest->now[u]);  // NaN is passed over
}
FORCE_INLINE V largest_of(Block b, const real *x) {
    Sum m;
    for (int u = 0; u < TOGETHER; u++) m.now[u] = vset(-(real)__builtin_inf());
    walk(b, x, max_step, &m, 0);
    return joined_max(b, vmax(m.now[0], m.now[1]));
}

typedef struct {
    Shift shift;
    const real *x;
    real *out;  // NULL: the sum alone is wanted
} Exponentials;
// The exponentials of a row stay in L1 until their sum is known, so that the result, which may be far from the caches,
// is written only once.
enum { ROW_SPACE = 4096 };
FORCE_INLINE real *space_for(Block b, real *out) { return b.row && b.classes <= ROW_SPACE ? b.space : out; }
FORCE_INLINE void exp_step(const void *state, Sum *sums, Place at, int u) {
    const Exponentials *s = state;
    const V e = shifted_exponential(&s->shift, load_logits(s->x, at));
    sums[0].now[u] += e;
    if (s->out != NULL) store(s->out, at, e);
}

// ---- softmax -------------------------------------------------------------------------------------------------------

typedef struct {
    const real *x, *other;
    real *out;
    V a, b;  // numbers of the samples, which mean something else in each step
} Map;

// e / sum, with the rounding error of 1 / sum corrected: one large logit gives exactly 1.
FORCE_INLINE V quotient(V e, V sum, V inverse) {
    const V y = e * inverse;
    return vfma(vfnma(y, sum, e), inverse, y);
}
FORCE_INLINE void quotient_step(const void *state, Sum *sums, Place at, int u) {
    const Map *s = state;
    (void)sums, (void)u, store(s->out, at, quotient(load(s->x, at), s->a, s->b));
}
FORCE_INLINE double softmax(const fastnn_samples *call, Block b, const real *x, const real *other, real *out,
                            size_t sample) {
    Sum sum = no_sum();
    const Exponentials e = {shift_for(largest_of(b, x)), x, space_for(b, out)};
    walk(b, &e, exp_step, &sum, 1);
    Map map = {.x = e.out, .out = out, .a = sum_of(b, &sum)};
    map.b = vone() / map.a;
    walk(b, &map, quotient_step, NULL, 0);
    return (void)call, (void)other, (void)sample, 0;
}

FORCE_INLINE void difference_step(const void *state, Sum *sums, Place at, int u) {
    const Map *s = state;
    (void)sums, (void)u, store(s->out, at, (load(s->x, at) - s->a) - s->b);
}
FORCE_INLINE double log_softmax(const fastnn_samples *call, Block b, const real *x, const real *other, real *out,
                                size_t sample) {
    Sum sum = no_sum();
    const Exponentials e = {shift_for(largest_of(b, x)), x, NULL};
    walk(b, &e, exp_step, &sum, 1);
    const Map map = {.x = x, .out = out, .a = e.shift.largest, .b = log_of_sum(&e.shift, sum_of(b, &sum))};
    walk(b, &map, difference_step, NULL, 0);
    return (void)call, (void)other, (void)sample, 0;
}

FORCE_INLINE void dot_step(const void *state, Sum *sums, Place at, int u) {
    const Map *s = state;
    sums[0].now[u] = vmadd(load(s->x, at), load(s->other, at), sums[0].now[u]);
}
FORCE_INLINE void softmax_backward_step(const void *state, Sum *sums, Place at, int u) {
    const Map *s = state;
    (void)sums, (void)u, store(s->out, at, load(s->x, at) * (load(s->other, at) - s->a));
}
FORCE_INLINE double softmax_backward(const fastnn_samples *call, Block b, const real *y, const real *dy, real *dx,
                                     size_t sample) {
    Sum sum = no_sum();
    Map map = {.x = y, .other = dy, .out = dx};
    walk(b, &map, dot_step, &sum, 1);
    map.a = sum_of(b, &sum);
    walk(b, &map, softmax_backward_step, NULL, 0);
    return (void)call, (void)sample, 0;
}

FORCE_INLINE void sum_step(const void *state, Sum *sums, Place at, int u) {
    sums[0].now[u] += load(((const Map *)state)->other, at);
}
FORCE_INLINE void log_softmax_backward_step(const void *state, Sum *sums, Place at, int u) {
    const Map *s = state;
    const V y = exp_full(vmin(vset(EXP_LARGEST), load(s->x, at)));
    (void)sums, (void)u, store(s->out, at, vfnma(y, s->a, load(s->other, at)));
}
FORCE_INLINE double log_softmax_backward(const fastnn_samples *call, Block b, const real *y, const real *dy, real *dx,
                                         size_t sample) {
    Sum sum = no_sum();
    Map map = {.x = y, .other = dy, .out = dx};
    walk(b, &map, sum_step, &sum, 1);
    map.a = sum_of(b, &sum);
    walk(b, &map, log_softmax_backward_step, NULL, 0);
    return (void)call, (void)sample, 0;
}

// ---- losses of samples ---------------------------------------------------------------------------------------------

// One number for each sample of a block, in its lane; for a row in all lanes.
FORCE_INLINE V by_sample(Block b, const real *numbers) { return b.row ? vset(numbers[0]) : vload(numbers); }

FORCE_INLINE double deliver_losses(const fastnn_samples *call, Block b, size_t sample, V loss) {
    real each[LANES];
    double sum = 0;
    vstore(each, loss);
    if (call->losses != NULL) memcpy((real *)call->losses + sample, each, b.samples * sizeof(real));
    for (size_t s = 0; s < b.samples; s++) sum += (double)each[s];
    return sum;
}

// The target is a distribution q over the classes; labels add a spike at each sample's label to it. The loss is the sum
// of q (largest - x + log_of_sum), and the gradient is (sum of q) softmax(x) - q.
typedef struct {
    Exponentials e;
    real *out;
    bool row;
    const real *t, *weight;
    V keep, uniform, active, scale, sum, inverse, mass;
} CrossEntropy;

FORCE_INLINE V target_at(const CrossEntropy *s, Place at) {
    const V t = s->t != NULL ? vmadd(load(s->t, at), s->keep, s->uniform) : s->uniform;
    if (s->weight == NULL) return only(at.lanes, t * s->active);
    const V weight = s->row ? load(s->weight, (Place){at.class, at.class, at.lanes}) : vset(s->weight[at.class]);
    return only(at.lanes, t * s->active * weight);
}
FORCE_INLINE void soft_step(const void *state, Sum *sums, Place at, int u) {
    const CrossEntropy *s = state;
    const V x = load_logits(s->e.x, at), q = target_at(s, at);
    const V part = q * (s->e.shift.largest - x);
    exp_step(&s->e, sums, at, u);
    sums[1].now[u] += q;
    sums[2].now[u] += vselect(vle(vabs(q), vzero()), vzero(), part);  // a masked class, with x = -infinity
}
FORCE_INLINE void soft_gradient_step(const void *state, Sum *sums, Place at, int u) {
    const CrossEntropy *s = state;
    const V p = quotient(load(s->e.out, at), s->sum, s->inverse) * s->mass;
    const V dx = vselect(vlt(vzero(), s->active), p - target_at(s, at) * s->scale, vzero());
    (void)sums, (void)u, store(s->out, at, dx);
}
FORCE_INLINE void hard_gradient_step(const void *state, Sum *sums, Place at, int u) {
    const CrossEntropy *s = state;
    const V p = quotient(load(s->e.out, at), s->sum, s->inverse) * s->mass;
    (void)sums, (void)u, store(s->out, at, vselect(vlt(vzero(), s->active), p, vzero()));
}

FORCE_INLINE double cross_entropy(const fastnn_samples *call, Block b, const real *x, const real *t, real *out,
                                  size_t sample) {
    const bool soft = t != NULL || call->uniform != 0;
    const real *weight = call->weight;
    real active[LANES] = {0}, spike[LANES] = {0}, logit[LANES] = {0};
    size_t place[LANES] = {0};
    for (size_t i = 0; i < b.samples; i++) {
        const int64_t label = t != NULL ? call->ignored : fastnn_label(call->labels, sample + i);
        active[i] = t != NULL || label != call->ignored;
        if (label == call->ignored) continue;
        const size_t class = fastnn_class_of(label, b.classes);
        place[i] = class * b.stride + i;
        spike[i] = (real)call->keep * (weight != NULL ? weight[class] : 1);
        logit[i] = x[place[i]];
    }
    Sum sums[3] = {no_sum(), no_sum(), no_sum()};
    CrossEntropy s = {
        .e = {shift_for(largest_of(b, x)), x, space_for(b, out)}, .out = out, .row = b.row, .t = t, .weight = weight};
    s.keep = vset((real)call->keep), s.uniform = vset((real)call->uniform), s.scale = vset((real)call->scale);
    s.active = by_sample(b, active);
    if (soft)
        walk(b, &s, soft_step, sums, 3);
    else
        walk(b, &s.e, exp_step, sums, 1);
    s.sum = sum_of(b, &sums[0]), s.inverse = vone() / s.sum;
    const V mass = sum_of(b, &sums[1]), spikes = by_sample(b, spike), log_sum = log_of_sum(&s.e.shift, s.sum);
    const V label_loss = spikes * (s.e.shift.largest - by_sample(b, logit) + log_sum);
    const V hard_loss = vselect(vle(vabs(spikes), vzero()), vzero(), label_loss);  // of weight 0, with x = -infinity
    const V loss = vmadd(mass, log_sum, sum_of(b, &sums[2])) + hard_loss;
    s.mass = (mass + spikes) * s.scale;
    if (soft)
        walk(b, &s, soft_gradient_step, NULL, 0);
    else
        walk(b, &s, hard_gradient_step, NULL, 0);
    for (size_t i = 0; i < b.samples; i++)
        if (spike[i] != 0) out[place[i]] -= spike[i] * (real)call->scale;
    return deliver_losses(call, b, sample, vselect(vlt(vzero(), s.active), loss, vzero()));
}

typedef struct {
    const real *x;
    real *out;
    V margin, label, scale;
} Hinge;
FORCE_INLINE void hinge_step(const void *state, Sum *sums, Place at, int u) {
    const Hinge *s = state;
    const V m = (load_logits(s->x, at) - s->label) + s->margin;
    const M met = vle(m, vzero());
    sums[0].now[u] += vmax(vzero(), m);
    sums[1].now[u] += only(at.lanes, vselect(met, vzero(), vone()));
    store(s->out, at, vselect(met, vzero(), s->scale));
}
// The loss of a sample whose label has an infinite logit (or NaN), without the margins.
static real hinge_of_infinite(Block b, const real *x, size_t sample, real label, size_t own_class) {
    real loss = 0;
    for (size_t c = 0; c < b.classes; c++) {
        const real m = x[c * b.stride + sample] - label;
        if (c != own_class && !(m < 0)) loss += m;
    }
    return loss;
}
// The term of the label's own class is exactly the margin: it is summed with the others and subtracted at the end.
// Where the label's logit is infinite, that term is NaN, and counted whatever the margin.
FORCE_INLINE double hinge(const fastnn_samples *call, Block b, const real *x, const real *other, real *out,
                          size_t sample) {
    const real margin = (real)call->margin, own = margin > 0 ? margin : 0;
    real label[LANES] = {0}, infinite[LANES] = {0}, over[LANES], loss[LANES];
    size_t place[LANES];
    for (size_t i = 0; i < b.samples; i++) {
        const size_t class = fastnn_class_of(fastnn_label(call->labels, sample + i), b.classes);
        place[i] = class * b.stride + i;
        label[i] = x[place[i]];
        if (!__builtin_isfinite(label[i])) infinite[i] = hinge_of_infinite(b, x, i, label[i], class);
    }
    Sum sums[2] = {no_sum(), no_sum()};
    const Hinge s = {x, out, vset(margin), by_sample(b, label), vset((real)call->scale)};
    walk(b, &s, hinge_step, sums, 2);
    vstore(over, sum_of(b, &sums[1]));
    vstore(loss, sum_of(b, &sums[0]) - vset(own));
    for (size_t i = 0; i < b.samples; i++) {
        const bool finite = __builtin_isfinite(label[i]);
        const real others = over[i] - (real)(!finite || margin > 0);
        out[place[i]] = -others * (real)call->scale;
        if (!finite) loss[i] = infinite[i];
    }
    return (void)other, deliver_losses(call, b, sample, vload(loss));
}

// ---- losses of elements --------------------------------------------------------------------------------------------

// A formula is a loss of one element, and its slope.
typedef struct {
    V x, t, weight, pos_weight;  // weights that are not given are 1
    const V *numbers;
} Element;
typedef struct {
    V loss, slope;
} Term;
typedef Term Formula(Element e);

FORCE_INLINE Term mse(Element e) {
    const V d = e.x - e.t;
    return (Term){d * d, d + d};
}

// The loss is softplus(x) (1 - t) + softplus(-x) t pos_weight; a term with factor 0 is 0 for any x. The gradient has
// sigmoid(x) and -sigmoid(-x) in place of the two softplus.
FORCE_INLINE Term bce_with_logits(Element e) {
    const V x = e.x, t = e.t, zero = vzero();
    const V exp_x = exp_full(vnabs(x)), log1p_e = log1p_unit(exp_x), near = vone() / (vone() + exp_x);
    const V far = exp_x * near;
    const M positive = vlt(zero, x);
    const V no = (vone() - t) * e.weight, yes = t * e.pos_weight * e.weight;
    const V no_loss = no * (vmax(zero, x) + log1p_e), yes_loss = yes * (vmax(zero, -x) + log1p_e);
    const V slope = no * vselect(positive, near, far) - yes * vselect(positive, far, near);
    return (Term){vselect(vle(vabs(no), zero), zero, no_loss) + vselect(vle(vabs(yes), zero), zero, yes_loss), slope};
}

// The logarithms of probabilities are at least -100, and the slope's divisor at least 1e-12, as PyTorch has them.
FORCE_INLINE Term bce(Element e) {
    const V no = vone() - e.x, divisor = vmax(vset((real)1e-12), e.x * no);
    const V log_yes = log_of_probability(e.x, -no), log_no = log_of_probability(no, -e.x);
    return (Term){-e.weight * (e.t * log_yes + (vone() - e.t) * log_no), e.weight * ((e.x - e.t) / divisor)};
}

// A parabola up to a distance of x and t, and a line from there on, of the slope that the parabola has there.
FORCE_INLINE Term huber(Element e) {
    const V d = e.x - e.t, far = vabs(d), begin = e.numbers[0];
    const V slope = vselect(vlt(far, begin), far / e.numbers[1], e.numbers[2]);
    const V loss = slope * (far - vset((real)0.5) * vmin(begin, far));
    return (Term){loss, vselect(vlt(d, vzero()), -slope, vselect(vlt(vzero(), d), slope, d))};  // of 0 and NaN itself
}

// p (log p - x); where p is 0, it is 0 for any x but NaN.
FORCE_INLINE Term divergence(V x, V p, V log_p) {
    const V none = vselect(vle(vabs(x), vset((real)__builtin_inf())), vzero(), x);
    return (Term){vselect(vle(vabs(p), vzero()), none, p * (log_p - x)), -p};
}
FORCE_INLINE Term kl_div(Element e) { return divergence(e.x, e.t, log_full(e.t, e.t - vone())); }
FORCE_INLINE Term kl_div_of_log(Element e) { return divergence(e.x, exp_full(vmin(vset(EXP_LARGEST), e.t)), e.t); }

// The arrays of a loss: x, target, weight, pos_weight; the gradient, and the losses themselves. NULL: not given.
enum { READ = 4, ARRAYS = 6 };

// The losses of `vectors` whole vectors, FOLD at most. Neighbours take turns in the sum's two parts, as in `walk`.
FORCE_INLINE void add_elements(real *const *arrays, size_t first, size_t vectors, V scale, const V *numbers, Sum *sum,
                               Formula *formula) {
    V now = vzero(), next = vzero();
    for (size_t i = first; i < first + vectors * LANES; i += LANES) {
        Element e = {vload(arrays[0] + i), vload(arrays[1] + i), vone(), vone(), numbers};
        if (arrays[2] != NULL) e.weight = vload(arrays[2] + i);
        if (arrays[3] != NULL) e.pos_weight = vload(arrays[3] + i);
        const Term term = formula(e);
        const V sum_here = now + term.loss;
        vstore(arrays[READ] + i, term.slope * scale);
        if (arrays[READ + 1] != NULL) vstore(arrays[READ + 1] + i, term.loss);
        now = next, next = sum_here;
    }
    sum->now[0] = now, sum->now[1] = next;
}

// A loop of its own and not `walk`, so that a formula is compiled once: the part of a vector at the end is copied to a
// vector's room and goes the same way.
FORCE_INLINE double of_elements(const fastnn_samples *call, size_t first, size_t count, Formula *formula) {
    const void *const given[ARRAYS] = {call->x, call->other, call->weight, call->pos_weight, call->out, call->losses};
    real room[ARRAYS][LANES] = {{0}}, *arrays[ARRAYS], high[LANES], low[LANES];
    for (int k = 0; k < ARRAYS; k++) arrays[k] = given[k] != NULL ? (real *)given[k] + first : NULL;
    const V scale = vset((real)call->scale);
    const V numbers[] = {vset((real)call->numbers[0]), vset((real)call->numbers[1]), vset((real)call->numbers[2])};
    Sum sum = no_sum();
    for (size_t i = 0, part; i < count; i += part) {
        const size_t vectors = (count - i) / LANES, together = vectors < FOLD ? vectors : FOLD;
        const bool is_part = vectors == 0;
        part = is_part ? count - i : together * LANES;
        for (int k = 0; is_part && k < ARRAYS; k++) {
            if (arrays[k] == NULL) continue;
            memcpy(room[k], arrays[k] + i, part * sizeof(real));
            arrays[k] = room[k];
        }
        add_elements(arrays, is_part ? 0 : i, is_part ? 1 : together, scale, numbers, &sum, formula);
        if (is_part) sum.now[1] = only(part, sum.now[1]);
        for (int k = READ; is_part && k < ARRAYS; k++)
            if (arrays[k] != NULL) memcpy((real *)given[k] + first + i, room[k], part * sizeof(real));
        fold(&sum);
    }
    double total = 0;
    vstore(high, sum.total), vstore(low, low_of(&sum));
    for (int i = 0; i < LANES; i++) total += (double)high[i] + (double)low[i];
    return total;
}
#define ELEMENTS_KERNEL(name)                                                                          \
    static double name##_kernel(const fastnn_samples *call, size_t first, size_t count, void *tiles) { \
        return (void)tiles, of_elements(call, first, count, name);                                     \
    }
ELEMENTS_KERNEL(mse)
ELEMENTS_KERNEL(bce_with_logits)
ELEMENTS_KERNEL(bce)
ELEMENTS_KERNEL(huber)
ELEMENTS_KERNEL(kl_div)
ELEMENTS_KERNEL(kl_div_of_log)

// ---- from samples to blocks ----------------------------------------------------------------------------------------

// Two forms of samples are copied to a tile, where they are columns side by side: short rows, whose vectors would be
// half empty, and columns in memory. The classes of a column are far apart in memory, so that they compete for few
// lines of the caches, and memory is quicker to read in longer runs than a vector. The next tile is prefetched
// meanwhile.
enum {
    TILE_CLASSES = 256,
    SHORT_ROW = 24,
    TILE_COLUMNS = 384 / sizeof(real),
    TILE_SPACE = SAMPLES_TILE_BYTES / sizeof(real),  // at least 2 LANES columns of TILE_CLASSES
};

FORCE_INLINE size_t offset_of(const fastnn_samples *call, size_t sample) {
    if (call->inner == 1) return sample * call->classes;
    return sample / call->inner * call->inner * call->classes + sample % call->inner;
}
// Whether neighbouring samples are adjacent in memory, at least LANES of them. Then a tile's samples have the same
// outer index.
FORCE_INLINE bool are_columns(const fastnn_samples *call) { return call->inner >= LANES; }
FORCE_INLINE size_t left_of_columns(const fastnn_samples *call, size_t sample) {
    return call->inner - sample % call->inner;
}

static void gather(const fastnn_samples *call, size_t first, size_t count, const real *from, real *tile,
                   size_t stride) {
    if (are_columns(call)) {
        const real *row = from + offset_of(call, first);
        for (size_t c = 0; c < call->classes; c++, row += call->inner, tile += stride) {
            size_t s = 0;
            for (; s + LANES <= count; s += LANES) {
                __builtin_prefetch(row + s + count, 0, 2);
                vstore(tile + s, vload(row + s));
            }
            if (s < count) vstore(tile + s, vload_part(row + s, count - s));
        }
        return;
    }
    for (size_t s = 0; s < count && call->inner == 1; s += LANES)
        load_as_columns(count - s < LANES ? count - s : LANES, call->classes, from + offset_of(call, first + s),
                        tile + s, stride);
    if (call->inner == 1) return;
    if (count % LANES != 0) memset(tile, 0, call->classes * stride * sizeof(real));
    for (size_t s = 0; s < count; s++) {
        const real *sample = from + offset_of(call, first + s);
        for (size_t c = 0; c < call->classes; c++) tile[c * stride + s] = sample[c * call->inner];
    }
}
static void scatter(const fastnn_samples *call, size_t first, size_t count, real *to, const real *tile, size_t stride) {
    if (are_columns(call)) {
        real *row = to + offset_of(call, first);
        for (size_t c = 0; c < call->classes; c++, row += call->inner, tile += stride) {
            size_t s = 0;
            for (; s + LANES <= count; s += LANES) {
                __builtin_prefetch(row + s + count, 1, 2);
                vstore(row + s, vload(tile + s));
            }
            if (s < count) vstore_part(row + s, count - s, vload(tile + s));
        }
        return;
    }
    for (size_t s = 0; s < count && call->inner == 1; s += LANES)
        store_as_rows(count - s < LANES ? count - s : LANES, call->classes, tile + s, stride,
                      to + offset_of(call, first + s));
    if (call->inner == 1) return;
    for (size_t s = 0; s < count; s++) {
        real *sample = to + offset_of(call, first + s);
        for (size_t c = 0; c < call->classes; c++) sample[c * call->inner] = tile[c * stride + s];
    }
}

FORCE_INLINE double run_tiles(const fastnn_samples *call, size_t first, size_t count, real *x, Operation *columns) {
    real *other = x + TILE_SPACE;
    const size_t room = TILE_SPACE / call->classes / LANES * LANES;
    const size_t stride = room < TILE_COLUMNS ? room : TILE_COLUMNS;
    double loss = 0;
    for (size_t at = first, end = first + count, samples; at < end; at += samples) {
        samples = end - at < stride ? end - at : stride;
        if (are_columns(call) && samples > left_of_columns(call, at)) samples = left_of_columns(call, at);
        gather(call, at, samples, call->x, x, stride);
        if (call->other != NULL) gather(call, at, samples, call->other, other, stride);
        for (size_t s = 0; s < samples; s += LANES) {
            const size_t inside = samples - s < LANES ? samples - s : LANES;
            const Block b = {.classes = call->classes, .samples = inside, .lanes = LANES, .stride = stride};
            loss += columns(call, b, x + s, call->other != NULL ? other + s : NULL, x + s, at + s);
        }
        scatter(call, at, samples, call->out, x, stride);
    }
    return loss;
}

FORCE_INLINE double run_columns(const fastnn_samples *call, size_t first, size_t count, Operation *columns) {
    const real *x = call->x, *other = call->other;
    real *out = call->out;
    double loss = 0;
    for (size_t at = first, end = first + count, samples; at < end; at += samples) {
        const size_t offset = offset_of(call, at);
        samples = left_of_columns(call, at);
        if (samples > end - at) samples = end - at;
        if (samples > LANES) samples = LANES;
        const Block b = {.classes = call->classes, .samples = samples, .lanes = samples, .stride = call->inner};
        loss += columns(call, b, x + offset, other != NULL ? other + offset : NULL, out + offset, at);
    }
    return loss;
}

FORCE_INLINE double run_rows(const fastnn_samples *call, size_t first, size_t count, real *space,
                             Operation *operation) {
    const Block b = {.row = true, .classes = call->classes, .samples = 1, .stride = 1, .space = space};
    const real *x = call->x, *other = call->other;
    real *out = call->out;
    double loss = 0;
    for (size_t s = first; s < first + count; s++) {
        const size_t i = s * call->classes;
        loss += operation(call, b, x + i, other != NULL ? other + i : NULL, out + i, s);
    }
    return loss;
}

#define SAMPLES_KERNEL(name)                                                                                   \
    static __attribute__((noinline)) double name##_columns(const fastnn_samples *call, Block b, const real *x, \
                                                           const real *other, real *out, size_t sample) {      \
        b.row = false;                                                                                         \
        return name(call, b, x, other, out, sample);                                                           \
    }                                                                                                          \
    static double name##_kernel(const fastnn_samples *call, size_t first, size_t count, void *tiles) {         \
        if (call->classes <= (call->inner == 1 ? SHORT_ROW : TILE_CLASSES))                                    \
            return run_tiles(call, first, count, tiles, name##_columns);                                       \
        return call->inner == 1 ? run_rows(call, first, count, tiles, name)                                    \
                                : run_columns(call, first, count, name##_columns);                             \
    }
SAMPLES_KERNEL(softmax)
SAMPLES_KERNEL(log_softmax)
SAMPLES_KERNEL(softmax_backward)
SAMPLES_KERNEL(log_softmax_backward)
SAMPLES_KERNEL(cross_entropy)
SAMPLES_KERNEL(hinge)

// Sums of a few weights are added up with the rounding errors of the additions (Knuth's exact sum).
static double sum_weights(size_t count, const int64_t *labels, size_t classes, int64_t ignored, const void *weight) {
    enum { FEW = 64 };
    double total = 0, low = 0;
    for (size_t i = 0; i < count;) {
        double part = 0;
        for (const size_t end = i + FEW < count ? i + FEW : count; i < end; i++) {
            const int64_t label = fastnn_label(labels, i);
            if (label != ignored) part += (double)((const real *)weight)[fastnn_class_of(label, classes)];
        }
        const double sum = total + part, added = sum - total;
        low += (total - (sum - added)) + (part - added);
        total = sum;
    }
    return __builtin_isfinite(total) ? total + low : total;
}

const fastnn_softmax_table FASTNN_TABLE(softmax) = {
    .kernels =
        {
            [FASTNN_SOFTMAX] = softmax_kernel,
            [FASTNN_LOG_SOFTMAX] = log_softmax_kernel,
            [FASTNN_SOFTMAX_BACKWARD] = softmax_backward_kernel,
            [FASTNN_LOG_SOFTMAX_BACKWARD] = log_softmax_backward_kernel,
            [FASTNN_CROSS_ENTROPY] = cross_entropy_kernel,
            [FASTNN_HINGE] = hinge_kernel,
            [FASTNN_BCE_WITH_LOGITS] = bce_with_logits_kernel,
            [FASTNN_BCE] = bce_kernel,
            [FASTNN_MSE] = mse_kernel,
            [FASTNN_HUBER] = huber_kernel,
            [FASTNN_KL_DIV] = kl_div_kernel,
            [FASTNN_KL_DIV_OF_LOG] = kl_div_of_log_kernel,
        },
    .sum_weights = sum_weights,
};
