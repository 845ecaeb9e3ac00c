// Matrix products. Compiled once for each instruction set and dtype.
//
// The scheme is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008: a block of k
// of one panel of the right factor stays in L1 while the tiles of a column of c are summed, and a block of the left
// factor's rows stays in L2 while the panels change.
#include "gemm_kernels.h"

#include "simd/transpose.h"

// A tile's sums, one of the left factor's elements and the vectors of the right one's row fill the registers.
enum {
    TILE_ROWS = REGISTERS == 32 ? 12 : 6,
    TILE_VECTORS = 2,
    TILE_COLUMNS = TILE_VECTORS * LANES,
    DEPTH = 256,
    BLOCK_ROWS = 20 * TILE_ROWS,
};

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t ceil_ratio(size_t a, size_t b) { return (a + b - 1) / b; }

// ---- tiles ---------------------------------------------------------------------------------------------------------

// What a tile is computed from, and where it goes.
typedef struct {
    size_t k;
    const real *a;
    ptrdiff_t row, column;
    const real *b;
    real *c;
    ptrdiff_t ldc;
    bool add;
} Tile;

FORCE_INLINE void compute_tile(int rows, int vectors, const Tile *tile) {
    V sums[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) sums[i][v] = vzero();
    const real *a = tile->a, *b = tile->b;
    const ptrdiff_t row = tile->row, column = tile->column;
    for (size_t l = tile->k; l > 0; l--) {
        V right[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) right[v] = vload(b + v * LANES);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            const V left = vset(a[i * row]);
            for (int v = 0; v < vectors; v++) sums[i][v] = vmadd(left, right[v], sums[i][v]);
        }
        a += column;
        b += TILE_COLUMNS;
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        real *c = tile->c + i * tile->ldc;
        for (int v = 0; v < vectors; v++) {
            if (tile->add) sums[i][v] += vload(c + v * LANES);
            vstore(c + v * LANES, sums[i][v]);
        }
    }
}

typedef void TileKernel(const Tile *tile);
#define TILE(rows)                                                                 \
    static void tile_##rows##_1(const Tile *tile) { compute_tile(rows, 1, tile); } \
    static void tile_##rows##_2(const Tile *tile) { compute_tile(rows, 2, tile); }
#define KERNELS(rows)                              \
    {                                              \
        rows, { tile_##rows##_1, tile_##rows##_2 } \
    }
TILE(1)
TILE(2)
TILE(4)
#if REGISTERS == 32
TILE(8)
TILE(12)
#else
TILE(6)
#endif
static const struct {
    size_t rows;
    TileKernel *kernels[TILE_VECTORS];
} tiles[] = {
#if REGISTERS == 32
    KERNELS(12), KERNELS(8),
#else
    KERNELS(6),
#endif
    KERNELS(4),  KERNELS(2), KERNELS(1),
};

// A tile that is not whole vectors wide, or does not have its rows contiguous in c, is summed beside it.
static void compute_beside(TileKernel *kernel, Tile tile, size_t rows, size_t columns, ptrdiff_t step) {
    _Alignas(64) real sums[TILE_ROWS * TILE_COLUMNS];
    real *c = tile.c;
    const ptrdiff_t ldc = tile.ldc;
    const bool add = tile.add;
    tile.c = sums;
    tile.ldc = TILE_COLUMNS;
    tile.add = false;
    kernel(&tile);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            real *to = c + (ptrdiff_t)i * ldc + (ptrdiff_t)j * step;
            *to = add ? *to + sums[i * TILE_COLUMNS + j] : sums[i * TILE_COLUMNS + j];
        }
    }
}

// `rows` x `columns` elements of c, at most TILE_ROWS x TILE_COLUMNS.
FORCE_INLINE void compute_part(Tile tile, size_t rows, size_t columns, ptrdiff_t step) {
    const size_t vectors = ceil_ratio(columns, LANES);
    const bool whole = columns % LANES == 0 && step == 1;
    for (int t = 0; rows > 0; t++) {
        const size_t taken = tiles[t].rows;
        TileKernel *kernel = tiles[t].kernels[vectors - 1];
        for (; rows >= taken; rows -= taken) {
            if (whole)
                kernel(&tile);
            else
                compute_beside(kernel, tile, taken, columns, step);
            tile.a += (ptrdiff_t)taken * tile.row;
            tile.c += (ptrdiff_t)taken * tile.ldc;
        }
    }
}

// ---- products of packed factors ------------------------------------------------------------------------------------

static void clear(size_t m, size_t n, real *c, ptrdiff_t row, ptrdiff_t column) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) c[(ptrdiff_t)i * row + (ptrdiff_t)j * column] = 0;
}

