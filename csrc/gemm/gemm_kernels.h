// Matrix products on one thread: c (m, n) = a (m, k) b (k, n), or c += with `add`.
//
// A tile of c, `rows` x `columns` elements, is summed in registers, over blocks of k. The left factor is read element
// by element, in any layout in which a few rows at a time are not too far apart; the right one in vectors, from panels:
//
//   Panel p has `columns` columns of b, from column p `columns` on, for all of k. Its element (l, j) is number
//   l `columns` + j of the panel. Panel p begins p k `columns` elements after the first one, which is aligned to 64
//   bytes. Elements right of b's last column in the last panel may be anything: their products are thrown away.
#ifndef FASTNN_GEMM_KERNELS_H
#define FASTNN_GEMM_KERNELS_H

#include "runtime/tables.h"

// The left factor as the kernels read it: element (p `rows` + i, l) of the matrix, with i < `rows`, is
// data[p * panel + i * row + l * column].
typedef struct {
    const void *data;
    ptrdiff_t panel, row, column;
} fastnn_left;

typedef struct fastnn_gemm_table {
    size_t bytes;          // of an element
    size_t rows, columns;  // of a tile of c: of the left factor's panels, and of the right one's

    // How many elements the packed factors take, how they are packed, and the product of them; element (i, j) of c is
    // c[i * row + j * column].
    size_t (*left_size)(size_t m, size_t k);
    size_t (*right_size)(size_t k, size_t n);  // ceil(n / columns) * columns * k
    // The result points to `memory` (aligned to 64 bytes) or, if `a` can be read in place, to `a`. Rows from i on, a
    // multiple of `rows`, may be packed by another call, to memory that begins left_size(i, k) elements later.
    fastnn_left (*pack_left)(size_t m, size_t k, fastnn_matrix a, void *memory);
    void (*pack_right)(size_t k, size_t n, fastnn_matrix b, void *panels);
    void (*multiply_packed)(size_t m, size_t n, size_t k, fastnn_left a, const void *panels, void *c, ptrdiff_t row,
                            ptrdiff_t column, bool add);

    // The product without scratch memory, for m <= `few` rows of contiguous elements, and b with contiguous rows or
    // columns.
    size_t few;
    void (*multiply_few)(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, ptrdiff_t row,
                         ptrdiff_t column, bool add);
} fastnn_gemm_table;

#endif
