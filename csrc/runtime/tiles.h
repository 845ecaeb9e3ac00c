// Moving tiles between strided memory of any dtype and contiguous scratch of the computing dtype; for the drivers.
#ifndef FASTNN_TILES_H
#define FASTNN_TILES_H

#include "runtime/tables.h"

enum {
    TILE_ELEMENTS = 1024,  // 4 or 8 KB an operand: all operands of a kernel stay in L1
    TILE_BYTES = TILE_ELEMENTS * 8,
};

// An operand with its dimensions joined where its memory allows, so that a contiguous one has at most one.
typedef struct {
    fastnn_operand operand;  // its strides are not used
    bool float64;            // the computing dtype
    int dims;
    size_t shape[FASTNN_MAX_DIMS];
    ptrdiff_t strides[FASTNN_MAX_DIMS];
} fastnn_view;

void fastnn_make_view(fastnn_view *view, const fastnn_operand *operand, bool float64, int dims, const size_t *shape,
                      const ptrdiff_t *strides);
bool fastnn_is_contiguous(const fastnn_view *view);
// How many elements from `first` on lie one after the other, as a kernel wants them, and where; 0: not even one.
size_t fastnn_row(const fastnn_view *view, size_t first, void **address);

// Asks for memory that will be read soon: while a tile is computed, the next one comes. Measured for dropout beyond the
// caches: two to three times as fast.
static inline void fastnn_prefetch(const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)from + i);
}

// Elements first ... first + count - 1 (C order), contiguous and in the computing dtype: in `scratch`, or where they
// already lie if they lie so. count <= TILE_ELEMENTS.
void *fastnn_gather(const fastnn_table *table, const fastnn_view *view, size_t first, size_t count, void *scratch);
// Where a tile of an output may be computed: where it belongs, or in `scratch`; fastnn_scatter takes it from there.
void *fastnn_target(const fastnn_view *view, size_t first, size_t count, void *scratch);
void fastnn_scatter(const fastnn_table *table, const fastnn_view *view, size_t first, size_t count, const void *tile);

// How many elements of `count` a piece has: enough pieces to even out threads that are held up, of a size that depends
// on `count` alone, and a whole number of tiles.
size_t fastnn_piece_elements(size_t count);

#endif
