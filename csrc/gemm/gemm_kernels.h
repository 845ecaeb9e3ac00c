// Matrix products on one thread: c (m, n) = a (m, k) b (k, n).
//
// A tile of c, `rows` x `columns` elements, is summed in registers, over blocks of k. The left factor is read element
// by element, in any layout in which a few rows at a time are not too far apart; the right one in vectors, from panels:
//
//   Panel p has columns p `columns` and following of b, for all of k. Its element (l, j) is number l `columns` + j of
//   the panel, and panel p begins k `columns` p elements after the first, which is aligned to 64 bytes. What is right
//   of b's last column in the last panel may be anything: its products are thrown away.
//
// Whoever can write this format, like a convolution that makes its patches, need not call pack_right.
#ifndef FASTNN_GEMM_KERNELS_H
#define FASTNN_GEMM_KERNELS_H

#include "runtime/tables.h"

// The left factor as the kernels read it: rows p `rows` ... of the matrix are data[p * panel + i * row + l * column].
typedef struct {
    const void *data;
    ptrdiff_t panel, row, column;
} fastnn_left;

typedef struct fastnn_gemm_table {
    size_t rows, columns;  // of a tile of c: of the left factor's panels, and the right one's
    // The bytes of scratch memory, aligned to 64, that a product takes.
    size_t (*scratch)(size_t m, size_t n, size_t k);
    // c (m, n) = a (m, k) b (k, n), or c += with `add`; rows of c are contiguous and `ldc` elements apart. On one
    // thread.
    void (*multiply)(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, size_t ldc, bool add,
                     void *scratch);

    // The same in parts. How many elements the packed factors take, how they are packed, and the product of them;
    // element (i, j) of c is c[i * row + j * column].
    size_t (*left_size)(size_t m, size_t k);
    size_t (*right_size)(size_t k, size_t n);  // ceil(n / columns) * columns * k
    // May read `a` where it lies: it must stay, and `memory` (aligned to 64), as long as the result is used. Rows from
    // i on, a multiple of `rows`, may be packed apart, to memory that begins left_size(i, k) elements later.
    fastnn_left (*pack_left)(size_t m, size_t k, fastnn_matrix a, void *memory);
    void (*pack_right)(size_t k, size_t n, fastnn_matrix b, void *panels);
    void (*multiply_packed)(size_t m, size_t n, size_t k, fastnn_left a, const void *panels, void *c, ptrdiff_t row,
                            ptrdiff_t column, bool add);

    // The same for m <= few rows of contiguous elements, and b with contiguous rows or columns: without scratch memory.
    size_t few;
    void (*multiply_few)(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, ptrdiff_t row,
                         ptrdiff_t column, bool add);
} fastnn_gemm_table;

#endif
