// Products whose left factor has a few rows. The right factor, which is most of the memory, is read once and in place:
// nothing is packed. Part of gemm_kernels.c.
#ifndef FASTNN_GEMM_FEW_H
#define FASTNN_GEMM_FEW_H

#include "gemm/gemm_tile.h"

// How many rows and columns (or vectors of columns) are summed together: enough to hide the latency of the sums, and
// few enough for the registers. A single row is summed with more columns at a time, which reads longer runs of memory.
enum {
    FEW_ROWS = REGISTERS == 32 ? 24 : 12,
    GROUP_ROWS = REGISTERS == 32 ? 4 : 2,
    GROUP_COLUMNS = 4,
    ROW_COLUMNS = 8,
    SUMS = GROUP_ROWS * GROUP_COLUMNS,  // at least ROW_COLUMNS
};

// Some rows of a, contiguous along k, some columns of b, and the elements of c for their products.
typedef struct {
    size_t k;
    const real *a, *b;
    ptrdiff_t a_row, b_stride;  // the stride of a's rows; the stride of b that is not 1
    real *c;
    ptrdiff_t row, column;
    bool add;
} Few;

static void put_group(const Few *few, int rows, size_t columns, const real *sums, size_t stride) {
    put_sums((size_t)rows, columns, sums, stride, few->c, few->row, few->column, few->add);
}

// ---- contiguous columns of b: dots of rows and columns -------------------------------------------------------------

ALWAYS_INLINE void add_products(int rows, int columns, const Few *few, size_t l, size_t lanes, V sums[SUMS]) {
    V left[GROUP_ROWS];
    for (int i = 0; i < rows; i++) left[i] = vload_some(few->a + i * few->a_row + l, lanes);
    for (int j = 0; j < columns; j++) {
        const V right = vload_some(few->b + j * few->b_stride + l, lanes);
        for (int i = 0; i < rows; i++) sums[i * columns + j] = vmadd(left[i], right, sums[i * columns + j]);
    }
}

ALWAYS_INLINE void compute_dots(int rows, int columns, const Few *few) {
    V sums[SUMS];
    for (int i = 0; i < rows * columns; i++) sums[i] = vzero();
    size_t l = 0;
    for (; l + LANES <= few->k; l += LANES) add_products(rows, columns, few, l, LANES, sums);
    if (l < few->k) add_products(rows, columns, few, l, few->k - l, sums);
    real each[SUMS];
    for (int i = 0; i < rows * columns; i++) each[i] = vsum(sums[i]);
    put_group(few, rows, (size_t)columns, each, (size_t)columns);
}

// ---- contiguous rows of b: strips of vectors -----------------------------------------------------------------------

// lanes: how many of the last vector's columns there are.
ALWAYS_INLINE void compute_strip(int rows, int vectors, size_t lanes, const Few *few) {
    V sums[SUMS];
    for (int i = 0; i < rows * vectors; i++) sums[i] = vzero();
    const real *b = few->b;
    for (size_t l = 0; l < few->k; l++) {
        V right[ROW_COLUMNS];
        for (int v = 0; v < vectors; v++) right[v] = vectors == 1 ? vload_some(b, lanes) : vload(b + v * LANES);
        for (int i = 0; i < rows; i++) {
            const V left = vset(few->a[i * few->a_row + (ptrdiff_t)l]);
            for (int v = 0; v < vectors; v++) sums[i * vectors + v] = vmadd(left, right[v], sums[i * vectors + v]);
        }
        b += few->b_stride;
    }
    real each[SUMS * LANES];
    for (int i = 0; i < rows * vectors; i++) vstore(each + i * LANES, sums[i]);
    put_group(few, rows, (size_t)(vectors - 1) * LANES + lanes, each, (size_t)vectors * LANES);
}

// ---- groups --------------------------------------------------------------------------------------------------------

typedef void FewKernel(const Few *few, size_t lanes);
#define FEW(name, rows, columns)                                                                             \
    static void dots_##name(const Few *few, size_t lanes) { (void)lanes, compute_dots(rows, columns, few); } \
    static void strip_##name(const Few *few, size_t lanes) { compute_strip(rows, columns, lanes, few); }
FEW(row, 1, ROW_COLUMNS)
FEW(1, 1, GROUP_COLUMNS)
FEW(2, 2, GROUP_COLUMNS)
FEW(single_1, 1, 1)
FEW(single_2, 2, 1)
#if REGISTERS == 32
FEW(4, 4, GROUP_COLUMNS)
FEW(single_4, 4, 1)
#endif

// For a matrix b with contiguous columns, and for one with contiguous rows.
typedef FewKernel *FewKernels[2];
static const FewKernels row_kernels = {dots_row, strip_row};
static const struct {
    size_t rows;
    FewKernels group, single;
} groups[] = {
#if REGISTERS == 32
    {4, {dots_4, strip_4}, {dots_single_4, strip_single_4}},
#endif
    {2, {dots_2, strip_2}, {dots_single_2, strip_single_2}},
    {1, {dots_1, strip_1}, {dots_single_1, strip_single_1}},
};

// All rows of some columns.
static void compute_few(Few few, size_t m, bool by_rows, bool single, size_t lanes) {
    for (int g = 0; m > 0; g++) {
        for (; m >= groups[g].rows; m -= groups[g].rows) {
            (single ? groups[g].single : groups[g].group)[by_rows](&few, lanes);
            few.a += (ptrdiff_t)groups[g].rows * few.a_row;
            few.c += (ptrdiff_t)groups[g].rows * few.row;
        }
    }
}

// a has at most FEW_ROWS rows, contiguous along k; b has contiguous rows or columns.
static void multiply_few(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, ptrdiff_t row,
                         ptrdiff_t column, bool add) {
    const bool by_rows = b.row != 1;
    const size_t width = by_rows ? LANES : 1, group = width * (m == 1 ? ROW_COLUMNS : GROUP_COLUMNS);
    Few few = {k, a.data, b.data, a.row, by_rows ? b.row : b.column, c, row, column, add};
    for (size_t left = n, taken; left > 0; left -= taken) {
        taken = left >= group ? group : smaller(left, width);
        if (m == 1 && left >= group)
            row_kernels[by_rows](&few, LANES);
        else
            compute_few(few, m, by_rows, left < group, smaller(left, width));
        few.b += (ptrdiff_t)taken * b.column;
        few.c += (ptrdiff_t)taken * column;
    }
}

#endif
