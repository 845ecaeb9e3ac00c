// Norms over contiguous rows: layer norm, RMS norm, group norm.
#ifndef FASTNN_ROW_KERNELS_H
#define FASTNN_ROW_KERNELS_H

#include "kernels.h"

typedef struct fastnn_row_table {
    int unused;
} fastnn_row_table;

#endif
