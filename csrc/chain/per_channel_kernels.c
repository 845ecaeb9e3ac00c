// The numbers of each channel that the kernels of arrays take: from moments, statistics, weight and bias to scale and
// shift, from sums to gradients, and running statistics. Compiled once for each instruction set and dtype, as all
// kernels.
#include "chain/per_channel_kernels.h"

#include <string.h>

#include "math/merge_moments.h"
#include "simd/simd.h"

// A loop over n channels, eight at a time: a loop of constant length is what compilers vectorise at -O2. It is for
// those with a root, of which a vector takes as long as a number.
#define FOR_EIGHT(n, step, ...)                                           \
    do {                                                                  \
        size_t c_ = 0;                                                    \
        for (; c_ + 8 <= (n); c_ += 8)                                    \
            for (size_t k_ = 0; k_ < 8; k_++) step(c_ + k_, __VA_ARGS__); \
        for (; c_ < (n); c_++) step(c_, __VA_ARGS__);                     \
    } while (0)

// Steps over channels first ... end - 1, some at a time.
#define FOR_SOME(first, end, step, chain, ...)                                     \
    do {                                                                           \
        size_t c_ = (first);                                                       \
        for (; c_ + SOME <= (end); c_ += SOME) step(chain, c_, SOME, __VA_ARGS__); \
        for (; c_ < (end); c_++) step(chain, c_, 1, __VA_ARGS__);                  \
    } while (0)

// The numbers of some channels, eight or one. Beyond these, and for what the chain does not have, they are such as
// change nothing.
enum { SOME = 8 };
typedef struct {
    double mean[SOME], mean_low[SOME], rstd[SOME], weight[SOME], bias[SOME];
} some_channels;

static size_t own_count(const fastnn_chain *chain) { return chain->outer * chain->inner; }
static double count_of(const fastnn_chain *chain) { return (double)(own_count(chain) + chain->elsewhere); }

FORCE_INLINE void take_doubles(double *to, size_t count, const double *from, size_t first, double otherwise) {
    for (size_t k = 0; k < SOME; k++) to[k] = otherwise;
    if (from == NULL) return;
    for (size_t k = 0; k < count; k++) to[k] = from[first + k];
}
FORCE_INLINE void take_reals(double *to, size_t count, const real *from, size_t first, double otherwise) {
    for (size_t k = 0; k < SOME; k++) to[k] = otherwise;
    if (from == NULL) return;
    for (size_t k = 0; k < count; k++) to[k] = (double)from[first + k];
}
FORCE_INLINE void take_channels(some_channels *some, const fastnn_chain *chain, size_t first, size_t count) {
    take_doubles(some->mean, count, chain->mean, first, 0);
    take_doubles(some->mean_low, count, chain->mean_low, first, 0);
    take_doubles(some->rstd, count, chain->rstd, first, 1);
    take_reals(some->weight, count, chain->weight, first, 1);
    take_reals(some->bias, count, chain->bias, first, 0);
}

// `center`, which is subtracted from x: the mean as a `real`. It is 0 where the deviations are so large that a
// difference may overflow, since nothing cancels there: one of n elements is at most sqrt(n) standard deviations from
// the mean.
FORCE_INLINE real center_of(const some_channels *some, size_t k, double least_rstd) {
    return (real)(some->rstd[k] <= least_rstd ? 0 : some->mean[k]);
}
static double least_rstd(const fastnn_chain *chain) {
    return __builtin_sqrt(count_of(chain) + 4096) / (double)REAL_MAX;
}
// The difference between the mean and `center`, which may be large beside the deviations, goes into the numbers that
// are added.
FORCE_INLINE double center_error(const some_channels *some, size_t k, double center) {
    return (some->mean[k] - center) + some->mean_low[k];
}

FORCE_INLINE void scaling_step(const fastnn_chain *chain, size_t first, size_t count, const fastnn_scaling *scaling,
                               double least) {
    some_channels some;
    real center[SOME], scale[SOME], shift[SOME], rstd[SOME];
    take_channels(&some, chain, first, count);
    for (size_t k = 0; k < SOME; k++) {
        const double factor = some.weight[k] * some.rstd[k];
        center[k] = center_of(&some, k, least);
        rstd[k] = (real)some.rstd[k];
        scale[k] = (real)factor;
        shift[k] = (real)(some.bias[k] - center_error(&some, k, (double)center[k]) * factor);
    }
    memcpy((real *)scaling->center + first, center, count * sizeof(real));
    memcpy((real *)scaling->scale + first, scale, count * sizeof(real));
    memcpy((real *)scaling->shift + first, shift, count * sizeof(real));
    memcpy((real *)scaling->rstd + first, rstd, count * sizeof(real));
}
static void find_scaling(const fastnn_chain *chain, size_t first, size_t end, const fastnn_scaling *scaling) {
    const double least = least_rstd(chain);
    FOR_SOME(first, end, scaling_step, chain, scaling, least);
}

// What the mean is more than center, in standard deviations. The sums of g xhat are taken with center instead of mean,
// which is made up for here.
FORCE_INLINE double relative_error(const some_channels *some, size_t k, double least) {
    return center_error(some, k, (double)center_of(some, k, least)) * some->rstd[k];
}

FORCE_INLINE void dweight_step(const fastnn_chain *chain, size_t first, size_t count, double *const *sums,
                               double least) {
    some_channels some;
    double sum[SOME], error[SOME];
    take_channels(&some, chain, first, count);
    take_doubles(sum, count, sums[0], first, 0);
    for (size_t k = 0; k < SOME; k++) error[k] = relative_error(&some, k, least) * sum[k];
    for (size_t k = 0; k < count; k++) sums[1][first + k] -= error[k];
}
static void find_dweight(const fastnn_chain *chain, size_t first, size_t end, double *const *sums) {
    const double least = least_rstd(chain);
    FOR_SOME(first, end, dweight_step, chain, sums, least);
}

