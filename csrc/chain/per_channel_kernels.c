// The numbers of each channel that the kernels of arrays take: from moments, statistics, weight and bias to scale and
// shift, from sums to gradients, and running statistics. Compiled once for each instruction set and dtype, as all
// kernels; a channel has few of them, so that short code counts more than a fast loop.
#include "chain/per_channel_kernels.h"

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

static double count_of(const fastnn_chain *chain) { return (double)(chain->outer * chain->inner); }
static double mean_of(const fastnn_chain *chain, size_t channel) { return chain->mean ? chain->mean[channel] : 0; }
static double rstd_of(const fastnn_chain *chain, size_t channel) { return chain->rstd ? chain->rstd[channel] : 1; }
static double weight_of(const fastnn_chain *chain, size_t channel) {
    return chain->weight ? (double)((const real *)chain->weight)[channel] : 1;
}
static double bias_of(const fastnn_chain *chain, size_t channel) {
    return chain->bias ? (double)((const real *)chain->bias)[channel] : 0;
}
// `center`, which is subtracted from x: the mean as a `real`. It is 0 where the deviations are so large that a
// difference may overflow, since nothing cancels there: one of n elements is at most sqrt(n) standard deviations from
// the mean.
FORCE_INLINE real center_of(const fastnn_chain *chain, size_t channel) {
    const double count = count_of(chain) + 4096;
    return rstd_of(chain, channel) <= __builtin_sqrt(count) / (double)REAL_MAX ? 0 : (real)mean_of(chain, channel);
}
// The difference between the mean and `center`, which may be large beside the deviations, goes into the numbers that
// are added.
FORCE_INLINE double center_error(const fastnn_chain *chain, size_t channel) {
    const double mean = mean_of(chain, channel);
    return (mean - (double)center_of(chain, channel)) + (chain->mean_low ? chain->mean_low[channel] : 0);
}

static void find_scaling(const fastnn_chain *chain, size_t first, size_t end, const fastnn_scaling *scaling) {
    real *center = (real *)scaling->center, *scale = (real *)scaling->scale;
    real *shift = (real *)scaling->shift, *rstd = (real *)scaling->rstd;
    for (size_t c = first; c < end; c++) {
        const double factor = weight_of(chain, c) * rstd_of(chain, c);
        center[c] = center_of(chain, c);
        rstd[c] = (real)rstd_of(chain, c);
        scale[c] = (real)factor;
        shift[c] = (real)(bias_of(chain, c) - center_error(chain, c) * factor);
    }
}

// dx = weight rstd (g - mean(g) - xhat mean(g xhat)), with means over the channel and xhat = (x - mean) rstd. The sums
// of g xhat are taken with center instead of mean, which is made up for here.
static void find_gradient(const fastnn_chain *chain, size_t first, size_t end, double *const *sums,
                          const fastnn_gradient_line *line) {
    const double count = count_of(chain);
    for (size_t i = first; i < end; i++) {
        const double rstd = rstd_of(chain, i), error = center_error(chain, i) * rstd;
        const double sum = sums[0][i], dweight = sums[1][i] - error * sum, scale = weight_of(chain, i) * rstd;
        sums[1][i] = dweight;
        if (!chain->training) continue;
        ((real *)line->a)[i] = (real)scale;
        ((real *)line->b)[i] = (real)(-scale * (dweight / count));
        ((real *)line->c)[i] = (real)(scale * (error * (dweight / count) - sum / count));
    }
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

const fastnn_per_channel_table FASTNN_TABLE(per_channel) = {statistics, find_scaling, find_gradient, evaluation,
                                                            update_running};
