// The steps of the optimisers.
#ifndef FASTNN_OPTIMIZER_KERNELS_H
#define FASTNN_OPTIMIZER_KERNELS_H

#include "kernels.h"

typedef struct fastnn_optimizer_table {
    int none;
} fastnn_optimizer_table;

#endif
