// Softmax and the losses.
#ifndef FASTNN_SOFTMAX_KERNELS_H
#define FASTNN_SOFTMAX_KERNELS_H

#include "runtime/tables.h"

// Samples first ... first + count - 1 of a call. Returns the sum of their losses, if it is a loss.
typedef double fastnn_samples_kernel(const fastnn_samples *call, size_t first, size_t count);

typedef struct fastnn_softmax_table {
    fastnn_samples_kernel *kernels[FASTNN_SAMPLES_KERNELS];
} fastnn_softmax_table;

#endif
