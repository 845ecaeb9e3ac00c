// Matrix products. Compiled once for each instruction set and dtype.
#include "gemm_kernels.h"

#include "simd/simd.h"

static size_t scratch(size_t m, size_t n, size_t k) {
    (void)m, (void)n, (void)k;
    return 64;
}

static void multiply(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, size_t ldc, bool add,
                     void *scratch) {
    (void)scratch;
    const real *left = a.data, *right = b.data;
    for (size_t i = 0; i < m; i++) {
        real *to = (real *)c + i * ldc;
        for (size_t j = 0; j < n; j++) {
            real sum = add ? to[j] : 0;
            for (size_t l = 0; l < k; l++)
                sum += left[(ptrdiff_t)i * a.row + (ptrdiff_t)l * a.column] *
                       right[(ptrdiff_t)l * b.row + (ptrdiff_t)j * b.column];
            to[j] = sum;
        }
    }
}

const fastnn_gemm_table FASTNN_TABLE(gemm) = {.scratch = scratch, .multiply = multiply};
