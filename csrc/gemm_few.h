// Products whose left factor has a few rows: the right factor, most of the memory, is read once and where it lies, and
// nothing is packed. Part of gemm_kernels.c.
#ifndef FASTNN_GEMM_FEW_H
#define FASTNN_GEMM_FEW_H

#include "gemm_tile.h"

// Rows and columns (or vectors of columns) that are summed together: enough to hide the latency of the sums, and few
// enough for the registers.
enum { FEW_ROWS = REGISTERS == 32 ? 24 : 12, GROUP_ROWS = REGISTERS == 32 ? 4 : 2, GROUP_COLUMNS = 4 };

// Some rows of a, with k contiguous, some columns of b, and where the products of them go.
typedef struct {
    size_t k;
    const real *a, *b;
    ptrdiff_t a_row, b_stride;  // from row to row; of b the one that is not 1
    real *c;
    ptrdiff_t row, column;
    bool add;
} Few;

static void put_group(const Few *few, int rows, size_t columns, const real *sums, size_t stride) {
    put_sums((size_t)rows, columns, sums, stride, few->c, few->row, few->column, few->add);
}

// ---- contiguous columns of b: dots of rows and columns -------------------------------------------------------------

FORCE_INLINE void add_products(int rows, int columns, const Few *few, size_t l, size_t lanes,
                               V sums[GROUP_ROWS][GROUP_COLUMNS]) {
    V left[GROUP_ROWS];
    for (int i = 0; i < rows; i++) left[i] = vload_some(few->a + i * few->a_row + l, lanes);
    for (int j = 0; j < columns; j++) {
        const V right = vload_some(few->b + j * few->b_stride + l, lanes);
        for (int i = 0; i < rows; i++) sums[i][j] = vmadd(left[i], right, sums[i][j]);
    }
}

FORCE_INLINE void compute_dots(int rows, int columns, const Few *few) {
    V sums[GROUP_ROWS][GROUP_COLUMNS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) sums[i][j] = vzero();
    size_t l = 0;
    for (; l + LANES <= few->k; l += LANES) add_products(rows, columns, few, l, LANES, sums);
    if (l < few->k) add_products(rows, columns, few, l, few->k - l, sums);
    real each[GROUP_ROWS * GROUP_COLUMNS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) each[i * columns + j] = vsum(sums[i][j]);
    put_group(few, rows, (size_t)columns, each, (size_t)columns);
}

// ---- contiguous rows of b: strips of vectors -----------------------------------------------------------------------

FORCE_INLINE void compute_strip(int rows, int vectors, size_t lanes, const Few *few) {
    V sums[GROUP_ROWS][GROUP_COLUMNS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) sums[i][v] = vzero();
    const real *b = few->b;
    for (size_t l = 0; l < few->k; l++) {
        V right[GROUP_COLUMNS];
        for (int v = 0; v < vectors; v++) right[v] = vload_some(b + v * LANES, lanes);
        for (int i = 0; i < rows; i++) {
            const V left = vset(few->a[i * few->a_row + (ptrdiff_t)l]);
            for (int v = 0; v < vectors; v++) sums[i][v] = vmadd(left, right[v], sums[i][v]);
        }
        b += few->b_stride;
    }
    real each[GROUP_ROWS * GROUP_COLUMNS * LANES];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) vstore(each + (i * vectors + v) * LANES, sums[i][v]);
    const size_t width = (size_t)vectors * LANES;
    put_group(few, rows, vectors == 1 ? lanes : width, each, width);
}

// ---- groups --------------------------------------------------------------------------------------------------------

typedef void FewKernel(const Few *few, size_t lanes);
#define FEW(rows)                                                                                                  \
    static void dots_##rows(const Few *few, size_t lanes) { (void)lanes, compute_dots(rows, GROUP_COLUMNS, few); } \
    static void dot_##rows(const Few *few, size_t lanes) { (void)lanes, compute_dots(rows, 1, few); }              \
    static void strip_##rows(const Few *few, size_t lanes) {                                                       \
        (void)lanes, compute_strip(rows, GROUP_COLUMNS, LANES, few);                                               \
    }                                                                                                              \
    static void part_strip_##rows(const Few *few, size_t lanes) { compute_strip(rows, 1, lanes, few); }
#define FEW_KERNELS(rows)                                                  \
    {                                                                      \
        rows, {                                                            \
            {dots_##rows, dot_##rows}, { strip_##rows, part_strip_##rows } \
        }                                                                  \
    }
FEW(1)
FEW(2)
#if REGISTERS == 32
FEW(4)
#endif
static const struct {
    size_t rows;
    FewKernel *kernels[2][2];  // b's columns or rows contiguous; a whole group, or less
} groups[] = {
#if REGISTERS == 32
    FEW_KERNELS(4),
#endif
    FEW_KERNELS(2),
    FEW_KERNELS(1),
};

// a has at most FEW_ROWS rows, and k contiguous; of b the rows or the columns are contiguous.
static void multiply_few(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, ptrdiff_t row,
                         ptrdiff_t column, bool add) {
    const bool by_rows = b.row != 1;
    const size_t single = by_rows ? LANES : 1;
    size_t taken;
    for (size_t j = 0; j < n; j += taken) {
        const bool whole = n - j >= GROUP_COLUMNS * single;
        taken = whole ? GROUP_COLUMNS * single : n - j < single ? n - j : single;
        Few few = {.k = k,
                   .a = a.data,
                   .b = (const real *)b.data + (ptrdiff_t)j * b.column,
                   .a_row = a.row,
                   .b_stride = by_rows ? b.row : b.column,
                   .c = (real *)c + (ptrdiff_t)j * column,
                   .row = row,
                   .column = column,
                   .add = add};
        size_t rows = m;
        for (int g = 0; rows > 0; g++) {
            for (; rows >= groups[g].rows; rows -= groups[g].rows) {
                groups[g].kernels[by_rows][!whole](&few, taken);
                few.a += (ptrdiff_t)groups[g].rows * a.row;
                few.c += (ptrdiff_t)groups[g].rows * row;
            }
        }
    }
}

#endif
