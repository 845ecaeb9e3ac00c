// Matrix products. Compiled once for each instruction set and dtype.
//
// The scheme is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008: a block of k
// of one panel of the right factor stays in L1 while the tiles of a column of c are summed, and a block of the left
// factor's rows stays in L2 while the panels change.
#include "gemm_kernels.h"

#include "simd/simd.h"

// A tile's sums, one of the left factor's elements and the vectors of the right one's row fill the registers.
enum {
    TILE_ROWS = REGISTERS == 32 ? 12 : 6,
    TILE_VECTORS = 2,
    TILE_COLUMNS = TILE_VECTORS * LANES,
    DEPTH = 256 * 128 / (TILE_COLUMNS * sizeof(real)) < 256 ? 256 * 128 / (TILE_COLUMNS * sizeof(real)) : 256,
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
    // Four rows to a pointer: x86 addresses base + index * scale at no cost.
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
        for (int v = 0; v < vectors; v++)
            vstore(c + v * LANES, tile->add ? vload(c + v * LANES) + sums[i][v] : sums[i][v]);
    }
}

typedef void TileKernel(const Tile *tile);
#define TILE(rows)                                                                       \
    static void tile_##rows##_1(const Tile *tile) { compute_tile(rows, 1, tile); }       \
    static void tile_##rows##_2(const Tile *tile) { compute_tile(rows, 2, tile); }
#define KERNELS(rows) {rows, {tile_##rows##_1, tile_##rows##_2}}
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

static size_t left_size(size_t m, size_t k) { return ceil_ratio(m, TILE_ROWS) * TILE_ROWS * k; }
static size_t right_size(size_t k, size_t n) { return ceil_ratio(n, TILE_COLUMNS) * TILE_COLUMNS * k; }

// Panels of `width`: element (l, j) of the matrix is panel j / width's number l width + j % width. With `fill` a last,
// partial panel gets zeros.
static void pack(size_t k, size_t n, const real *from, ptrdiff_t row, ptrdiff_t column, size_t width, real *to) {
    for (size_t j = 0; j < n; j += width) {
        const size_t count = smaller(width, n - j);
        for (size_t l = 0; l < k; l++) {
            const real *source = from + (ptrdiff_t)l * row + (ptrdiff_t)j * column;
            for (size_t i = 0; i < count; i++) to[i] = source[(ptrdiff_t)i * column];
            for (size_t i = count; i < width; i++) to[i] = 0;
            to += width;
        }
    }
}

static fastnn_left pack_left(size_t m, size_t k, fastnn_matrix a, void *memory) {
    if (a.column == 1) return (fastnn_left){a.data, TILE_ROWS * a.row, a.row, a.column};
    pack(k, m, a.data, a.column, a.row, TILE_ROWS, memory);
    return (fastnn_left){memory, (ptrdiff_t)(TILE_ROWS * k), 1, TILE_ROWS};
}

static void pack_right(size_t k, size_t n, fastnn_matrix b, void *panels) {
    pack(k, n, b.data, b.row, b.column, TILE_COLUMNS, panels);
}

// ---- products ------------------------------------------------------------------------------------------------------

static size_t left_bytes(size_t m, size_t k) { return ceil_ratio(left_size(m, k) * sizeof(real), 64) * 64; }

static size_t scratch(size_t m, size_t n, size_t k) {
    return left_bytes(m, k) + right_size(k, n) * sizeof(real) + 64;
}

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
