// Tiles of a matrix product, summed in registers. Part of gemm_kernels.c.
#ifndef FASTNN_GEMM_TILE_H
#define FASTNN_GEMM_TILE_H

#include "gemm/gemm_kernels.h"
#include "runtime/sizes.h"
#include "simd/simd.h"

// A tile's sums, an element of the left factor and a row of the right factor's panel fill the registers.
enum {
    TILE_ROWS = REGISTERS == 32 ? 12 : 6,
    TILE_VECTORS = 2,
    TILE_COLUMNS = TILE_VECTORS * LANES,
};

// Stores sums, whose rows are `stride` elements apart, to c, or adds them to it.
static void put_sums(size_t rows, size_t columns, const real *sums, size_t stride, real *c, ptrdiff_t row,
                     ptrdiff_t column, bool add) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            real *to = c + (ptrdiff_t)i * row + (ptrdiff_t)j * column;
            *to = add ? *to + sums[i * stride + j] : sums[i * stride + j];
        }
    }
}

// What a tile is computed from, and its place in c.
typedef struct {
    size_t k;
    const real *a;
    ptrdiff_t row, column;
    const real *b;
    real *c;
    ptrdiff_t ldc;
    bool add;
} Tile;

ALWAYS_INLINE void compute_tile(int rows, int vectors, const Tile *tile) {
    V sums[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) sums[i][v] = vzero();
    const real *a = tile->a, *b = tile->b;
    const ptrdiff_t row = tile->row, column = tile->column;
    for (size_t l = tile->k; l > 0; l--) {
        V right[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) right[v] = vload(b + v * LANES);
        UNROLL
        for (int i = 0; i < rows; i++) {
            const V left = vset(a[i * row]);
            for (int v = 0; v < vectors; v++) sums[i][v] = vmadd(left, right[v], sums[i][v]);
        }
        a += column;
        b += TILE_COLUMNS;
    }
    UNROLL
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

// A tile that is not whole vectors wide, or whose rows are not contiguous in c, is summed in a buffer and then copied.
static void compute_beside(TileKernel *kernel, Tile tile, size_t rows, size_t columns, ptrdiff_t column) {
    _Alignas(64) real sums[TILE_ROWS * TILE_COLUMNS];
    const Tile place = tile;
    tile.c = sums;
    tile.ldc = TILE_COLUMNS;
    tile.add = false;
    kernel(&tile);
    // Column by column: where those are c's contiguous lines, all of them at once might not fit into L1.
    for (size_t j = 0; j < columns; j++)
        put_sums(rows, 1, sums + j, TILE_COLUMNS, place.c + (ptrdiff_t)j * column, place.ldc, column, place.add);
}

// `rows` x `columns` elements of c, at most TILE_ROWS x TILE_COLUMNS.
ALWAYS_INLINE void compute_part(Tile tile, size_t rows, size_t columns, ptrdiff_t column) {
    const size_t vectors = divided_up(columns, LANES);
    const bool whole = columns % LANES == 0 && column == 1;
    for (int t = 0; rows > 0; t++) {
        const size_t taken = tiles[t].rows;
        TileKernel *kernel = tiles[t].kernels[vectors - 1];
        for (; rows >= taken; rows -= taken) {
            if (whole)
                kernel(&tile);
            else
                compute_beside(kernel, tile, taken, columns, column);
            tile.a += (ptrdiff_t)taken * tile.row;
            tile.c += (ptrdiff_t)taken * tile.ldc;
        }
    }
}

#endif
