// Tiles for the drivers: parts of arrays of any strides and dtype, moved to contiguous memory of the computing dtype,
// where kernels work, and back. A tile is so small that it stays in L1; it knows nothing of threads and kernels.
#ifndef FASTNN_TILES_H
#define FASTNN_TILES_H

#include "runtime/tables.h"

enum {
    TILE_ELEMENTS = 1024,  // 4 or 8 KB an operand: all operands of a kernel stay in L1
    TILE_BYTES = TILE_ELEMENTS * 8,
};

// An operand whose neighbouring dimensions are merged where its memory allows it: a contiguous one has at most one.
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
// How many elements from `first` on a kernel can use in place, being contiguous, aligned and of the computing dtype;
// and their address. 0: none.
size_t fastnn_row(const fastnn_view *view, size_t first, void **address);

// Prefetches memory that will be read soon, such as the next tile while one is computed. Dropout of arrays larger than
// the caches was measured two to three times as fast with it.
static inline void fastnn_prefetch(const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)from + i);
}

// The tile of elements first ... first + count - 1 (C order), contiguous and of the computing dtype: the array's own
// memory where a kernel can use it in place, else a copy in `scratch`. count <= TILE_ELEMENTS.
void *fastnn_gather(const fastnn_table *table, const fastnn_view *view, size_t first, size_t count, void *scratch);
// Where a tile of an output is computed: in the array's own memory where a kernel can write there, else in `scratch`,
// from which fastnn_scatter brings it to the array.
void *fastnn_target(const fastnn_view *view, size_t first, size_t count, void *scratch);
void fastnn_scatter(const fastnn_table *table, const fastnn_view *view, size_t first, size_t count, const void *tile);

// How many of `count` elements a piece has, the unit of work of a thread: a whole number of tiles that depends on
// `count` alone, and so few that a thread which the system holds up delays the call by little.
size_t fastnn_piece_elements(size_t count);

#endif
