// Walks over the classes of samples in vectors, with sums that stay accurate for any number of classes. Part of
// softmax_kernels.c. The lanes of a vector are neighbouring classes of one sample (a row), or one class of neighbouring
// samples (columns); a formula is written once for both.
#ifndef FASTNN_SAMPLES_H
#define FASTNN_SAMPLES_H

#include "math/vmath.h"

// The samples that are computed at once.
typedef struct {
    bool row;  // one sample, whose classes are adjacent; else up to LANES adjacent samples
    size_t classes, samples;
    size_t lanes, stride;  // columns: the lanes that are used, and the elements from a class to the next
    real *space;           // rows: scratch memory of SAMPLES_TILE_BYTES
} Block;

// The place of a vector: the offset of its elements, its (first) class, and how many of its lanes are used.
typedef struct {
    size_t offset, class, lanes;
} Place;

// A sum in TOGETHER parts, one for each of the vectors that are read together. `now` is added to `total` every FOLD
// vectors.
enum { TOGETHER = 2, FOLD = 8 };
typedef struct {
    V now[TOGETHER], total, low;
} Sum;

typedef void Step(const void *state, Sum *sums, Place at, int part);

FORCE_INLINE Sum no_sum(void) {
    Sum sum = {.total = vzero(), .low = vzero()};
    for (int u = 0; u < TOGETHER; u++) sum.now[u] = vzero();
    return sum;
}
// The rounding error of the addition to `total` is added to `low` (Knuth's exact sum).
FORCE_INLINE void fold(Sum *sum) {
    const V part = sum->now[0] + sum->now[1], total = sum->total + part;
    const V added = total - sum->total;
    sum->low += (sum->total - (total - added)) + (part - added);
    sum->total = total;
    for (int u = 0; u < TOGETHER; u++) sum->now[u] = vzero();
}

// Calls `step` for every vector of the block; the first `count` sums are the results, for sum_of.
FORCE_INLINE void walk(Block b, const void *state, Step *step, Sum *sums, int count) {
    const size_t lanes = b.row ? LANES : b.lanes, stride = b.row ? LANES : b.stride;
    const size_t vectors = b.row ? b.classes / LANES : b.classes, width = b.row ? LANES : 1;
    for (size_t first = 0; first < vectors; first += FOLD) {
        const size_t end = vectors - first < FOLD ? vectors : first + FOLD;
        size_t i = first;
        for (; i + TOGETHER <= end; i += TOGETHER) {
#pragma GCC unroll 4
            for (int u = 0; u < TOGETHER; u++)
                step(state, sums, (Place){(i + (size_t)u) * stride, (i + (size_t)u) * width, lanes}, u);
        }
        for (; i < end; i++) step(state, sums, (Place){i * stride, i * width, lanes}, 0);
        for (int k = 0; k < count; k++) fold(&sums[k]);
    }
    if (b.row && b.classes % LANES != 0) {
        step(state, sums, (Place){vectors * LANES, vectors * LANES, b.classes % LANES}, 0);
        for (int k = 0; k < count; k++) fold(&sums[k]);
    }
}

FORCE_INLINE M is_inside(size_t lanes) {
    static const real numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return vlt(vload(numbers), vset((real)lanes));
}
FORCE_INLINE V only(size_t lanes, V x) { return lanes == LANES ? x : vselect(is_inside(lanes), x, vzero()); }
FORCE_INLINE V load(const real *p, Place at) {
    return at.lanes == LANES ? vload(p + at.offset) : vload_part(p + at.offset, at.lanes);
}
// The unused lanes become -infinity, a logit that adds nothing.
FORCE_INLINE V load_logits(const real *p, Place at) {
    if (at.lanes == LANES) return vload(p + at.offset);
    return vselect(is_inside(at.lanes), vload_part(p + at.offset, at.lanes), vset(-(real)__builtin_inf()));
}
FORCE_INLINE void store(real *p, Place at, V x) {
    if (at.lanes == LANES)
        vstore(p + at.offset, x);
    else
        vstore_part(p + at.offset, at.lanes, x);
}

// The sum or the maximum of the lanes of a row, in all lanes; columns stay unchanged.
FORCE_INLINE V joined_sum(Block b, V x) { return b.row ? vset(vsum(x)) : x; }
FORCE_INLINE V joined_max(Block b, V x) { return b.row ? vset(vlargest(x)) : x; }
// Of an infinite total rounding has lost nothing, although `fold` made NaN of it.
FORCE_INLINE V low_of(const Sum *sum) { return vselect(vle(vabs(sum->total), vset(REAL_MAX)), sum->low, vzero()); }
FORCE_INLINE V sum_of(Block b, const Sum *sum) { return joined_sum(b, sum->total + low_of(sum)); }

#endif