static void multiply_packed(size_t m, size_t n, size_t k, fastnn_left a, const void *panels, void *result,
                            ptrdiff_t row, ptrdiff_t column, bool add) {
    real *c = result;
    if (k == 0 && !add) clear(m, n, c, row, column);
    const size_t depth = k > 0 ? ceil_ratio(k, ceil_ratio(k, DEPTH)) : 1;
    for (size_t l = 0; l < k; l += depth) {
        for (size_t top = 0; top < m; top += BLOCK_ROWS) {
            const size_t bottom = smaller(m, top + BLOCK_ROWS);
            for (size_t j = 0; j < n; j += TILE_COLUMNS) {
                const real *b = (const real *)panels + j * k + l * TILE_COLUMNS;
                for (size_t i = top; i < bottom; i += TILE_ROWS) {
                    const real *left =
                        (const real *)a.data + (ptrdiff_t)(i / TILE_ROWS) * a.panel + (ptrdiff_t)l * a.column;
                    const Tile tile = {.k = smaller(depth, k - l),
                                       .a = left,
                                       .row = a.row,
                                       .column = a.column,
                                       .b = b,
                                       .c = c + (ptrdiff_t)i * row + (ptrdiff_t)j * column,
                                       .ldc = row,
                                       .add = add || l > 0};
                    compute_part(tile, smaller(TILE_ROWS, bottom - i), smaller(TILE_COLUMNS, n - j), column);
                }
            }
        }
    }
}

// ---- packing -------------------------------------------------------------------------------------------------------

static size_t right_size(size_t k, size_t n) { return ceil_ratio(n, TILE_COLUMNS) * TILE_COLUMNS * k; }

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

// `rows` x `columns` elements with contiguous columns, at most LANES x LANES.
FORCE_INLINE void pack_square(size_t rows, size_t columns, const real *from, ptrdiff_t column, real *panel) {
    V x[LANES];
#pragma GCC unroll 16
    for (size_t j = 0; j < LANES; j++) x[j] = j < columns ? vload_some(from + (ptrdiff_t)j * column, rows) : vzero();
    vtranspose(x);
#pragma GCC unroll 16
    for (size_t l = 0; l < LANES; l++)
        if (l < rows) vstore(panel + l * TILE_COLUMNS, x[l]);
}

static void pack_part_square(size_t rows, size_t columns, const real *from, ptrdiff_t column, real *panel) {
    pack_square(rows, columns, from, column, panel);
}

// Columns of the matrix are contiguous.
static void pack_columns(size_t k, size_t columns, const real *from, ptrdiff_t column, real *panel) {
    for (size_t l = 0; l < k; l += LANES) {
        for (size_t j = 0; j < TILE_COLUMNS; j += LANES) {
            const real *square = from + l + (ptrdiff_t)j * column;
            real *to = panel + l * TILE_COLUMNS + j;
            if (l + LANES <= k && j + LANES <= columns)
                pack_square(LANES, LANES, square, column, to);
            else
                pack_part_square(smaller(LANES, k - l), j < columns ? smaller(LANES, columns - j) : 0, square, column,
                                 to);
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

// Rows this far apart in memory would all want the same places of L1: copied rows are not.
static bool collide(ptrdiff_t row) { return row * (ptrdiff_t)sizeof(real) % 4096 == 0; }
enum { LINE = 64 / sizeof(real) };
static size_t row_elements(size_t k) { return ceil_ratio(k, 2 * LINE) * 2 * LINE + LINE; }

static size_t left_size(size_t m, size_t k) { return ceil_ratio(m, TILE_ROWS) * TILE_ROWS * row_elements(k); }

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

// ---- products ------------------------------------------------------------------------------------------------------

static size_t left_bytes(size_t m, size_t k) { return ceil_ratio(left_size(m, k) * sizeof(real), 64) * 64; }

static size_t scratch(size_t m, size_t n, size_t k) { return left_bytes(m, k) + right_size(k, n) * sizeof(real) + 64; }

static void multiply(size_t m, size_t n, size_t k, fastnn_matrix a, fastnn_matrix b, void *c, size_t ldc, bool add,
                     void *memory) {
    void *panels = (char *)memory + left_bytes(m, k);
    pack_right(k, n, b, panels);
    multiply_packed(m, n, k, pack_left(m, k, a, memory), panels, c, (ptrdiff_t)ldc, 1, add);
}

const fastnn_gemm_table FASTNN_TABLE(gemm) = {
    .rows = TILE_ROWS,
    .columns = TILE_COLUMNS,
    .depth = DEPTH,
    .scratch = scratch,
    .multiply = multiply,
    .left_size = left_size,
    .right_size = right_size,
    .pack_left = pack_left,
    .pack_right = pack_right,
    .multiply_packed = multiply_packed,
};
