// Windows that slide over images: what convolution and pooling read and write.
#ifndef FASTNN_WINDOW_KERNELS_H
#define FASTNN_WINDOW_KERNELS_H

#include "kernels.h"

typedef struct fastnn_window_table {
    int none;
} fastnn_window_table;

#endif
