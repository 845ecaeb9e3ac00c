// Matrix products.
#ifndef FASTNN_GEMM_KERNELS_H
#define FASTNN_GEMM_KERNELS_H

#include "kernels.h"

// Element (i, j) is data[i * row + j * column]; strides count elements.
typedef struct {
    const void *data;
    ptrdiff_t row, column;
} fastnn_matrix;

typedef struct fastnn_gemm_table {
    // The bytes of scratch memory, aligned to 64, that a product takes.
    size_t (*scratch)(size_t m, size_t n, size_t k);
    // c (m, n) = a (m, k) b (k, n), or c += with `add`; rows of c are contiguous and `ldc` elements apart. On one
    // thread.
    void (*multiply)(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, size_t ldc, bool add,
                     void *scratch);
} fastnn_gemm_table;

#endif
