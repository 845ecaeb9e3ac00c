// The kernels of softmax and the losses.
#ifndef FASTNN_SOFTMAX_KERNELS_H
#define FASTNN_SOFTMAX_KERNELS_H

#include "runtime/tables.h"

enum { SAMPLES_TILE_BYTES = 32 << 10 };

// The class of a label. Labels are checked before a call, but another thread may write to them meanwhile: then the
// result is of no use, but nothing outside the arrays is read or written.
static inline size_t fastnn_class_of(int64_t label, size_t classes) {
    return (uint64_t)label < classes ? (size_t)label : 0;
}
static inline int64_t fastnn_label(const int64_t *labels, size_t sample) {
    return __atomic_load_n(labels + sample, __ATOMIC_RELAXED);  // read once, whatever is done with it
}

// An operation on samples first ... first + count - 1 of a call. A loss returns the sum of their losses, others 0.
// `tiles`: scratch memory, two tiles of SAMPLES_TILE_BYTES.
typedef double fastnn_samples_kernel(const fastnn_samples *call, size_t first, size_t count, void *tiles);

typedef struct fastnn_softmax_table {
    fastnn_samples_kernel *kernels[FASTNN_SAMPLES_OPERATIONS];
    // The sum of the weights of the labels' classes, without those of labels that are `ignored`.
    double (*sum_weights)(size_t count, const int64_t *labels, size_t classes, int64_t ignored, const void *weight);
} fastnn_softmax_table;

#endif