// dx = weight rstd (g - mean(g) - xhat mean(g xhat)), with means over the channel and xhat = (x - mean) rstd.
FORCE_INLINE void line_step(const fastnn_chain *chain, size_t first, size_t count, double *const *sums,
                            const fastnn_gradient_line *line, double elements, double least) {
    some_channels some;
    double dbias[SOME], dweight[SOME];
    real a[SOME], b[SOME], c[SOME];
    take_channels(&some, chain, first, count);
    take_doubles(dbias, count, sums[0], first, 0);
    take_doubles(dweight, count, sums[1], first, 0);
    for (size_t k = 0; k < SOME; k++) {
        const double scale = some.weight[k] * some.rstd[k], slope = dweight[k] / elements;
        a[k] = (real)scale;
        b[k] = (real)(-scale * slope);
        c[k] = (real)(scale * (relative_error(&some, k, least) * slope - dbias[k] / elements));
    }
    memcpy((real *)line->a + first, a, count * sizeof(real));
    memcpy((real *)line->b + first, b, count * sizeof(real));
    memcpy((real *)line->c + first, c, count * sizeof(real));
}
static void find_line(const fastnn_chain *chain, size_t first, size_t end, double *const *sums,
                      const fastnn_gradient_line *line) {
    const double elements = count_of(chain), least = least_rstd(chain);
    FOR_SOME(first, end, line_step, chain, sums, line, elements, least);
}

// Builtins stand for <math.h>, whose exp and tanh cannot be declared beside those of activations.h.
FORCE_INLINE double rstd_from(double variance, double eps) { return 1 / __builtin_sqrt(variance + eps); }

FORCE_INLINE void statistics_step(size_t c, double count, double eps, double *variance, double *rstd) {
    variance[c] /= count;
    rstd[c] = rstd_from(variance[c], eps);
}
static bool statistics(size_t channels, double count, double eps, double *restrict variance, double *restrict rstd) {
    FOR_EIGHT(channels, statistics_step, count, eps, variance, rstd);
    bool finite = true;
    for (size_t c = 0; c < channels; c++) finite &= variance[c] <= DBL_MAX;
    return finite;
}

// ---- batches of several processes ----------------------------------------------------------------------------------

// How many squared standard deviations the mean may be from `near`: the variance loses so many times the rounding of a
// double. Beside `eps` a smaller variance is as good as 0.
#define FAR 64.0

static void moments_to_sums(const fastnn_chain *chain, const double *near, double *sums) {
    const size_t channels = chain->channels;
    const double count = (double)own_count(chain);
    sums[0] = count;
    for (size_t c = 0; c < channels; c++) {
        const double d = (chain->mean[c] - near[c]) + chain->mean_low[c];
        sums[1 + c] = count * d;
        sums[1 + channels + c] = chain->variance[c] + count * d * d;
    }
}

static bool sums_to_statistics(const fastnn_chain *chain, const double *sums, const double *near) {
    const size_t channels = chain->channels;
    const double count = sums[0], nan = (double)__builtin_nanf("");
    bool far = false;
    for (size_t c = 0; c < channels; c++) {
        const double d = sums[1 + c] / count, m2 = sums[1 + channels + c] - sums[1 + c] * d;
        far |= __builtin_isfinite(d) && !(d * d <= FAR * (m2 / count + chain->eps));
        chain->mean[c] = near[c];
        chain->mean_low[c] = 0;
        chain->variance[c] = m2 < 0 ? 0 : m2;
        add_exactly(&chain->mean[c], &chain->mean_low[c], d);
    }
    if (statistics(channels, count, chain->eps, chain->variance, chain->rstd)) return far;
    for (size_t c = 0; c < channels; c++)
        if (!(chain->variance[c] <= DBL_MAX)) chain->variance[c] = chain->rstd[c] = nan;
    return far;
}

// ---- running statistics --------------------------------------------------------------------------------------------

FORCE_INLINE void evaluation_step(size_t c, double eps, const real *running_mean, const real *running_var, double *mean,
                                  double *rstd) {
    mean[c] = (double)running_mean[c];
    rstd[c] = rstd_from((double)running_var[c], eps);
}
static void evaluation(size_t channels, double eps, const void *running_mean, const void *running_var,
                       double *restrict mean, double *restrict rstd) {
    const real *from_mean = running_mean, *from_var = running_var;
    FOR_EIGHT(channels, evaluation_step, eps, from_mean, from_var, mean, rstd);
}

static void update_running(size_t channels, void *running_mean, void *running_var, const double *mean,
                           const double *variance, double factor, double momentum, bool skip) {
    real *const running[] = {running_mean, running_var};
    for (size_t c = 0; c < channels; c++) {
        const double batch[] = {mean[c], factor * variance[c]};
        if (skip && !(__builtin_isfinite((real)batch[0]) && __builtin_isfinite((real)batch[1]))) continue;
        for (int i = 0; i < 2; i++)
            running[i][c] = (real)((1 - momentum) * (double)running[i][c] + momentum * batch[i]);
    }
}

const fastnn_per_channel_table FASTNN_TABLE(per_channel) = {
    .statistics = statistics,
    .find_scaling = find_scaling,
    .find_dweight = find_dweight,
    .find_line = find_line,
    .moments_to_sums = moments_to_sums,
    .sums_to_statistics = sums_to_statistics,
    .evaluation = evaluation,
    .update_running = update_running,
};
