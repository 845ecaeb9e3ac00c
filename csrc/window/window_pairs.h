// Max pooling of windows of 2 x 2 side by side, without phase planes: two rows are read and split into their even and
// odd elements in registers. Part of window_kernels.c.
//
// A *chunk* is a vector of each of two rows, which gives half a vector of results. Two chunks are computed together.
// They are neighbours in the same two rows. If rows are whole chunks, so that the results of the next two rows follow
// directly, they may also be the last chunk of two rows and the first one of the next two.
#ifndef FASTNN_WINDOW_PAIRS_H
#define FASTNN_WINDOW_PAIRS_H

#include "simd/simd.h"
#include "window/window_argmax.h"

// a becomes the winner of a and b, and a_number its tap: b wins only if it is larger, or NaN.
FORCE_INLINE void take_larger(V *a, V *a_number, V b, V b_number) {
    const M is_number = vle(b, b), larger = vlt(*a, b);
    *a_number = vselect(is_number, vselect(larger, b_number, *a_number), b_number);
    *a = vselect(is_number, vselect(larger, b, *a), b);
}

// n results of two chunks: `above` and `below` are their vectors in the two rows.
FORCE_INLINE void max_of_chunks(const V above[2], const V below[2], size_t n, real *y, uint8_t *argmax) {
    V best = veven(above[0], above[1]), tap = vzero(), other = veven(below[0], below[1]), other_tap = vset(2);
    take_larger(&best, &tap, vodd(above[0], above[1]), vset(1));
    take_larger(&other, &other_tap, vodd(below[0], below[1]), vset(3));
    take_larger(&best, &tap, other, other_tap);
    vstore_some(y, n, best);
    store_numbers(argmax, 0, 1, tap, n);
}

// Rows of `columns` windows; the images' rows are `pitch` elements apart.
FORCE_INLINE void max_of_rows(const real *x, size_t pitch, size_t rows, size_t columns, real *y, uint8_t *argmax) {
    for (size_t i = 0; i < rows; i++, x += 2 * pitch)
        for (size_t j = 0, n; j < columns; j += n, y += n, argmax += n) {
            n = columns - j < LANES ? columns - j : LANES;
            const size_t first = 2 * n < LANES ? 2 * n : LANES, second = 2 * n - first;
            const real *from = x + 2 * j;
            const V above[2] = {vload_some(from, first), vload_some(from + first, second)};
            const V below[2] = {vload_some(from + pitch, first), vload_some(from + pitch + first, second)};
            max_of_chunks(above, below, n, y, argmax);
        }
}

// The offset of chunk `index` in an image whose pairs of rows have `chunks` each.
FORCE_INLINE size_t chunk_at(size_t index, size_t chunks, size_t pitch) {
    return index / chunks * 2 * pitch + index % chunks * LANES;
}

FORCE_INLINE void max_of_whole_chunks(const real *x, size_t pitch, size_t rows, size_t chunks, real *y,
                                      uint8_t *argmax) {
    size_t k = 0;
    for (; k + 2 <= rows * chunks; k += 2, y += LANES, argmax += LANES) {
        const real *a = x + chunk_at(k, chunks, pitch), *b = x + chunk_at(k + 1, chunks, pitch);
        const V above[2] = {vload(a), vload(b)}, below[2] = {vload(a + pitch), vload(b + pitch)};
        max_of_chunks(above, below, LANES, y, argmax);
    }
    if (k == rows * chunks) return;
    const real *a = x + chunk_at(k, chunks, pitch);
    const V above[2] = {vload(a), vzero()}, below[2] = {vload(a + pitch), vzero()};
    max_of_chunks(above, below, LANES / 2, y, argmax);
}

static void max_of_pairs(const void *x, size_t pitch, size_t rows, size_t columns, void *y, void *argmax) {
    if (2 * columns % LANES == 0)
        max_of_whole_chunks(x, pitch, rows, 2 * columns / LANES, y, argmax);
    else
        max_of_rows(x, pitch, rows, columns, y, argmax);
}

// Sends n gradients back to the elements that won, in two chunks.
FORCE_INLINE void chunks_of_max(const real *dy, const uint8_t *argmax, size_t n, V above[2], V below[2]) {
    const V g = vload_some(dy, n), tap = load_numbers(argmax, 0, 1, n);
    V part[4];
    for (int t = 0; t < 4; t++) part[t] = vkeep(vle(vabs(tap - vset((real)t)), vzero()), g);
    above[0] = vzip_low(part[0], part[1]), above[1] = vzip_high(part[0], part[1]);
    below[0] = vzip_low(part[2], part[3]), below[1] = vzip_high(part[2], part[3]);
}

FORCE_INLINE void rows_of_max(const real *dy, const uint8_t *argmax, size_t rows, size_t columns, size_t pitch,
                              real *dx) {
    for (size_t i = 0; i < rows; i++, dx += 2 * pitch) {
        for (size_t j = 0, n; j < columns; j += n, dy += n, argmax += n) {
            n = columns - j < LANES ? columns - j : LANES;
            const size_t first = 2 * n < LANES ? 2 * n : LANES, second = 2 * n - first;
            V above[2], below[2];
            chunks_of_max(dy, argmax, n, above, below);
            vstore_some(dx + 2 * j, first, above[0]);
            vstore_some(dx + 2 * j + first, second, above[1]);
            vstore_some(dx + pitch + 2 * j, first, below[0]);
            vstore_some(dx + pitch + 2 * j + first, second, below[1]);
        }
        for (size_t j = 2 * columns; j < pitch; j++) dx[j] = dx[pitch + j] = 0;
    }
}

FORCE_INLINE void whole_chunks_of_max(const real *dy, const uint8_t *argmax, size_t rows, size_t chunks, size_t pitch,
                                      real *dx) {
    V above[2], below[2];
    size_t k = 0;
    for (; k + 2 <= rows * chunks; k += 2, dy += LANES, argmax += LANES) {
        chunks_of_max(dy, argmax, LANES, above, below);
        real *a = dx + chunk_at(k, chunks, pitch), *b = dx + chunk_at(k + 1, chunks, pitch);
        vstore(a, above[0]), vstore(b, above[1]), vstore(a + pitch, below[0]), vstore(b + pitch, below[1]);
    }
    if (k == rows * chunks) return;
    chunks_of_max(dy, argmax, LANES / 2, above, below);
    real *a = dx + chunk_at(k, chunks, pitch);
    vstore(a, above[0]), vstore(a + pitch, below[0]);
}

// The last column, which is in no window if the pitch is odd, becomes 0.
static void pairs_of_max(const void *dy, const void *argmax, size_t rows, size_t columns, size_t pitch, void *dx) {
    if (2 * columns % LANES == 0 && 2 * columns == pitch)
        whole_chunks_of_max(dy, argmax, rows, pitch / LANES, pitch, dx);
    else
        rows_of_max(dy, argmax, rows, columns, pitch, dx);
}

#endif
