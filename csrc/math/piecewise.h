// Functions by lookup, on instruction sets that have the primitive vlookup: in place of an exponential and a division,
// a polynomial for each of TABLE_ENTRIES pieces of an interval, whose coefficients are looked up in registers.
#ifndef FASTNN_PIECEWISE_H
#define FASTNN_PIECEWISE_H

#include "simd/simd.h"

// BY_TABLE(table, outside, tail, formula): a function by its table, but by its tail in the lanes of the mask `outside`;
// the tail is only computed if there are such lanes. Lanes are blended, so that no element depends on its neighbours.
// Without tables in registers it is the formula alone.
#ifndef TABLE_ENTRIES
#define BY_TABLE(table, outside, tail, formula) (formula)
#else
#define BY_TABLE(table, outside, tail, formula)                                                             \
    __extension__({                                                                                         \
        V result = (table);                                                                                 \
        const M is_outside = (outside);                                                                     \
        if (__builtin_expect(vmask_bits(is_outside) != 0, 0)) result = vselect(is_outside, (tail), result); \
        result;                                                                                             \
    })

// The piece of x is number (square x + linear) x, rounded, modulo TABLE_ENTRIES. The rows are the pieces' centres, and
// then the coefficients of a polynomial in x - centre, constant term first.
enum { TABLE_ROWS = 8 };
typedef struct {
    real rows[TABLE_ROWS][TABLE_ENTRIES] __attribute__((aligned(sizeof(real) * TABLE_ENTRIES)));
    real square, linear, first, last;
    int degree;
} Pieces;

FORCE_INLINE V piece_of(const Pieces *f, V x) {
    const V slope = f->square != 0 ? vfma(x, vset(f->square), vset(f->linear)) : vset(f->linear);
    return vfma(x, slope, vset(ROUNDER));
}
FORCE_INLINE V centre_of(const Pieces *f, V piece) { return vlookup(f->rows[0], piece); }
FORCE_INLINE V in_piece(const Pieces *f, V piece, V from_centre) {
    V y = vlookup(f->rows[f->degree + 1], piece);
#pragma GCC unroll 8
    for (int k = f->degree; k > 0; k--) y = vfma(y, from_centre, vlookup(f->rows[k], piece));
    return y;
}
// For x in [first, last]; elsewhere any number.
FORCE_INLINE V piecewise(const Pieces *f, V x) {
    const V piece = piece_of(f, x);
    return in_piece(f, piece, x - centre_of(f, piece));
}
FORCE_INLINE V at_most_last(const Pieces *f, V x) { return vmin(vset(f->last), x); }
// Of |x| factor, the product unrounded, for |x| factor <= last.
FORCE_INLINE V piecewise_of_product(const Pieces *f, V x, V factor) {
    const V a = vabs(x), piece = piece_of(f, a * factor);
    return in_piece(f, piece, vfma(a, factor, -centre_of(f, piece)));
}

#include "math/piecewise_tables.h"
#endif

#endif
