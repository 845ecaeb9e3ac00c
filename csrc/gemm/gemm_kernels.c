// Matrix products. Compiled once for each instruction set and dtype.
//
// The scheme is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008: a block of k
// of one panel of the right factor stays in L1 while the tiles of a column of c are summed, and a block of the left
// factor's rows stays in L2 while the panels change.
#include "gemm/gemm_few.h"
#include "gemm/gemm_pack.h"
#include "gemm/gemm_tile.h"

enum {
    DEPTH = 512,                  // of a block of k: of a panel of b, 64 KB, half of which L1 holds
    BLOCK_ROWS = 12 * TILE_ROWS,  // of a block of a: 288 KB of L2 with the widest vectors, half of it with the others
};

// ---- products of packed factors ------------------------------------------------------------------------------------

static void clear(size_t m, size_t n, real *c, ptrdiff_t row, ptrdiff_t column) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) c[(ptrdiff_t)i * row + (ptrdiff_t)j * column] = 0;
}

typedef struct {
    size_t n, k;
    fastnn_left a;
    const real *panels;
    real *c;
    ptrdiff_t row, column;
} Packed;

// Rows top ... bottom - 1 of c get the products of elements l ... l + depth - 1 of k.
static void multiply_block(const Packed *p, size_t top, size_t bottom, size_t l, size_t depth, bool add) {
    const real *a = (const real *)p->a.data + (ptrdiff_t)l * p->a.column;
    for (size_t j = 0; j < p->n; j += TILE_COLUMNS) {
        for (size_t i = top; i < bottom; i += TILE_ROWS) {
            const Tile tile = {.k = depth,
                               .a = a + (ptrdiff_t)(i / TILE_ROWS) * p->a.panel,
                               .row = p->a.row,
                               .column = p->a.column,
                               .b = p->panels + j * p->k + l * TILE_COLUMNS,
                               .c = p->c + (ptrdiff_t)i * p->row + (ptrdiff_t)j * p->column,
                               .ldc = p->row,
                               .add = add};
            compute_part(tile, smaller(TILE_ROWS, bottom - i), smaller(TILE_COLUMNS, p->n - j), p->column);
        }
    }
}

static void multiply_packed(size_t m, size_t n, size_t k, fastnn_left a, const void *panels, void *c, ptrdiff_t row,
                            ptrdiff_t column, bool add) {
    const Packed packed = {n, k, a, panels, c, row, column};
    if (k == 0 && !add) clear(m, n, c, row, column);
    const size_t depth = k > 0 ? divided_up(k, divided_up(k, DEPTH)) : 1;
    for (size_t l = 0; l < k; l += depth)
        for (size_t i = 0; i < m; i += BLOCK_ROWS)
            multiply_block(&packed, i, smaller(m, i + BLOCK_ROWS), l, smaller(depth, k - l), add || l > 0);
}

const fastnn_gemm_table FASTNN_TABLE(gemm) = {
    .bytes = sizeof(real),
    .rows = TILE_ROWS,
    .columns = TILE_COLUMNS,
    .left_size = left_size,
    .right_size = right_size,
    .pack_left = pack_left,
    .pack_right = pack_right,
    .multiply_packed = multiply_packed,
    .few = FEW_ROWS,
    .multiply_few = multiply_few,
};
