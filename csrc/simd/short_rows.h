// Short rows as columns: rows of few elements that follow one another in memory would leave most lanes of their vectors
// empty, so LANES of them are turned over in registers, a row to a lane.
#ifndef FASTNN_SHORT_ROWS_H
#define FASTNN_SHORT_ROWS_H

#include "simd/transpose.h"

// Rows are taken in squares of LANES columns. The last square of rows that are longer ends with the row, over columns
// that the one before it had; rows that are shorter are followed by others' elements, which are of no use.
FORCE_INLINE size_t square_at(size_t first, size_t n) { return first + LANES <= n || n < LANES ? first : n - LANES; }

// Element c of row r, of `rows` <= LANES rows of n elements, goes to lane r of the vector at tile + c stride. The other
// lanes become 0.
static __attribute__((noinline)) void load_as_columns(size_t rows, size_t n, const real *x, real *tile, size_t stride) {
    const size_t columns = n < LANES ? n : LANES;
    for (size_t first = 0; first < n; first += LANES) {
        const size_t start = square_at(first, n);
        V v[LANES];
        UNROLL
        for (size_t r = 0; r < LANES; r++) {
            const size_t at = r * n + start;
            v[r] = r >= rows ? vzero() : at + LANES <= rows * n ? vload(x + at) : vload_part(x + at, n);
        }
        vtranspose(v);
        UNROLL
        for (size_t c = 0; c < LANES; c++)
            if (c < columns) vstore(tile + (start + c) * stride, v[c]);
    }
}

// The way back. It writes nothing behind the rows: y may be what load_as_columns reads next.
static __attribute__((noinline)) void store_as_rows(size_t rows, size_t n, const real *tile, size_t stride, real *y) {
    for (size_t first = 0; first < n; first += LANES) {
        const size_t start = square_at(first, n);
        V v[LANES];
        UNROLL
        for (size_t c = 0; c < LANES; c++) v[c] = c < n ? vload(tile + (start + c) * stride) : vzero();
        vtranspose(v);
        UNROLL
        for (size_t r = 0; r < LANES; r++) {
            const size_t at = r * n + start;
            if (r >= rows) break;
            if (at + LANES <= rows * n)  // what it writes of the next row is written again
                vstore(y + at, v[r]);
            else
                vstore_part(y + at, n, v[r]);
        }
    }
}

#endif
