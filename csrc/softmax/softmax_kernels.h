// The kernels of softmax and the losses.
#ifndef FASTNN_SOFTMAX_KERNELS_H
#define FASTNN_SOFTMAX_KERNELS_H

#include "runtime/tables.h"

// An operation on samples first ... first + count - 1 of a call. A loss returns the sum of their losses, others 0.
typedef double fastnn_samples_kernel(const fastnn_samples *call, size_t first, size_t count);

typedef struct fastnn_softmax_table {
    fastnn_samples_kernel *kernels[FASTNN_SAMPLES_OPERATIONS];
    // The sum of the weights of the labels' classes, without those of labels that are `ignored`.
    double (*sum_weights)(size_t count, const int64_t *labels, int64_t ignored, const void *weight);
} fastnn_softmax_table;

#endif
