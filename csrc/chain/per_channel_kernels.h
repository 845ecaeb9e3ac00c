// The numbers of each channel: what the kernels of arrays (channel_kernels.h) take, and running statistics.
#ifndef FASTNN_PER_CHANNEL_KERNELS_H
#define FASTNN_PER_CHANNEL_KERNELS_H

#include "runtime/tables.h"

// Per-channel arrays of the computing dtype: y = (x - center) scale + shift and xhat = (x - center) rstd.
typedef struct {
    char *center, *scale, *shift, *rstd;
} fastnn_scaling;

// Per-channel arrays of the computing dtype: dx = a g + b xhat + c.
typedef struct {
    char *a, *b, *c;
} fastnn_gradient_line;

typedef struct fastnn_per_channel_table {
    // From m2 (merge_moments.h) of channels of `count` elements, which is in `variance`, their variance and rstd. False
    // if a variance is not finite.
    bool (*statistics)(size_t channels, double count, double eps, double *variance, double *rstd);
    // Fills `scaling` for channels first ... end - 1 from the chain's mean, rstd, weight and bias.
    void (*find_scaling)(const fastnn_chain *chain, size_t first, size_t end, const fastnn_scaling *scaling);
    // Makes the sums over channels first ... end - 1 of g (sums[0]) and of g xhat (sums[1]) dbias and dweight.
    void (*find_dweight)(const fastnn_chain *chain, size_t first, size_t end, double *const *sums);
    // In training: fills `line` from dbias and dweight.
    void (*find_line)(const fastnn_chain *chain, size_t first, size_t end, double *const *sums,
                      const fastnn_gradient_line *line);

    // See fastnn_moments_to_sums and fastnn_sums_to_statistics (fastnn.h).
    void (*moments_to_sums)(const fastnn_chain *chain, const double *near, double *sums);
    bool (*sums_to_statistics)(const fastnn_chain *chain, const double *sums, const double *near);

    // See fastnn_evaluation and fastnn_update_running (fastnn.h).
    void (*evaluation)(size_t channels, double eps, const void *running_mean, const void *running_var, double *mean,
                       double *rstd);
    void (*update_running)(size_t channels, void *running_mean, void *running_var, const double *mean,
                           const double *variance, double factor, double momentum, bool skip);
} fastnn_per_channel_table;

#endif
