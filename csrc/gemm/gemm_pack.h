// Packing the factors of a matrix product into panels. Part of gemm_kernels.c.
#ifndef FASTNN_GEMM_PACK_H
#define FASTNN_GEMM_PACK_H

#include "gemm/gemm_tile.h"
#include "simd/transpose.h"

static size_t right_size(size_t k, size_t n) { return divided_up(n, TILE_COLUMNS) * TILE_COLUMNS * k; }

// Element (l, j) of a matrix of up to TILE_COLUMNS columns goes to panel[l TILE_COLUMNS + j]; the rest of the panel is
// 0. Rows of the matrix are contiguous.
FORCE_INLINE void pack_rows(size_t k, size_t columns, const real *from, ptrdiff_t row, real *panel) {
    for (size_t l = 0; l < k; l++) {
        for (size_t j = 0; j < TILE_COLUMNS; j += LANES)
            vstore(panel + j, j >= columns ? vzero() : vload_some(from + j, smaller(LANES, columns - j)));
        from += row;
        panel += TILE_COLUMNS;
    }
}

// `rows` x `columns` elements with contiguous columns, at most LANES x LANES. The panel's elements right of them become
// anything.
FORCE_INLINE void pack_square(size_t rows, size_t columns, const real *from, ptrdiff_t column, real *panel) {
    V x[LANES];
    UNROLL
    for (size_t j = 0; j < LANES; j++) x[j] = vload_some(from + (j < columns ? (ptrdiff_t)j * column : 0), rows);
    vtranspose(x);
    UNROLL
    for (size_t l = 0; l < LANES; l++)
        if (l < rows) vstore(panel + l * TILE_COLUMNS, x[l]);
}

static void pack_fringe(size_t rows, size_t columns, const real *from, ptrdiff_t column, real *panel) {
    if (rows == LANES)
        pack_square(LANES, columns, from, column, panel);
    else
        pack_square(rows, columns, from, column, panel);
}

// Columns of the matrix are contiguous.
static void pack_columns(size_t k, size_t columns, const real *from, ptrdiff_t column, real *panel) {
    for (size_t l = 0; l < k; l += LANES) {
        for (size_t j = 0; j < columns; j += LANES) {
            const real *square = from + l + (ptrdiff_t)j * column;
            real *to = panel + l * TILE_COLUMNS + j;
            if (l + LANES <= k && j + LANES <= columns)
                pack_square(LANES, LANES, square, column, to);
            else
                pack_fringe(smaller(LANES, k - l), smaller(LANES, columns - j), square, column, to);
        }
    }
}

// Any strides. `width` is the panel's.
static void pack_elements(size_t k, size_t columns, const real *from, ptrdiff_t row, ptrdiff_t column, size_t width,
                          real *panel) {
    for (size_t l = 0; l < k; l++) {
        for (size_t j = 0; j < width; j++)
            panel[l * width + j] = j < columns ? from[(ptrdiff_t)l * row + (ptrdiff_t)j * column] : 0;
    }
}

static void pack_right(size_t k, size_t n, fastnn_matrix b, void *panels) {
    for (size_t j = 0; j < n; j += TILE_COLUMNS) {
        const real *from = (const real *)b.data + (ptrdiff_t)j * b.column;
        real *panel = (real *)panels + j * k;
        const size_t columns = smaller(TILE_COLUMNS, n - j);
        if (b.column == 1 && columns == TILE_COLUMNS)
            pack_rows(k, TILE_COLUMNS, from, b.row, panel);
        else if (b.column == 1)
            pack_rows(k, columns, from, b.row, panel);
        else if (b.row == 1)
            pack_columns(k, columns, from, b.column, panel);
        else
            pack_elements(k, columns, from, b.row, b.column, TILE_COLUMNS, panel);
    }
}

// Rows whose distance is a multiple of 4096 bytes would all compete for the same few lines of L1, so they are copied.
static bool collide(ptrdiff_t row) { return row * (ptrdiff_t)sizeof(real) % 4096 == 0; }
enum { LINE_ELEMENTS = LINE / sizeof(real) };
static size_t row_elements(size_t k) { return rounded_up(k, 2 * LINE_ELEMENTS) + LINE_ELEMENTS; }

static size_t left_size(size_t m, size_t k) { return divided_up(m, TILE_ROWS) * TILE_ROWS * row_elements(k); }

static fastnn_left pack_left(size_t m, size_t k, fastnn_matrix a, void *memory) {
    if (a.column == 1) {
        if (!collide(a.row)) return (fastnn_left){a.data, TILE_ROWS * a.row, a.row, 1};
        const ptrdiff_t row = (ptrdiff_t)row_elements(k);
        for (ptrdiff_t i = 0; i < (ptrdiff_t)m; i++)
            memcpy((real *)memory + i * row, (const real *)a.data + i * a.row, k * sizeof(real));
        return (fastnn_left){memory, TILE_ROWS * row, row, 1};
    }
    for (size_t i = 0; i < m; i += TILE_ROWS) {
        const real *from = (const real *)a.data + (ptrdiff_t)i * a.row;
        real *panel = (real *)memory + left_size(i, k);
        if (a.row == 1 && i + TILE_ROWS <= m)
            for (size_t l = 0; l < k; l++)
                memcpy(panel + l * TILE_ROWS, from + (ptrdiff_t)l * a.column, TILE_ROWS * sizeof(real));
        else
            pack_elements(k, smaller(TILE_ROWS, m - i), from, a.column, a.row, TILE_ROWS, panel);
    }
    return (fastnn_left){memory, (ptrdiff_t)left_size(TILE_ROWS, k), 1, TILE_ROWS};
}

#endif
