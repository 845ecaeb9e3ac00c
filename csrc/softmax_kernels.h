// Softmax and the losses.
#ifndef FASTNN_SOFTMAX_KERNELS_H
#define FASTNN_SOFTMAX_KERNELS_H

#include "kernels.h"

typedef struct fastnn_softmax_table {
    int unused;
} fastnn_softmax_table;

#endif
