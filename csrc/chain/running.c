// Batch norm's running statistics: how evaluation takes them, and how training updates them.
#include "chain/per_channel_kernels.h"

void fastnn_evaluation(bool float64, size_t channels, double eps, const void *running_mean, const void *running_var,
                       double *mean, double *rstd) {
    fastnn_current(float64)->per_channel->evaluation(channels, eps, running_mean, running_var, mean, rstd);
}

void fastnn_update_running(bool float64, size_t channels, void *running_mean, void *running_var, const double *mean,
                           const double *variance, double factor, double momentum, bool skip) {
    fastnn_current(float64)->per_channel->update_running(channels, running_mean, running_var, mean, variance, factor,
                                                         momentum, skip);
}
